"""Golden examples: before a model serves, and the readiness check while it does."""

from __future__ import annotations

import dataclasses

import pytest

from tiny_registry import NAME
from wardgate.errors import EngineUnavailable, Overloaded
from wardgate.web.golden import Models, Prover
from wardgate.web.served import Prepared


class Other:
    """An engine with something changed."""

    def __init__(self, engine, **changed) -> None:
        self._engine = engine
        self.__dict__.update(changed)

    def __getattr__(self, name):
        return getattr(self._engine, name)


def readiness(world, engine=None) -> Models:
    used = engine or world.engine
    return Models(world.served, Prover(world.detector, used), used)


async def test_golden_examples_hold_and_take_turns(world):
    check = readiness(world)
    for _ in range(3):
        assert (await check()).ok


async def test_an_engine_that_serves_other_files_is_not_ready(world):
    (held,) = await world.engine.check()

    async def check():
        return (dataclasses.replace(held, digest="0" * 64),)

    state = await readiness(world, Other(world.engine, check=check))()
    assert (state.ok, state.detail) == (False, "the engine serves other model files")


async def test_a_model_that_answers_wrong_is_not_ready_and_is_not_proven(world):
    async def infer(model, encoding, **options):
        return -(await world.engine.infer(model, encoding, **options))

    engine = Other(world.engine, infer=infer)
    state = await readiness(world, engine)()
    assert (state.ok, state.detail) == (False, "tiny got a golden example wrong")
    model = Prepared.of(world.load(NAME, "1"))
    assert await Prover(world.detector, engine).wrong(model) == (
        "golden example 1 of 1 came out wrong"
    )
    assert await Prover(world.detector, world.engine).wrong(model) == ""


async def test_no_room_in_the_engine_says_nothing_about_the_models(world):
    async def infer(model, encoding, **options):
        raise Overloaded

    engine = Other(world.engine)
    check = readiness(world, engine)
    engine.infer = infer
    assert not (await check()).ok, "not before they have held once"
    del engine.infer
    assert (await check()).ok
    engine.infer = infer
    assert (await check()).ok


async def test_an_engine_that_is_gone_is_told(world):
    async def check():
        raise EngineUnavailable

    with pytest.raises(EngineUnavailable):
        await readiness(world, Other(world.engine, check=check))()


async def test_a_candidate_that_serves_beside_is_no_part_of_readiness(world):
    world.add()
    world.ask("canary", "2", percent=50)
    await world.until(lambda: world.standing.change.state == "done")
    assert (await readiness(world)()).ok
