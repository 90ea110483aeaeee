"""A caller's tensors as arrays: of the model's names, types and sizes, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wardgate.engine.runner import Port, TensorModel
from wardgate.errors import BodyInvalid
from wardgate.types import ModelId
from wardgate.web.oip import Input, Wanted
from wardgate.web.tensors import arrays, wanted

MODEL = TensorModel(
    ModelId("m", "1", "0" * 64),
    b"",
    (Port("x", "FP32", ("n", 2)), Port("flag", "BOOL", (1,)), Port("count", "UINT8", ("n",))),
    (Port("y", "FP32", ("n",)), Port("z", "INT64", ("n",))),
)


def given(**changes: Any) -> list[Input]:
    found: dict[str, Any] = {
        "x": Input("x", "FP32", [2, 2], [[1, 2.5], [3, 4]]),
        "flag": Input("flag", "BOOL", [1], [True]),
        "count": Input("count", "UINT8", [2], b"\x00\xff"),
        **changes,
    }
    return [each for each in found.values() if each is not None]


def test_json_and_binary_make_arrays() -> None:
    found = arrays(MODEL, given())
    assert found["x"].dtype == np.float32
    assert found["x"].tolist() == [[1, 2.5], [3, 4]]
    assert found["flag"].tolist() == [True]
    assert found["count"].tolist() == [0, 255]
    flat = arrays(MODEL, given(x=Input("x", "FP32", [2, 2], [1, 2, 3, 4])))
    assert flat["x"].shape == (2, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"x": None},
        {"more": Input("more", "FP32", [1], [1.0])},
        {"again": Input("x", "FP32", [2, 2], [1, 2, 3, 4])},
        {"x": Input("x", "FP64", [2, 2], [1, 2, 3, 4])},
        {"x": Input("x", "FP32", [4], [1, 2, 3, 4])},
        {"x": Input("x", "FP32", [2, 3], [1] * 6)},
        {"x": Input("x", "FP32", [-2, 2], [])},
        {"x": Input("x", "FP32", [10**30, 2], [])},
        {"x": Input("x", "FP32", [0, 2], [])},
        {"x": Input("x", "FP32", [0, 2], b"")},
        {"x": Input("x", "FP32", [2, 2], [1, 2, 3])},
        {"x": Input("x", "FP32", [2, 2], [1, 2, 3, "4"])},
        {"x": Input("x", "FP32", [2, 2], [1, 2, 3, True])},
        {"x": Input("x", "FP32", [2, 2], [[[1], [2]], [[3], [4]]])},
        {"x": Input("x", "FP32", [2, 2], b"\0" * 15)},
        {"x": Input("x", "FP32", [2, 2], [1, 2, 3, 4], {"shared_memory_region": "a"})},
        {"flag": Input("flag", "BOOL", [1], [1])},
        {"flag": Input("flag", "BOOL", [1], b"\x02")},
        {"count": Input("count", "UINT8", [2], [1, 256])},
        {"count": Input("count", "UINT8", [2], [1, -1])},
        {"count": Input("count", "UINT8", [2], [1, 1.0])},
        {"count": Input("count", "UINT8", [2], [1, 10**30])},
    ],
)
def test_anything_else_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BodyInvalid) as raised:
        arrays(MODEL, given(**changes))
    assert "256" not in raised.value.detail


def test_outputs_are_those_of_the_model() -> None:
    assert wanted(MODEL, []) == ["y", "z"]
    assert wanted(MODEL, [Wanted("z")]) == ["z"]
    for wrong in ([Wanted("label")], [Wanted("y"), Wanted("y")]):
        with pytest.raises(BodyInvalid):
            wanted(MODEL, wrong)


@pytest.mark.parametrize("shape", [[0, 1], [0, 1 << 31], [1 << 31, 0], [0, 0]])
def test_no_size_is_zero_since_then_no_data_bounds_the_others(shape: list[int]) -> None:
    columns = TensorModel(MODEL.id, b"", (Port("x", "FP32", ("n", "k")),), MODEL.outputs)
    for empty in ([], b""):
        with pytest.raises(BodyInvalid):
            arrays(columns, [Input("x", "FP32", shape, empty)])
