from __future__ import annotations

import asyncio
import json
import logging

import pytest

from wardgate.deid import policy as policies
from wardgate.errors import PolicyUnknown, SettingsInvalid, StateInvalid
from wardgate.settings import given
from wardgate.telemetry import POLICIES_REFUSED
from wardgate.web import reload as module
from wardgate.web.reload import Reload, deid_secret, mark, open_detector


def _write(folder, name="own", **change):
    document = {**policies.get("safe_harbor").document, "name": name, **change}
    (folder / f"{name}.json").write_text(json.dumps(document))


@pytest.fixture
def taken():
    return []


@pytest.fixture
def reload(tmp_path, taken):
    _write(tmp_path)
    found = Reload(tmp_path, taken.append, every=0.001)
    assert "own" in found.open().policies
    return found


async def test_nothing_new_is_not_taken(reload, taken):
    for _ in range(3):
        await reload.look()
    assert taken == []


async def test_what_is_new_is_taken_once_it_rests(reload, taken, tmp_path):
    _write(tmp_path, "more")
    await reload.look()
    assert taken == []
    _write(tmp_path, "more", description="another")  # still being written
    await reload.look()
    assert taken == []
    for _ in range(3):
        await reload.look()
    assert [set(catalog.policies) - set(policies.shipped()) for catalog in taken] == [
        {"own", "more"}
    ]


async def test_wrong_files_are_told_and_the_old_ones_stay(reload, taken, tmp_path, caplog):
    caplog.set_level(logging.INFO, "wardgate")
    (tmp_path / "bad.toml").write_text("x = ")
    for _ in range(4):
        await reload.look()
    assert taken == []
    assert reload.refused.startswith("bad.toml:1: ")
    state = await reload.check()
    assert (state.name, state.ok) == ("policies", True)
    assert "refused" in state.detail
    assert "bad" not in state.detail
    assert POLICIES_REFUSED._value.get() == 1
    assert [record.getMessage().count("bad.toml:1") for record in caplog.records] == [1]
    (tmp_path / "bad.toml").unlink()
    for _ in range(2):
        await reload.look()
    assert len(taken) == 1
    assert not reload.refused
    assert not (await reload.check()).detail
    assert POLICIES_REFUSED._value.get() == 0


async def test_what_cannot_be_taken_is_refused(tmp_path):
    _write(tmp_path)

    def take(_):
        raise PolicyUnknown("The default is gone.")

    reload = Reload(tmp_path, take)
    reload.open()
    _write(tmp_path, "more")
    for _ in range(2):
        await reload.look()
    assert reload.refused == "The default is gone."


async def test_any_fault_leaves_it_following(reload, taken, tmp_path, monkeypatch):
    def fail(_):
        raise ZeroDivisionError("Canary")

    with monkeypatch.context() as patched:
        patched.setattr(module, "read", fail)
        _write(tmp_path, "more")
        for _ in range(2):
            await reload.look()
    assert reload.refused == "reading failed with ZeroDivisionError"
    _write(tmp_path, "more", description="x")
    for _ in range(2):
        await reload.look()
    assert len(taken) == 1


async def test_it_follows_until_it_is_closed(reload, taken, tmp_path):
    reload.start()
    _write(tmp_path, "more")
    async with asyncio.timeout(20):
        while not taken:
            await asyncio.sleep(0.001)
    await reload.close()
    await reload.close()


def test_a_folder_that_is_gone(tmp_path):
    assert mark(tmp_path / "none") == ()
    with pytest.raises(SettingsInvalid):
        Reload(tmp_path / "none", print).open()


def test_a_detector_by_the_settings(tmp_path):
    state, folder = tmp_path / "state", tmp_path / "policies"
    folder.mkdir()
    _write(folder)
    deid = {"policies": folder, "policy": "own", "processes": 0}
    detector, reload = open_detector(given({"state": state, "deid": deid}))
    assert detector.strengths["own"] == 0
    assert reload is not None
    assert len((state / "deid.key").read_bytes()) == 32
    assert open_detector(given({"state": state}))[1] is None
    (folder / "own.json").write_text("{")
    with pytest.raises(SettingsInvalid, match=r"own\.json:1"):
        open_detector(given({"state": state, "deid": deid}))


def test_a_secret_that_was_named_must_be_there(tmp_path):
    with pytest.raises(StateInvalid, match="secret of derived values"):
        deid_secret(tmp_path, tmp_path / "none.key")
    one = deid_secret(tmp_path, None)
    assert deid_secret(tmp_path, None) == one
    assert deid_secret(tmp_path / "other", None) != one
    assert deid_secret(tmp_path / "other", tmp_path / "deid.key") == one
