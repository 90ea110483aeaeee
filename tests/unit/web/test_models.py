"""Which models a gateway serves when it starts."""

from __future__ import annotations

import logging
import shutil

import pytest

import tiny_models
import tiny_registry
import tiny_tensors
from tiny_registry import NAME, TRUSTED
from wardgate.control.store import ControlStore
from wardgate.errors import ManifestInvalid, ModelUntrusted, RegistryUnavailable
from wardgate.registry.signature import public_text
from wardgate.registry.standing import Goal, Stage, Standing, Version, from_tree, to_tree
from wardgate.registry.store import Store
from wardgate.settings import Settings
from wardgate.web.follow import KIND
from wardgate.web.models import Holding, load_models, open_registry, servable


@pytest.fixture
def settings(tmp_path) -> Settings:
    tmp_path.chmod(0o700)
    for version in ("1", "2"):
        tiny_registry.add(tmp_path / "registry", version, tiny_models.fingerprint().graph, "yes")
    keys = tuple(__import__("json").loads(TRUSTED))
    return Settings(state=tmp_path, registry={"models": (NAME,), "trusted_keys": keys})


def put(settings, change) -> None:
    store = ControlStore(settings.state)
    document = store.documents(KIND)[1][NAME]
    standing = change(from_tree(document.body))
    store.put(KIND, NAME, to_tree(standing), expected=document.generation)
    store.close()


def test_the_highest_version_serves_first_and_then_what_was_written_down(settings):
    assert [m.id.version for m in load_models(settings)] == ["2"]
    one = servable(open_registry(settings))(NAME, "1").id
    put(settings, lambda s: Standing(NAME, Version("1", one.digest)))
    assert [m.id.version for m in load_models(settings)] == ["1"]


def test_a_candidate_that_saw_requests_is_loaded_too_where_it_can_be(settings, caplog):
    load_models(settings)
    one = servable(open_registry(settings))(NAME, "1").id
    put(
        settings,
        lambda s: Standing(
            NAME, s.stable, candidate=Version("1", one.digest), goal=Goal.CANARY, percent=5,
            stage=Stage.SERVING,
        ),
    )  # fmt: skip
    assert [m.id.version for m in load_models(settings)] == ["2", "1"]
    shutil.rmtree(settings.state / "registry" / NAME / "1")
    logging.getLogger("wardgate").propagate = True
    assert [m.id.version for m in load_models(settings)] == ["2"]
    assert "no more" in caplog.text


def test_what_serves_and_is_no_longer_as_it_was_stops_the_start(settings):
    load_models(settings)
    home = settings.state / "registry" / NAME / "2"
    shutil.rmtree(home)
    with pytest.raises(ManifestInvalid, match="no more"):
        load_models(settings)
    tiny_registry.add(home.parents[1], "2", tiny_models.fingerprint().graph, "yes", max_length=32)
    with pytest.raises(ManifestInvalid, match="not the one"):
        load_models(settings)


def test_while_the_registry_is_away_the_pinned_model_serves_and_it_is_said(
    settings, tmp_path, monkeypatch, caplog
):
    """Once verified, a model needs no storage to start again; a first start does."""
    remote = tmp_path / "bucket"
    (tmp_path / "registry").rename(remote)
    registry = settings.registry.model_copy(update={"url": f"file://{remote}"})
    settings = settings.model_copy(update={"registry": registry})
    (first,) = load_models(settings)
    remote.rename(tmp_path / "away")
    remote.write_bytes(b"")  # nothing that could be listed
    logging.getLogger("wardgate").propagate = True
    (again,) = load_models(settings)
    assert (again.id, again.kept) == (first.id, True)
    assert "the registry does not answer" in caplog.text
    (tmp_path / "control.db").unlink()
    with pytest.raises(RegistryUnavailable):
        load_models(settings)


def test_what_nobody_vouches_for_does_not_serve(settings):
    (settings.state / "registry" / NAME / "2" / "signature.json").unlink()
    with pytest.raises(ModelUntrusted):
        load_models(settings)


async def test_a_tensor_model_is_held_beside_the_engine_and_not_in_it(world):
    tiny_tensors.add(world.registry, "1")
    trusted = (public_text(tiny_registry.KEY.public_key()),)
    model = servable(Store([world.registry], trusted=trusted), ["risk"])("risk", None)
    holding = Holding(world.engine)
    await holding.load(model)
    assert {each.name for each in await holding.check()} == {NAME, "risk"}
    assert {each.name for each in await world.engine.check()} == {NAME}
    await holding.unload(model.id.digest)
    assert {each.name for each in await holding.check()} == {NAME}
    await holding.load(world.load(NAME, "1"))
    text = world.standing.stable.digest
    await holding.unload(text)
    assert await holding.check() == ()
    await holding.load(world.load(NAME, "1"))
