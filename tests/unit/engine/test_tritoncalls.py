"""Callers and calls over the real server: who leaves takes nothing of others along."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

import tiny_models
from tiny_models import NAN_ID, SLOW_ID
from wardgate.errors import DeadlineExceeded, ModelOutputInvalid


def out(bench) -> int:
    return len(bench.engine._calls._out)


def test_what_is_ready_in_the_same_turn_goes_as_one_call(triton):
    async def scenario():
        tasks = [asyncio.create_task(triton.infer([4 + each])) for each in range(20)]
        await triton.until(lambda: out(triton), every=0)
        calls = out(triton)
        return calls, [logits.tolist() for logits in await asyncio.gather(*tasks)]

    calls, logits = triton.run(scenario())
    assert calls == 1
    assert logits == [[[4.0 + each, 4.0 + each]] for each in range(20)]


def test_more_rows_than_a_call_takes_go_as_several(triton):
    rows = [[4 + each, 5] for each in range(70)]
    assert triton.run(triton.infer(*rows)).tolist() == tiny_models.expected(rows).tolist()


def test_a_deadline_of_one_caller_ends_no_other_of_the_same_call(triton, monkeypatch):
    monkeypatch.setattr("wardgate.engine.join.DEADLINE_RATIO", 1e6)

    async def scenario():
        hasty = asyncio.create_task(triton.infer([SLOW_ID], timeout=0.01))
        patient = asyncio.create_task(triton.infer([5]))
        await triton.until(lambda: out(triton), every=0)
        joined = out(triton)
        with pytest.raises(DeadlineExceeded):
            await hasty
        assert (await patient).tolist() == [[5, 5]]
        return joined

    assert triton.run(scenario()) == 1


def test_a_call_goes_on_for_those_who_stay_and_is_cancelled_when_all_have_left(triton):
    async def scenario():
        leaver = asyncio.create_task(triton.infer([SLOW_ID]))
        stayer = asyncio.create_task(triton.infer([5]))
        await triton.until(lambda: out(triton), every=0)
        leaver.cancel()
        with suppress(asyncio.CancelledError):
            await leaver
        assert out(triton) == 1
        assert (await stayer).tolist() == [[5, 5]]
        alone = asyncio.create_task(triton.infer([SLOW_ID]))
        await triton.until(lambda: out(triton), every=0)
        (task,) = triton.engine._calls._out
        alone.cancel()
        with suppress(asyncio.CancelledError):
            await alone
        await triton.until(task.done)
        return task.cancelled()

    assert triton.run(scenario())


def test_a_row_that_is_not_finite_fails_its_caller_alone(triton):
    async def scenario():
        wrong = asyncio.create_task(triton.infer([4], [NAN_ID]))
        right = asyncio.create_task(triton.infer([6]))
        with pytest.raises(ModelOutputInvalid):
            await wrong
        return (await right).tolist()

    assert triton.run(scenario()) == [[6, 6]]
