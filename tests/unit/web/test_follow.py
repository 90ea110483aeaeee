"""How a process keeps up with the control store."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from tiny_registry import NAME
from wardgate.errors import ManifestInvalid, Overloaded
from wardgate.registry.standing import Arm, Tally, Version
from wardgate.telemetry import CONTROL_GENERATION
from wardgate.web import follow as module
from wardgate.web.follow import load_pinned, tally_of


async def test_a_follower_goes_by_what_is_written_within_a_second(world, monkeypatch):
    """With its own clock: no test drives it."""
    follow = world.follows[0]
    world.driver.start()
    follow.run()
    world.add()
    world.ask("promote", "2")
    async with asyncio.timeout(30):
        while (await world.predict())[0] != "2":
            await asyncio.sleep(0.01)
    reported = CONTROL_GENERATION.labels("worker-0")._value.get()
    assert reported == follow._row.generation > 1
    assert module.POLL_SECONDS < 1


async def test_what_fails_in_passing_is_tried_again_and_holds_up_the_change(world):
    follow = world.follows[0]
    wrong = follow._wrong
    tries = []

    async def busy(model):
        tries.append(model)
        if len(tries) < 3:
            raise Overloaded
        return await wrong(model)

    follow._wrong = busy
    world.add()
    world.ask("promote", "2")
    assert (await world.settle()).stable.version == "2"
    assert len(tries) == 3, "proven once, after two tries in vain"


async def test_while_a_part_has_to_wait_the_rest_goes_by_the_old_rule(world):
    follow = world.follows[0]

    async def busy(_):
        raise Overloaded

    follow._wrong = busy
    world.add()
    world.ask("promote", "2")
    await world.until(lambda: world.standing.stage == "proving")
    for _ in range(5):
        await world.turn()
    assert await world.predict() == ("1", "yes")
    assert follow._row.generation < world.store.generation()


async def test_a_refusal_of_one_worker_ends_the_change(world):
    other = await world.follow()

    async def wrong(_):
        return "a worker's own reason"

    other._wrong = wrong
    world.add()
    world.ask("promote", "2")
    standing = await world.settle()
    assert (standing.change.state, standing.change.reason) == ("refused", "a worker's own reason")


async def test_a_model_with_other_labels_is_refused(world):
    world.add(label="ja", labels=["ja", "nein"])
    world.ask("promote", "2")
    assert "labels" in (await world.settle()).change.reason


async def test_a_worker_that_begins_later_has_the_candidate_too(world):
    world.add()
    world.ask("canary", "2", percent=50)
    await world.until(lambda: world.standing.change.state == "done")
    other = await world.follow()
    rule = other._served.rules[NAME]
    assert (rule.candidate.served.id.version, rule.percent) == ("2", 50)
    assert await world.held() == {"1", "2"}


async def test_what_serves_must_be_in_the_registry_as_it_was(world):
    shutil.rmtree(world.registry / NAME / "1")
    with pytest.raises(ManifestInvalid, match="no more"):
        await world.follow()
    world.follows.pop()
    world.add("1")
    with pytest.raises(ManifestInvalid, match="not the one"):
        load_pinned(world.load, NAME, Version("1", world.standing.stable.digest))


async def test_a_follower_that_ends_is_none_any_more(world):
    assert [each.process for each in world.store.followers()] == ["worker-0"]
    await world.follows.pop().close()
    assert world.store.followers() == []


async def test_counts_are_added_up_over_the_workers(world):
    other = await world.follow()
    world.add()
    world.ask("canary", "2", percent=50)
    await world.until(lambda: world.standing.change.state == "done")
    for number in range(40):
        await world.predict(str(number))
    for _ in range(3):
        other._served.lease(NAME, "2", "x").failed()
    await world.turn()
    total = tally_of(world.store.followers(), world.standing.change.id)
    assert total.candidate.errors == 3
    assert total.stable.requests + total.candidate.requests == 43
    assert 5 < total.candidate.requests < 38
    assert tally_of(world.store.followers(), "another") == Tally(Arm())
    await world.until(lambda: world.standing.change.state == "rolled-back")
    other._served._leases._held.clear()
    assert (await world.settle()).candidate is None
