from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

import tiny_models
from wardgate.engine import onnx as module
from wardgate.engine.calibrate import Layout
from wardgate.engine.onnx import OnnxEngine
from wardgate.errors import EngineUnavailable, ManifestInvalid, ModelOutputInvalid
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
