"""A shadow is counted, returns nothing, and gives way."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from wardgate.errors import DeadlineExceeded, ModelOutputInvalid, ModelUnknown, Overloaded
from wardgate.registry.standing import Goal
from wardgate.request import ServedModel
from wardgate.telemetry import SHADOW
from wardgate.types import CleanText, Encoding, ModelId, Prediction, Priority
from wardgate.web import shadow as module
from wardgate.web.served import Prepared, Rule
from wardgate.web.shadow import AT_ONCE, CHARS, TEXTS, Shadow


class Engine:
    """An engine that answers, holds, or raises; what it was asked is kept."""

    def __init__(self, error=None) -> None:
        self.error, self.asked = error, []
        self.go = asyncio.Event()
        self.go.set()

    async def infer(self, model, encoding, *, deadline, priority):
        self.asked.append((model, priority, deadline))
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return np.zeros((1, 2), np.float32)


def rule(label="yes") -> Rule:
    def model(version):
        served = ServedModel(
            ModelId("tiny", version, version * 64),
            ("no", "yes"),
            lambda text: Encoding(([1],)),
            lambda logits: Prediction(label, 1.0, {}),
        )
        return Prepared(served, ())

    return Rule(model("1"), model("2"), Goal.SHADOW)


async def ended(shadow: Shadow) -> None:
    while shadow._tasks:
        await asyncio.gather(*shadow._tasks)
        await asyncio.sleep(0)


@pytest.mark.parametrize(("label", "counts"), [("yes", (1, 0)), ("no", (0, 1))])
async def test_whether_it_agrees_is_counted(label, counts):
    engine, found = Engine(), rule(label)
    before = SHADOW.labels("tiny", "agreed")._value.get()
    shadow = Shadow(engine)
    assert shadow.show(found, [CleanText("a")], ["yes"]) is None
    assert engine.asked == [], "nothing happens in the turn of the caller"
    await ended(shadow)
    assert (found.score.agreed, found.score.differed) == counts
    assert [(model, priority) for model, priority, _ in engine.asked] == [("2" * 64, Priority.BULK)]
    assert SHADOW.labels("tiny", "agreed")._value.get() == before + counts[0]


@pytest.mark.parametrize("error", [DeadlineExceeded(), Overloaded(), ModelUnknown()])
async def test_a_busy_engine_drops_it(error):
    found, shadow = rule(), Shadow(Engine(error))
    shadow.show(found, [CleanText("a")], ["yes"])
    await ended(shadow)
    tally = found.score.tally()
    assert (tally.dropped, tally.candidate.errors, tally.agreed) == (1, 0, 0)


@pytest.mark.parametrize("error", [ModelOutputInvalid(), RuntimeError("any fault")])
async def test_what_it_fails_is_counted_and_told_to_nobody(error):
    found, shadow = rule(), Shadow(Engine(error))
    shadow.show(found, [CleanText("a")], ["yes"])
    await ended(shadow)
    assert (found.score.tally().candidate.errors, found.score.dropped) == (1, 0)


async def test_few_run_at_a_time_and_large_requests_are_cut():
    engine, found = Engine(), rule()
    engine.go.clear()
    shadow = Shadow(engine)
    for _ in range(AT_ONCE + 3):
        shadow.show(found, [CleanText("a")], ["yes"])
    assert found.score.dropped == 3
    engine.go.set()
    await ended(shadow)
    engine.asked.clear()
    shadow.show(found, [CleanText("a")] * 50, ["yes"] * 50)
    await ended(shadow)
    assert len(engine.asked) == TEXTS
    shadow.show(found, [CleanText("a" * (CHARS + 1))], ["yes"])
    assert found.score.dropped == 4
    assert module.SECONDS < 2.0, "sooner than a bulk row is as urgent as others"


async def test_it_ends_with_the_gateway():
    engine, found = Engine(), rule()
    engine.go.clear()
    shadow = Shadow(engine)
    shadow.show(found, [CleanText("a")], ["yes"])
    await asyncio.sleep(0)
    await shadow.close()
    assert not shadow._tasks
