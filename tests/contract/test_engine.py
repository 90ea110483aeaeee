"""What every engine does, whichever side of a socket it is on: one suite for all of them."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiny_models
from tiny_models import LOST_ID, NAN_ID, SLOW_ID
from wardgate.engine.base import Engine
from wardgate.engine.onnx import OnnxEngine
from wardgate.engine.remote import RemoteEngine
from wardgate.engine.server import EngineServer
from wardgate.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    ModelOutputInvalid,
    ModelUnknown,
    NoteExceedsModel,
    Overloaded,
)
from wardgate.registry import export
from wardgate.registry.manifest import parse
from wardgate.registry.store import LoadedModel
from wardgate.types import Encoding, Priority

QUEUE_TOKENS = 4096
KINDS = ("onnx", "remote", "triton")


def need(kind: str) -> None:
    """Skip where an engine is not installed; with CI=true that is a failure."""
    if kind == "triton" and importlib.util.find_spec("pytriton") is None:
        reason = "the Triton server is not installed (pip install 'wardgate[triton]')"
        if os.environ.get("CI") == "true":
            pytest.fail(f"needed on CI: {reason}")
        pytest.skip(reason)


def tiny() -> LoadedModel:
    files = {
        "model.onnx": tiny_models.fingerprint().graph,
        "tokenizer.json": tiny_models.tokenizer_json(),
    }
    return LoadedModel(parse(tiny_models.as_json(tiny_models.manifest(files))), files)


class Bench:
    """An engine that runs one batch at a time, and a loop to drive it in."""

    def __init__(self, kind: str, folder) -> None:
        self.runner = asyncio.Runner()
        self.kind = kind
        self.folder = folder
        self.path = folder / "engine.sock"
        self.model = tiny()
        self.run(self._start())

    def run(self, work):
        return self.runner.run(work)

    async def _start(self) -> None:
        if self.kind == "triton":
            self.engine: Engine = await self._triton()
            return
        digest = self.model.id.digest
        self.onnx = OnnxEngine(
            {digest: self.model}, sessions=1, threads=1, queue_tokens=QUEUE_TOKENS
        )
        await self.onnx.start()
        self.engine = self.onnx
        if self.kind == "remote":
            self.server = EngineServer(self.onnx, self.path)
            await self.server.start()
            remote = RemoteEngine(self.path)
            await remote.start()
            self.engine = remote

    async def _triton(self) -> Engine:
        """The engine over the real server."""
        from wardgate.engine.triton import TritonEngine
        from wardgate.engine.tritonlink import Endpoint
        from wardgate.engine.tritonmodels import Managed
        from wardgate.engine.tritonserver import TritonServer

        repository = self.folder / "models"
        repository.mkdir(exist_ok=True)
        server = TritonServer(repository, home=self.folder / "home", threads=1)
        access = await server.start()
        endpoint = Endpoint(
            access.address, access.ca, access.cert, access.key, access.header, access.secret
        )
        engine = TritonEngine(
            lambda: endpoint,
            Managed(repository=repository, export=export.write, lengths=export.buckets),
            on_close=server.close,
            lengths=export.buckets,
            queue_tokens=QUEUE_TOKENS,
        )
        await engine.start([self.model])
        return engine

    async def _stop(self) -> None:
        await self.engine.close()
        await self.engine.close()
        if self.kind == "remote":
            await self.server.close()
            await self.onnx.close()

    def close(self) -> None:
        self.run(self._stop())
        self.runner.close()

    async def infer(self, *rows, timeout=20.0, priority=Priority.INTERACTIVE, model=None):
        return await self.engine.infer(
            model or self.model.id.digest,
            Encoding(tuple(list(row) for row in rows)),
            deadline=time.monotonic() + timeout,
            priority=priority,
        )

    async def busy(self) -> asyncio.Task:
        """Keep the only session busy; return once the slow batch runs, so that others must wait."""
        slow = asyncio.create_task(self.infer([SLOW_ID]))
        if self.kind == "triton":
            await self.turn(lambda: self.engine._calls._out)
            await self.engine.check()  # behind the slow call on the same connection
        else:
            await self.turn(lambda: self.waiting == 1 or self.runs)
            await self.turn(lambda: self.waiting == 0)
        return slow

    @property
    def waiting(self) -> int:
        """Tokens that take up room in the queue."""
        if self.kind == "triton":
            return self.engine._joiner.tokens
        return self.onnx._batcher._planner.tokens

    @property
    def held(self) -> int:
        """Tokens of the slow batch that still take up room while it runs."""
        return 1 if self.kind == "triton" else 0

    @property
    def runs(self) -> bool:
        if self.kind == "triton":
            return bool(self.engine._calls._out)
        return self.onnx._batcher._running > 0

    async def turn(self, reached) -> None:
        """Let the loop turn until `reached()` holds; the timeout is the bound."""
        async with asyncio.timeout(10):
            while not reached():
                await asyncio.sleep(0)


@pytest.fixture(scope="module", params=KINDS)
def bench(request, tmp_path_factory):
    need(request.param)
    bench = Bench(request.param, tmp_path_factory.mktemp("engine"))
    yield bench
    bench.close()


ROWS = st.lists(st.lists(st.integers(4, 999), min_size=1, max_size=64), min_size=1, max_size=5)
CALLS = st.lists(
    st.tuples(
        ROWS,
        st.sampled_from(list(Priority)),
        st.sampled_from([20.0, 20.0, 20.0, 0.002]),
        st.sampled_from([None, None, None, 0, 1, 3, 10]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls=CALLS)
def test_each_caller_gets_exactly_its_own_rows(bench, calls):
    """Whoever else arrives, leaves, or runs out of time: a reply is the fingerprint of its rows."""

    async def turns(number):
        for _ in range(number):
            await asyncio.sleep(0)

    async def call(rows, priority, timeout, leaves, waits):
        await turns(waits)
        task = asyncio.create_task(bench.infer(*rows, timeout=timeout, priority=priority))
        if leaves is not None:
            await turns(leaves)
            task.cancel()
        try:
            logits = await task
        except asyncio.CancelledError:
            return leaves is not None
        except DeadlineExceeded:
            return timeout < 1
        except Overloaded as refusal:
            return refusal.retry_after > 0
        assert logits.dtype == np.float32
        assert logits.tolist() == tiny_models.expected(rows).tolist()
        return True

    async def scenario():
        async with asyncio.timeout(30):
            right = await asyncio.gather(*(call(*each) for each in calls))
        await bench.turn(lambda: bench.waiting == 0)
        return right

    assert all(bench.run(scenario()))


def test_a_call_owns_the_memory_of_its_rows(bench):
    """No reply is a view into an array that holds another caller's rows."""

    async def scenario():
        slow = await bench.busy()
        both = await asyncio.gather(bench.infer([4, 5]), bench.infer([6, 7]))
        await slow
        return both

    for logits in bench.run(scenario()):
        base = logits if logits.base is None else logits.base
        assert base.size == 2
        assert logits.flags.writeable


def test_check_names_the_models_served(bench):
    assert bench.run(bench.engine.check()) == (bench.model.id,)


def test_it_says_whether_rows_stay_in_this_process(bench):
    assert bench.engine.local is (bench.kind == "onnx")


@pytest.mark.parametrize("trouble", [NAN_ID, LOST_ID])
def test_output_that_is_not_finite_or_not_of_its_shape_is_an_error(bench, trouble):
    with pytest.raises(ModelOutputInvalid):
        bench.run(bench.infer([4, trouble]))
    assert bench.run(bench.infer([4])).tolist() == [[4, 4]]


def test_an_unknown_model_is_refused(bench):
    with pytest.raises(ModelUnknown):
        bench.run(bench.infer([4], model="other"))


def test_a_row_longer_than_the_model_is_refused(bench):
    with pytest.raises(NoteExceedsModel):
        bench.run(bench.infer([4] * 65))


def test_a_call_larger_than_the_whole_queue_is_refused_for_good(bench):
    with pytest.raises(NoteExceedsModel):
        bench.run(bench.infer(*([4] * 64 for _ in range(QUEUE_TOKENS // 64 + 1))))


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(bench):
    async def scenario():
        slow = await bench.busy()
        rows = [[4] * 64] * (QUEUE_TOKENS // 64 - 1) + [[4] * (64 - bench.held)]
        filling = asyncio.create_task(bench.infer(*rows))
        await bench.turn(lambda: bench.waiting == QUEUE_TOKENS)
        with pytest.raises(Overloaded) as refusal:
            await bench.infer([4])
        assert not slow.done()
        await asyncio.gather(slow, filling)
        return refusal.value

    refusal = bench.run(scenario())
    assert refusal.status == 503
    assert 0 < refusal.retry_after <= 30


def test_a_caller_that_left_is_dropped_before_its_batch_runs(bench):
    """The row that would be NaN would spoil its batch, were it still there."""

    async def scenario():
        slow = await bench.busy()
        leaver = asyncio.create_task(bench.infer([NAN_ID]))
        stayer = asyncio.create_task(bench.infer([5]))
        await bench.turn(lambda: bench.waiting == 2 + bench.held)
        leaver.cancel()
        with suppress(asyncio.CancelledError):
            await leaver
        await bench.turn(lambda: bench.waiting == 1 + bench.held)
        assert not slow.done()
        return (await asyncio.gather(slow, stayer))[1].tolist()

    assert bench.run(scenario()) == [[5, 5]]


def test_a_deadline_ends_a_call_that_waits(bench):
    async def scenario():
        slow = await bench.busy()
        with pytest.raises(DeadlineExceeded):
            await bench.infer([4], timeout=0.005)
        assert not slow.done()
        await slow

    bench.run(scenario())


def test_a_deadline_ends_a_call_that_runs(bench):
    async def scenario():
        with pytest.raises(DeadlineExceeded):
            await bench.infer([SLOW_ID], timeout=0.01)
        await bench.turn(lambda: not bench.runs)

    bench.run(scenario())


def test_a_deadline_that_has_passed_is_refused_without_a_run(bench):
    with pytest.raises(DeadlineExceeded):
        bench.run(bench.infer([4], timeout=-1.0))


def test_interactive_goes_before_bulk(bench):
    async def scenario():
        slow = await bench.busy()
        order = []

        async def note(name, *rows, priority):
            await bench.infer(*rows, priority=priority)
            order.append(name)

        # More bulk rows than one batch takes, so that the interactive row cannot just ride along.
        bulk = asyncio.create_task(note("bulk", *[[4]] * 500, priority=Priority.BULK))
        await bench.turn(lambda: bench.waiting == 500 + bench.held)
        quick = asyncio.create_task(note("interactive", [5], priority=Priority.INTERACTIVE))
        await asyncio.gather(slow, bulk, quick)
        return order

    assert bench.run(scenario()) == ["interactive", "bulk"]


def test_close_ends_calls_in_flight(tmp_path, request):
    """Whoever waits when the engine closes is told so, and so is whoever comes later."""
    for kind in KINDS:
        need(kind)
        bench = Bench(kind, tmp_path)

        async def scenario(bench=bench):
            slow = await bench.busy()
            waiting = asyncio.create_task(bench.infer([4]))
            await bench.turn(lambda bench=bench: bench.waiting == 1 + bench.held)
            await bench.engine.close()
            with pytest.raises(EngineUnavailable) as refusal:
                await waiting
            assert refusal.value.retry_after is not None
            with suppress(EngineUnavailable):
                await slow
            with pytest.raises(EngineUnavailable):
                await bench.infer([4])
            with pytest.raises(EngineUnavailable):
                await bench.engine.check()

        bench.run(scenario())
        bench.close()
