from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager

import numpy as np
import pytest
from prometheus_client import REGISTRY

from wardgate.engine.batch import Bucket, Planner
from wardgate.engine.batcher import Batcher, valid
from wardgate.errors import DeadlineExceeded, EngineUnavailable, ModelOutputInvalid
from wardgate.types import Encoding, Priority


class Gate:
    """A run that sums each row and waits, where it is shut, until it is opened."""

    def __init__(self):
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)
        self.batches = []
        self.alone = []

    def __call__(self, model, ids, mask, slot, alone):
        self.batches.append((ids * mask).sum(1).tolist())
        self.alone.append(alone)
        self.entered.release()
        assert self.open.wait(10)
        return self.answer(ids, mask)

    def answer(self, ids, mask):
        return np.stack([(ids * mask).sum(1), mask.sum(1)], 1).astype(np.float32)


@asynccontextmanager
async def started(run, *, slots=1, rows=4, seconds=0.0):
    planner = Planner(
        {"m": (Bucket(8, rows, 0.0), Bucket(64, rows, seconds))},
        queue_tokens=1_000,
        bulk_age=2.0,
        rate=1e6,
    )
    batcher = Batcher(planner, run, slots=slots, columns={"m": 2})
    batcher.start()
    batcher.infer_rows = lambda *rows, timeout=10.0: batcher.infer(
        "m",
        Encoding(tuple(rows)),
        deadline=time.monotonic() + timeout,
        priority=Priority.INTERACTIVE,
    )
    try:
        yield batcher
    finally:
        if isinstance(run, Gate):
            run.open.set()
        await batcher.close()


async def entered(gate):
    assert await asyncio.to_thread(gate.entered.acquire, timeout=10)


async def turn():
    for _ in range(3):
        await asyncio.sleep(0)


async def test_rows_are_padded_with_id_0_under_mask_0():
    seen = []

    def run(model, ids, mask, slot, alone):
        seen.append((ids.copy(), mask.copy()))
        return np.zeros((len(ids), 2), np.float32)

    async with started(run) as batcher:
        await batcher.infer_rows([7, 8, 9], [5])
    (ids, mask) = seen[0]
    assert ids.dtype == mask.dtype == np.int64
    assert ids.tolist() == [[7, 8, 9], [5, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


async def test_a_call_larger_than_a_batch_is_put_together_from_several():
    gate = Gate()
    async with started(gate, slots=2, rows=2) as batcher:
        logits = await batcher.infer_rows(*([number] * 3 for number in range(1, 8)))
    assert logits.tolist() == [[3 * number, 3] for number in range(1, 8)]
    assert len(gate.batches) == 4


async def test_callers_that_wait_together_run_together():
    gate = Gate()
    gate.open.clear()
    async with started(gate) as batcher:
        first = asyncio.create_task(batcher.infer_rows([1]))
        await entered(gate)
        others = [asyncio.create_task(batcher.infer_rows([number])) for number in (2, 3, 4)]
        await turn()
        gate.open.set()
        await asyncio.gather(first, *others)
    assert gate.batches == [[1], [2, 3, 4]]


async def test_a_caller_that_left_is_dropped_before_its_batch_runs():
    gate = Gate()
    gate.open.clear()
    async with started(gate) as batcher:
        first = asyncio.create_task(batcher.infer_rows([1]))
        await entered(gate)
        leaver = asyncio.create_task(batcher.infer_rows([2]))
        stayer = asyncio.create_task(batcher.infer_rows([3]))
        await turn()
        leaver.cancel()
        await turn()
        gate.open.set()
        await asyncio.gather(first, stayer)
        assert leaver.cancelled()
    assert gate.batches == [[1], [3]]


async def test_a_caller_that_leaves_while_its_batch_runs_takes_nothing_from_the_others():
    gate = Gate()
    gate.open.clear()
    async with started(gate) as batcher:
        first = asyncio.create_task(batcher.infer_rows([1]))
        await entered(gate)
        leaver, stayer = (asyncio.create_task(batcher.infer_rows([number])) for number in (2, 3))
        await turn()
        gate.open.set()
        await first
        leaver.cancel()
        assert (await stayer).tolist() == [[3, 1]]


async def test_a_deadline_passes_while_the_run_hangs():
    gate = Gate()
    gate.open.clear()
    async with started(gate) as batcher:
        with pytest.raises(DeadlineExceeded):
            await batcher.infer_rows([1], timeout=0.01)
        gate.open.set()
        assert (await batcher.infer_rows([2])).tolist() == [[2, 1]]


async def test_what_expired_in_the_queue_does_not_run():
    gate = Gate()
    gate.open.clear()
    async with started(gate) as batcher:
        first = asyncio.create_task(batcher.infer_rows([1]))
        await entered(gate)
        with pytest.raises(DeadlineExceeded):
            await batcher.infer_rows([2], timeout=0.001)
        gate.open.set()
        await first
        await batcher.infer_rows([3])
    assert gate.batches == [[1], [3]]


async def test_a_deadline_that_cannot_be_met_is_refused_at_once_and_not_run():
    gate = Gate()
    async with started(gate, seconds=60.0) as batcher:
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(batcher.infer_rows([1] * 20, timeout=30.0), 10)
        await batcher.infer_rows([2])
    assert gate.batches == [[2]]


async def test_a_run_that_fails_is_an_error_for_its_batch_alone():
    def run(model, ids, mask, slot, alone):
        if 13 in ids:
            raise RuntimeError("secret tensor values")
        return np.ones((len(ids), 2), np.float32)

    async with started(run) as batcher:
        with pytest.raises(EngineUnavailable) as refusal:
            await batcher.infer_rows([13])
        assert "secret" not in str(refusal.value)
        assert refusal.value.reason == "run-failed"
        assert (await batcher.infer_rows([1])).tolist() == [[1, 1]]


@pytest.mark.parametrize(
    "output",
    [
        np.full((1, 2), np.nan, np.float32),
        np.full((1, 2), np.inf, np.float32),
        np.zeros((1, 3), np.float32),
        np.zeros((2, 2), np.float32),
        np.zeros(2, np.float32),
        np.zeros((1, 2), np.float64),
        [[0.0, 0.0]],
        None,
    ],
)
async def test_output_that_is_not_as_declared_never_becomes_a_reply(output):
    assert not valid(output, 1, 2)
    async with started(lambda *_: output) as batcher:
        with pytest.raises(ModelOutputInvalid):
            await batcher.infer_rows([1])


async def test_each_caller_of_a_failed_batch_gets_an_exception_of_its_own():
    gate = Gate()
    gate.answer = lambda ids, mask: np.full((len(ids), 2), np.nan, np.float32)
    gate.open.clear()
    async with started(gate) as batcher:
        first = asyncio.create_task(batcher.infer_rows([1]))
        await entered(gate)
        others = [asyncio.create_task(batcher.infer_rows([number])) for number in (2, 3)]
        await turn()
        gate.open.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
    assert [type(each) for each in found] == [ModelOutputInvalid] * 3
    assert found[1] is not found[2]


async def test_rows_that_arrive_together_are_shared_by_free_sessions():
    gate = Gate()
    gate.open.clear()
    async with started(gate, slots=2) as batcher:
        calls = [asyncio.create_task(batcher.infer_rows([number])) for number in (1, 2)]
        await entered(gate)
        await entered(gate)  # both run at once, although one batch would have taken both
        gate.open.set()
        await asyncio.gather(*calls)
    assert sorted(gate.batches) == [[1], [2]]


async def test_windows_of_one_note_are_shared_by_free_sessions():
    gate = Gate()
    gate.open.clear()
    async with started(gate, slots=3) as batcher:
        call = asyncio.create_task(batcher.infer_rows([1], [2], [3]))
        for _ in range(3):
            await entered(gate)
        gate.open.set()
        assert (await call).tolist() == [[1, 1], [2, 1], [3, 1]]


async def test_a_lone_run_is_told_that_it_is_alone():
    gate = Gate()
    gate.open.clear()
    async with started(gate, slots=2) as batcher:
        first = asyncio.create_task(batcher.infer_rows([1]))
        await entered(gate)
        second = asyncio.create_task(batcher.infer_rows([2]))
        await entered(gate)
        gate.open.set()
        await asyncio.gather(first, second)
    assert gate.alone == [True, False]


async def test_close_ends_what_waits_and_stops_every_thread():
    gate = Gate()
    gate.open.clear()
    async with started(gate, slots=2) as batcher:
        running = []
        for number in (1, 2):
            running.append(asyncio.create_task(batcher.infer_rows([number])))
            await entered(gate)
        waiting = asyncio.create_task(batcher.infer_rows([3]))
        await turn()
        closing = asyncio.create_task(batcher.close())
        await turn()
        gate.open.set()
        await closing
        assert [(await each).tolist()[0][0] for each in running] == [1, 2]
        with pytest.raises(EngineUnavailable):
            await waiting
        with pytest.raises(EngineUnavailable):
            await batcher.infer_rows([4])
        assert not any(thread.is_alive() for thread in batcher._threads)
    assert gate.batches == [[1], [2]]


async def test_batches_are_counted_with_their_padding():
    def total(name):
        return REGISTRY.get_sample_value(name, {"model": "m"}) or 0.0

    rows, padding = "wardgate_batch_rows_sum", "wardgate_batch_padding_ratio_sum"
    before = total(rows), total(padding)
    async with started(Gate()) as batcher:
        await batcher.infer_rows([1, 2, 3, 4], [5, 6])
    assert total(rows) - before[0] == 2
    assert total(padding) - before[1] == pytest.approx(0.25)
