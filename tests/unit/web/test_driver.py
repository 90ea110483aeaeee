"""The driver with a real engine, registry and control store, and real followers."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

import tiny_models
from changing import World
from tiny_registry import NAME
from wardgate.control.store import LIVE_SECONDS, ControlStore, Superseded
from wardgate.errors import AuditUnavailable, ModelUnknown
from wardgate.registry.standing import from_tree
from wardgate.web.driver import adopt
from wardgate.web.follow import KIND


async def test_a_promotion_changes_what_answers_and_lets_the_old_go(world):
    world.add()
    assert await world.predict() == ("1", "yes")
    world.ask("promote", "2")
    assert (await world.settle()).stable.version == "2"
    assert await world.predict() == ("2", "no")
    assert await world.held() == {"2"}
    stages = [record.stage for record in world.records]
    assert stages == ["loading", "proving", "shifting", "serving", "drained"]
    assert {record.id for record in world.records} == {world.standing.change.id}
    assert world.records[-1].serves.digest == world.standing.stable.digest
    world.ask("rollback")
    assert (await world.settle()).stable.version == "1"
    assert await world.predict() == ("1", "yes")


async def test_the_old_is_held_for_as_long_as_a_request_of_it_is_in_flight(world):
    world.add()
    lease = world.served.lease(NAME, None, "id")
    world.ask("promote", "2")
    await world.until(lambda: world.standing.change.state == "done")
    for _ in range(20):
        await world.turn()
    assert await world.held() == {"1", "2"}
    assert lease.model.id.version == "1"
    lease.leave()
    await world.settle()
    await world.until(lambda: world.engine._served.keys() == {world.standing.stable.digest})


async def test_a_step_that_cannot_be_recorded_is_not_taken(world):
    world.add()
    world.ask("promote", "2")

    async def refuse(_):
        raise AuditUnavailable

    world.driver._record = refuse
    with pytest.raises(AuditUnavailable):
        await world.until(lambda: world.standing.stage != "verifying")
    assert world.standing.stage == "verifying"


async def test_a_driver_that_dies_is_followed_by_one_that_goes_on(world):
    world.add()
    world.ask("promote", "2")
    stages = set()
    for _ in range(200):
        await world.turn()
        if world.standing.stage not in stages:  # a new driver at each stage
            stages.add(world.standing.stage)
            await world.driver.close()
            world.driver = world.new_driver()
    assert stages >= {"verifying", "loading", "proving", "serving"}
    assert (await world.settle()).stable.version == "2"


async def test_files_that_change_between_verifying_and_loading_are_refused(world):
    home = world.add()
    world.ask("promote", "2")
    await world.until(lambda: world.standing.stage == "loading")
    await world.driver.close()
    world.driver = world.new_driver()
    for file in home.iterdir():
        file.unlink()
    home.rmdir()
    world.add(label="no", ids={"w400": 3})
    await world.until(lambda: world.standing.change.state != "running")
    assert world.standing.change.state == "refused"
    assert "manifest" in world.standing.change.reason
    assert world.standing.stable.version == "1"


@pytest.mark.parametrize(
    ("graph", "label", "why"),
    [
        (tiny_models.always_nan().graph, "no", "valid output"),
        (tiny_models.wrong_output().graph, "no", r"model\.onnx"),
        (None, "yes", "golden example 1 of 1"),
    ],
    ids=["nan", "graph", "golden"],
)
async def test_a_bad_model_is_refused_and_nothing_of_it_stays(world, graph, label, why):
    world.add(graph=graph, label=label)
    world.ask("promote", "2")
    standing = await world.settle()
    assert standing.change.state == "refused"
    import re

    assert re.search(why, standing.change.reason)
    await world.until(lambda: len(world.engine._served) == 1)
    assert await world.predict() == ("1", "yes")


async def test_every_live_follower_must_agree_and_a_dead_one_need_not(world, monkeypatch):
    world.add()
    other = await world.follow()
    world.follows.remove(other)  # it lives, but does not get on
    world.ask("promote", "2")
    await world.until(lambda: world.standing.stage == "proving")
    for _ in range(10):
        await world.turn()
    assert world.standing.stage == "proving"
    world.driver._clock = lambda: time.time() + LIVE_SECONDS - 1
    rows = world.store.followers()
    assert len(rows) == 2
    world.store.report(replace(rows[1], seen=time.time() - LIVE_SECONDS - 1))
    world.driver._clock = time.time
    assert (await world.settle()).stable.version == "2"
    world.follows.append(other)


async def test_an_engine_that_lost_what_serves_gets_it_again(world):
    await world.engine.unload(world.standing.stable.digest)
    await world.until(lambda: len(world.engine._served) == 1)
    assert await world.predict() == ("1", "yes")


def test_the_highest_version_is_adopted_once(tmp_path):
    world = World(tmp_path)
    world.add()
    assert adopt(world.store, world.load, [NAME])[NAME].stable.version == "2"
    world.add("3")
    assert adopt(world.store, world.load, [NAME])[NAME].stable.version == "2"
    assert world.store.generation() == 1
    with pytest.raises(ModelUnknown):
        adopt(world.store, world.load, ["absent"])
    world.store.close()


def test_of_two_processes_that_adopt_at_once_both_get_the_same(tmp_path, monkeypatch):
    world = World(tmp_path)
    other = ControlStore(tmp_path)
    put = world.store.put

    def late(*arguments, **options):
        adopt(other, world.load, [NAME])
        return put(*arguments, **options)

    monkeypatch.setattr(world.store, "put", late)
    found = adopt(world.store, world.load, [NAME])
    assert found[NAME] == from_tree(other.documents(KIND)[1][NAME].body)
    with pytest.raises(Superseded):
        put(KIND, NAME, {}, expected=0)
    other.close()
    world.store.close()
