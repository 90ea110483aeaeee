"""The policy of a job: the same in every process, or none."""

from __future__ import annotations

import json
import marshal

import pytest

from wardgate.cli.files.choice import Choice, check_lasting, choose, unpack
from wardgate.cli.journal import Refused
from wardgate.deid import policy as policies
from wardgate.errors import PolicyUnknown, SettingsInvalid, StateInvalid

NOTE = "Dr. Amy Lee, seen 03/14/2024. Amy Lee again."


@pytest.fixture
def folder(tmp_path):
    """A site's folder with a policy that derives surrogates of names."""
    shipped = dict(policies.get("expert_determination").document)
    actions = {**shipped["actions"], "NAME": "surrogate"}  # type: ignore[dict-item]
    found = tmp_path / "policies"
    found.mkdir()
    document = {**shipped, "name": "research", "project": "trial", "actions": actions}
    (found / "research.json").write_text(json.dumps(document))
    return found


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(bytes(range(32)))
    path.chmod(0o600)
    return path


def test_the_choice_is_the_same_in_another_process(folder, key) -> None:
    choice = choose("research", folder, key)
    other = unpack(marshal.loads(marshal.dumps(choice.pack())))
    one = choice.detector().deidentify(NOTE, patient="p1")
    assert one == other.deidentify(NOTE, patient="p1")
    assert one.text != other.deidentify(NOTE, patient="p2").text
    assert "Amy" not in one.text


def test_a_policy_that_changed_meanwhile_is_not_gone_by(folder, key) -> None:
    said = choose("research", folder, key).pack()
    path = folder / "research.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "description": "another"}))
    with pytest.raises(PolicyUnknown):
        unpack(said)


def test_what_decides_what_is_written_is_part_of_the_job(folder, key, tmp_path) -> None:
    one = choose("research", folder, key)
    other = tmp_path / "other"
    other.write_bytes(bytes(32))
    other.chmod(0o600)
    assert one.job() != choose("research", folder, other).job()
    assert bytes(range(32)).hex()[:8] not in str(one.job())
    plain = choose("safe_harbor", None, key)
    assert plain.job() == choose("safe_harbor", None, None).job()
    assert repr(bytes(range(32))) not in repr(one)


def test_values_that_would_not_last_are_refused(folder, key) -> None:
    with pytest.raises(Refused, match="--key-file"):
        check_lasting(choose("research", folder, None))
    check_lasting(choose("research", folder, key))
    check_lasting(choose("safe_harbor", None, None))


def test_what_is_wrong_is_told_at_the_start(folder, key, tmp_path) -> None:
    with pytest.raises(PolicyUnknown):
        choose("none", folder, None)
    with pytest.raises(StateInvalid, match="is not there"):
        choose("research", folder, tmp_path / "absent")
    key.chmod(0o644)
    with pytest.raises(StateInvalid, match="open to others"):
        choose("research", folder, key)
    key.chmod(0o600)
    key.write_bytes(b"short")
    with pytest.raises(SettingsInvalid, match="32 random bytes"):
        choose("research", folder, key)
    (folder / "research.json").write_text("{")
    with pytest.raises(SettingsInvalid, match=r"research\.json"):
        choose("safe_harbor", folder, None)
    assert isinstance(choose("safe_harbor", None, None), Choice)
