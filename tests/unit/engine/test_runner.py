"""Tensor models: checked on the way in and out, bounded, and ended when nobody waits."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from wardgate.engine.runner import Port, TensorModel, TensorRunner
from wardgate.errors import (
    BodyInvalid,
    DeadlineExceeded,
    EngineUnavailable,
    ManifestInvalid,
    ModelOutputInvalid,
    Overloaded,
)
from wardgate.types import ModelId

VITALS = Port("vitals", "FP32", ("n", 3))
RISK = Port("risk", "FP32", ("n", 1))


def graph(nodes, inputs, outputs) -> bytes:
    made = helper.make_model(
        helper.make_graph(nodes, "tiny", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(made)
    return made.SerializeToString()


def risk(operator: str = "ReduceSum", kept: str = "n") -> bytes:
    """`vitals` FP32 [n, 3] to `risk` FP32 [n, 1] by an operator over the last axis."""
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("Constant", [], ["axes"], value=axes),
        helper.make_node(operator, ["vitals", "axes"], ["sum"], keepdims=1),
        helper.make_node("Sqrt", ["sum"], ["risk"]),
    ]
    return graph(
        nodes,
        [helper.make_tensor_value_info("vitals", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("risk", TensorProto.FLOAT, [kept, 1])],
    )


def slow(steps: int = 2_000_000) -> bytes:
    """`vitals` to `risk` after a loop that takes seconds."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["held", "held"], ["twice"]),
            helper.make_node("Sub", ["twice", "held"], ["kept"]),
            helper.make_node("Identity", ["going"], ["on"]),
        ],
        "step",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("held", TensorProto.FLOAT, ["n", 1]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("kept", TensorProto.FLOAT, ["n", 1]),
        ],
    )
    nodes = [
        helper.make_node(
            "Constant", [], ["axes"], value=helper.make_tensor("a", TensorProto.INT64, [1], [1])
        ),
        helper.make_node("ReduceSum", ["vitals", "axes"], ["sum"], keepdims=1),
        helper.make_node(
            "Constant", [], ["steps"], value=helper.make_tensor("s", TensorProto.INT64, [], [steps])
        ),
        helper.make_node("Loop", ["steps", "", "sum"], ["risk"], body=body),
    ]
    return graph(
        nodes,
        [helper.make_tensor_value_info("vitals", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("risk", TensorProto.FLOAT, ["n", 1])],
    )


def model(made: bytes, **changes) -> TensorModel:
    given = {"inputs": (VITALS,), "outputs": (RISK,), **changes}
    return TensorModel(ModelId("vitals", "1", "1" * 64), made, **given)


def vitals(*rows) -> dict[str, np.ndarray]:
    return {"vitals": np.array(rows or [[1, 2, 6]], np.float32)}


@pytest.fixture
def runner() -> Iterator[TensorRunner]:
    found = TensorRunner(threads=1, queue=2)
    yield found
    found.close()


@pytest.fixture(scope="module")
def vital() -> TensorModel:
    return model(risk())


def soon(seconds: float = 30.0) -> float:
    return time.monotonic() + seconds


async def test_tensors_in_tensors_out(runner, vital) -> None:
    found = await runner.infer(vital, vitals([1, 2, 6], [4, 0, 0]), deadline=soon())
    assert found["risk"].tolist() == [[3.0], [2.0]]
    assert vital.prove(vitals())["risk"].tolist() == [[3.0]]


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"other": np.zeros((1, 3), np.float32)},
        {**vitals(), "more": np.zeros(1)},
        {"vitals": np.zeros((1, 4), np.float32)},
        {"vitals": np.zeros(3, np.float32)},
        {"vitals": np.zeros((1, 3), np.float64)},
    ],
)
async def test_tensors_that_are_not_as_declared_are_refused(runner, vital, tensors) -> None:
    with pytest.raises(BodyInvalid):
        await runner.infer(vital, tensors, deadline=soon())


async def test_one_name_is_one_size(runner) -> None:
    two = graph(
        [helper.make_node("Add", ["a", "b"], ["c"])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in "ab"],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, ["n"])],
    )
    ports = {n: Port(n, "FP32", ("n",)) for n in "abc"}
    pair = model(two, inputs=(ports["a"], ports["b"]), outputs=(ports["c"],))
    ones, more = np.ones(2, np.float32), np.ones(1, np.float32)
    assert (await runner.infer(pair, {"a": ones, "b": ones}, deadline=soon()))["c"].sum() == 4
    with pytest.raises(BodyInvalid):
        await runner.infer(pair, {"a": ones, "b": more}, deadline=soon())


async def test_what_is_not_finite_or_not_as_declared_does_not_leave(runner, vital) -> None:
    with pytest.raises(ModelOutputInvalid):
        await runner.infer(vital, vitals([-1, 0, 0]), deadline=soon())
    with pytest.raises(ModelOutputInvalid):
        vital.prove(vitals([-1, 0, 0]))
    other = model(risk(), outputs=(Port("risk", "FP32", ("n", 2)),))
    with pytest.raises(ModelOutputInvalid):
        await runner.infer(other, vitals(), deadline=soon())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
async def test_outputs_of_inputs_that_are_not_finite_are_the_callers_fault(
    runner, vital, value
) -> None:
    with pytest.raises(BodyInvalid) as raised:
        await runner.infer(vital, vitals([value, 0, 0]), deadline=soon())
    assert raised.value.reason == "tensor-finite"


async def test_a_missing_value_that_the_graph_takes_is_no_fault(runner) -> None:
    graph_ = graph(
        [
            helper.make_node("IsNaN", ["vitals"], ["gone"]),
            helper.make_node("Cast", ["gone"], ["risk"], to=TensorProto.FLOAT),
        ],
        [helper.make_tensor_value_info("vitals", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("risk", TensorProto.FLOAT, ["n", 3])],
    )
    takes = model(graph_, outputs=(Port("risk", "FP32", ("n", 3)),))
    found = await runner.infer(takes, vitals([np.nan, 0, 1]), deadline=soon())
    assert found["risk"].tolist() == [[1.0, 0.0, 0.0]]


async def test_a_deadline_ends_the_run_and_its_room_comes_back() -> None:
    runner = TensorRunner(threads=1, queue=1)
    with pytest.raises(DeadlineExceeded):
        await runner.infer(model(slow()), vitals(), deadline=soon(0.1))
    async with asyncio.timeout(20):  # far less than the loop would take to its end
        while runner._room < 1:
            await asyncio.sleep(0.01)
    runner.close()


async def test_a_full_runner_refuses_and_a_caller_may_leave() -> None:
    runner = TensorRunner(threads=1, queue=1)
    busy = model(slow())
    first = asyncio.ensure_future(runner.infer(busy, vitals(), deadline=soon()))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as raised:
        await runner.infer(busy, vitals(), deadline=soon())
    assert raised.value.retry_after
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    async with asyncio.timeout(20):
        while runner._room < 1:
            await asyncio.sleep(0.01)
    runner.close()
    with pytest.raises(EngineUnavailable):
        await runner.infer(busy, vitals(), deadline=soon())


def test_graphs_that_are_not_as_declared_do_not_load() -> None:
    for made, ports in (
        (b"x", {}),
        (risk(), {"inputs": (RISK,)}),
        (risk(), {"outputs": (VITALS,)}),
    ):
        with pytest.raises(ManifestInvalid):
            model(made, **ports)


def test_a_run_that_fails_says_nothing_of_why() -> None:
    reshape = graph(
        [
            helper.make_node(
                "Constant", [], ["shape"],
                value=helper.make_tensor("s", TensorProto.INT64, [2], [2, 7]),
            ),
            helper.make_node("Reshape", ["vitals", "shape"], ["risk"]),
        ],
        [helper.make_tensor_value_info("vitals", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("risk", TensorProto.FLOAT, [2, 7])],
    )  # fmt: skip
    with pytest.raises(ModelOutputInvalid) as raised:
        model(reshape, outputs=(Port("risk", "FP32", (2, 7)),)).prove(vitals())
    assert raised.value.reason == "tensor-run-failed"


def test_the_session_goes_with_the_last_that_holds_the_model() -> None:
    held = model(risk())
    gone = weakref.ref(held)
    del held
    gc.collect()
    assert gone() is None


def test_open_dimensions_are_shown_as_minus_one() -> None:
    assert VITALS.sizes == [-1, 3]
