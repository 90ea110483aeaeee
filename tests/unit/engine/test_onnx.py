from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
import time
import weakref
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

import tiny_models
from wardgate.engine import onnx as module
from wardgate.engine.calibrate import Layout
from wardgate.engine.onnx import OnnxEngine
from wardgate.errors import (
    EngineUnavailable,
    ManifestInvalid,
    ModelOutputInvalid,
    ModelUnknown,
)
from wardgate.types import Encoding, ModelId, Priority


def soon():
    return time.monotonic() + 10


async def infer(engine, model, *rows):
    return await engine.infer(
        model, Encoding(tuple(rows)), deadline=soon(), priority=Priority.INTERACTIVE
    )


@pytest.mark.parametrize(("sessions", "threads"), [(1, 1), (3, 1), (2, 2), (1, 2), (0, 0)])
async def test_every_layout_gives_each_row_its_own_result(sessions, threads):
    engine = OnnxEngine({"tiny": tiny_models.fingerprint()}, sessions=sessions, threads=threads)
    calibration = await engine.start()
    rng = np.random.default_rng(7)
    calls = [
        [rng.integers(1, 999, rng.integers(1, 64)).tolist() for _ in range(rng.integers(1, 4))]
        for _ in range(60)
    ]
    try:
        found = await asyncio.gather(*(infer(engine, "tiny", *rows) for rows in calls))
    finally:
        await engine.close()
    for rows, logits in zip(calls, found, strict=True):
        assert logits.tolist() == tiny_models.expected(rows).tolist()
    if sessions:
        assert calibration.layout == Layout(sessions, threads)
    assert calibration.buckets["tiny"][-1].length == 64
    assert calibration.rate > 0


async def test_several_models_share_one_queue():
    one, two = tiny_models.fingerprint(), tiny_models.fingerprint()
    two.id, two.max_length = ModelId("two", "1", "1" * 64), 16
    engine = OnnxEngine({"one": one, "two": two}, sessions=1, threads=1)
    await engine.start()
    try:
        assert [model.name for model in await engine.check()] == ["tiny", "two"]
        found = await asyncio.gather(infer(engine, "one", [5] * 40), infer(engine, "two", [6]))
    finally:
        await engine.close()
    assert [logits.tolist()[0][0] for logits in found] == [200, 6]


@pytest.mark.parametrize(("threads", "clock"), [(1, time.thread_time), (2, time.perf_counter)])
async def test_batches_are_timed_by_the_processor_where_a_run_keeps_to_its_thread(
    threads, clock, monkeypatch
):
    """Other work on the machine at the start must not make batches small for good."""
    clocks, plan = [], module.plan

    def spy(shot, max_length, until, given):
        clocks.append(given)
        return plan(shot, max_length, until, given)

    monkeypatch.setattr(module, "plan", spy)
    engine = OnnxEngine({"tiny": tiny_models.fingerprint()}, sessions=1, threads=threads)
    await engine.start()
    await engine.close()
    assert clocks == [clock]


async def test_batches_are_timed_for_as_long_however_slow_the_start_was(monkeypatch):
    """A large model's sessions take seconds; then no batch would be timed, and all have one row."""
    now, left = [0.0], []

    def share_out(*_):
        now[0] += 100.0
        return Layout(1, 1), 0, 1e6

    def spy(shot, max_length, until, clock):
        left.append(until - now[0])
        return plan(shot, max_length, math.inf, clock)

    plan = module.plan
    clock = SimpleNamespace(
        perf_counter=lambda: now[0], thread_time=time.thread_time, monotonic=time.monotonic
    )
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "_share_out", share_out)
    monkeypatch.setattr(module, "plan", spy)
    one, two = tiny_models.fingerprint(), tiny_models.fingerprint()
    engine = OnnxEngine({"one": one, "two": two})
    await engine.start()
    await engine.close()
    assert left == pytest.approx([module.TIMING_SECONDS / 2] * 2)


async def test_a_wide_session_answers_a_lone_caller(monkeypatch):
    """Where the timing says so, a lone row takes the wide session and company the narrow one."""
    monkeypatch.setattr(module, "_share_out", lambda *_: (Layout(2, 1), 2, 1e6))
    engine = OnnxEngine({"tiny": tiny_models.fingerprint()})
    calibration = await engine.start()
    assert calibration.wide == 2
    try:
        assert (await infer(engine, "tiny", [4, 5])).tolist() == [[9, 14]]
        found = await asyncio.gather(*(infer(engine, "tiny", [n]) for n in range(1, 30)))
    finally:
        await engine.close()
    assert [logits.tolist() for logits in found] == [[[n, n]] for n in range(1, 30)]


@pytest.mark.parametrize("make", [tiny_models.always_nan, tiny_models.wrong_shape])
async def test_a_model_whose_first_output_is_not_valid_does_not_start(make):
    with pytest.raises(ModelOutputInvalid):
        await OnnxEngine({"tiny": make()}, sessions=1, threads=1).start()


@pytest.mark.parametrize("graph", [b"", b"not a graph", tiny_models.wrong_output().graph])
async def test_a_graph_that_is_not_as_declared_does_not_start(graph):
    with pytest.raises(ManifestInvalid, match=r"model\.onnx"):
        await OnnxEngine({"tiny": tiny_models.Tiny(graph)}, sessions=1, threads=1).start()


async def test_before_its_start_it_is_unavailable():
    engine = OnnxEngine({"tiny": tiny_models.fingerprint()})
    with pytest.raises(EngineUnavailable):
        await infer(engine, "tiny", [4])
    with pytest.raises(EngineUnavailable):
        await engine.check()
    await engine.close()


async def test_start_is_bounded_in_time():
    """A slow graph is warmed on every length but not timed for ever."""
    engine = OnnxEngine({"tiny": tiny_models.fingerprint()})
    calibration = await engine.start()
    await engine.close()
    assert calibration.seconds < 10


async def test_weights_outside_the_verified_bytes_are_never_read(tmp_path, monkeypatch):
    tiny = tiny_models.fingerprint()
    model = onnx.load_from_string(tiny.graph)
    weight = onnx.numpy_helper.from_array(np.ones((64, 2), np.float32), "outside")
    (tmp_path / "w.bin").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="w.bin")
    model.graph.initializer.append(weight)
    model.graph.node.append(onnx.helper.make_node("Identity", ["outside"], ["unused"]))
    monkeypatch.chdir(tmp_path)
    tiny.graph = model.SerializeToString()
    with pytest.raises(ManifestInvalid, match="can load"):
        await OnnxEngine({"tiny": tiny}, sessions=1, threads=1).start()


# -- models that come and go ----------------------------------------------------------------------

LATE = ModelId("tiny", "2", "2" * 64)


@pytest.fixture
async def serving():
    engine = OnnxEngine({"tiny": tiny_models.fingerprint()}, sessions=2, threads=1)
    await engine.start()
    yield engine
    await engine.close()


def late(make=tiny_models.fingerprint):
    return tiny_models.Tiny(make().graph, LATE)


async def steadily(engine, model, until: asyncio.Event) -> int:
    """Call one after the other until told to stop; return how many were answered."""
    done = 0
    while not until.is_set():
        assert (await infer(engine, model, [7, done % 50 + 1])).shape == (1, 2)
        done += 1
    return done


@pytest.mark.parametrize(("sessions", "threads"), [(1, 1), (2, 1), (1, 2), (0, 0)])
async def test_a_model_comes_beside_one_that_serves_and_goes_again(sessions, threads):
    engine = OnnxEngine({"tiny": tiny_models.fingerprint()}, sessions=sessions, threads=threads)
    await engine.start()
    stop = asyncio.Event()
    callers = [asyncio.create_task(steadily(engine, "tiny", stop)) for _ in range(4)]
    try:
        await engine.load(late())
        assert {model.digest for model in await engine.check()} == {"0" * 64, LATE.digest}
        assert (await infer(engine, LATE.digest, [4, 5])).tolist() == [[9, 14]]
        await engine.load(late())  # it is there
        await engine.unload(LATE.digest)
        await engine.unload(LATE.digest)
        with pytest.raises(ModelUnknown):
            await infer(engine, LATE.digest, [4])
        await engine.load(late())
        assert (await infer(engine, LATE.digest, [4, 5])).tolist() == [[9, 14]]
    finally:
        stop.set()
        answered = await asyncio.gather(*callers)
        await engine.close()
    assert min(answered) > 0


async def test_what_waits_for_a_model_that_goes_is_answered_first(serving):
    await serving.load(late())
    slow = asyncio.create_task(infer(serving, LATE.digest, [tiny_models.SLOW_ID]))
    waiting = [asyncio.create_task(infer(serving, LATE.digest, [n])) for n in range(1, 20)]
    await asyncio.sleep(0)
    await serving.unload(LATE.digest)
    assert all(task.done() for task in (slow, *waiting))
    assert [(await task).tolist() for task in waiting] == [[[n, n]] for n in range(1, 20)]


async def test_a_model_goes_though_its_callers_have_left(serving):
    await serving.load(late())
    left = asyncio.create_task(infer(serving, LATE.digest, [tiny_models.SLOW_ID]))
    while not serving._batcher._batches[LATE.digest]:
        await asyncio.sleep(0)
    left.cancel()
    await serving.unload(LATE.digest)
    assert not serving._batcher._batches[LATE.digest]
    assert (await infer(serving, "tiny", [4])).tolist() == [[4, 4]]


async def test_what_a_model_held_is_let_go(serving):
    await serving.load(late())
    runs = weakref.ref(serving._runs[LATE.digest])
    await infer(serving, LATE.digest, [4])
    await serving.unload(LATE.digest)
    assert LATE.digest not in serving._batcher._columns
    async with asyncio.timeout(10):
        while runs() is not None:  # the slot's thread forgets its last batch with its next
            await infer(serving, "tiny", [4])


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (tiny_models.always_nan, ModelOutputInvalid),
        (tiny_models.wrong_shape, ModelOutputInvalid),
        (tiny_models.wrong_output, ManifestInvalid),
    ],
)
async def test_a_model_that_is_not_right_does_not_come(serving, make, error):
    with pytest.raises(error):
        await serving.load(late(make))
    assert len(await serving.check()) == 1
    with pytest.raises(ModelUnknown):
        await infer(serving, LATE.digest, [4])
    assert (await infer(serving, "tiny", [4])).tolist() == [[4, 4]]


async def test_a_model_that_comes_is_warmed_on_both_ends_of_every_bucket(serving, monkeypatch):
    shapes = []
    run = module._Runs.run

    def spy(self, ids, mask, slot, *, alone):
        shapes.append((ids.shape, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
        return run(self, ids, mask, slot, alone=alone)

    monkeypatch.setattr(module._Runs, "run", spy)
    await serving.load(late())
    lanes = serving._batcher._planner._lanes[LATE.digest]
    seen = {shape for shape, _ in shapes}
    for lane in lanes:
        assert {(1, lane.bucket.length), (lane.bucket.rows, lane.bucket.length)} <= seen
    if sys.platform == "linux":
        assert {nice for _, nice in shapes} == {10}, "all in a thread that gives way"


async def test_whoever_gives_up_on_a_load_does_not_wait_for_it(serving):
    threads = {thread.name for thread in threading.enumerate()}
    loading = asyncio.create_task(serving.load(late()))
    async with asyncio.timeout(10):
        while not {t.name for t in threading.enumerate()} - threads:
            await asyncio.sleep(0)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert len(await serving.check()) == 1
    await serving.load(late())
    assert (await infer(serving, LATE.digest, [4, 5])).tolist() == [[9, 14]]


async def test_before_its_start_nothing_comes():
    engine = OnnxEngine({"tiny": tiny_models.fingerprint()})
    with pytest.raises(EngineUnavailable):
        await engine.load(late())
    await engine.unload(LATE.digest)
