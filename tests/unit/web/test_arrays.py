"""A caller's tensors as arrays: of the model's names, types and sizes, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wardgate.engine.runner import Port
from wardgate.errors import BodyInvalid
from wardgate.types import DTYPES
from wardgate.web.arrays import arrays, wanted
from wardgate.web.oip import Input, Wanted

INPUTS = (Port("x", "FP32", ("n", 2)), Port("flag", "BOOL", (1,)), Port("count", "UINT8", ("n",)))
OUTPUTS = (Port("y", "FP32", ("n",)), Port("z", "INT64", ("n",)))


def given(**changes: Any) -> list[Input]:
    found: dict[str, Any] = {
        "x": Input("x", "FP32", [2, 2], [[1, 2.5], [3, 4]]),
        "flag": Input("flag", "BOOL", [1], [True]),
        "count": Input("count", "UINT8", [2], b"\x00\xff"),
        **changes,
    }
    return [each for each in found.values() if each is not None]


def test_json_and_binary_make_arrays() -> None:
    found = arrays(INPUTS, given())
    assert found["x"].dtype == np.float32
    assert found["x"].tolist() == [[1, 2.5], [3, 4]]
    assert found["flag"].tolist() == [True]
    assert found["count"].tolist() == [0, 255]
    flat = arrays(INPUTS, given(x=Input("x", "FP32", [2, 2], [1, 2, 3, 4])))
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
        {"x": Input("x", "FP32", [2, 2], [[1], [2, 3, 4]])},
        {"x": Input("x", "FP32", [2, 2], [[1, 2, 3, 4]])},
        {"x": Input("x", "FP32", [2, 2], [[1, 2], 3, 4])},
        {"x": Input("x", "FP32", [2, 2], [1, [2, 3], 4])},
        {"x": Input("x", "FP32", [2, 2], [1, 2, 3, None])},
        {"x": Input("x", "FP32", [2, 2], [1, 2, 3, 1e39])},
        {"x": Input("x", "FP32", [2, 2], [1, 2, 3, 10**39])},
        {"x": Input("x", "FP32", [2, 2], [1, 2, 3, -(10**400)])},
        {"x": Input("x", "FP32", [2, 2], [1, 2, 3, float("nan")])},
        {"x": Input("x", "FP32", [2, 2], [1, 2, 3, float("inf")])},
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
        arrays(INPUTS, given(**changes))
    assert "256" not in raised.value.detail


def test_outputs_are_those_of_the_model() -> None:
    assert wanted(OUTPUTS, []) == list(OUTPUTS)
    assert wanted(OUTPUTS, [Wanted("z")]) == [OUTPUTS[1]]
    for wrong in ([Wanted("label")], [Wanted("y"), Wanted("y")]):
        with pytest.raises(BodyInvalid):
            wanted(OUTPUTS, wrong)


@pytest.mark.parametrize("shape", [[0, 1], [0, 1 << 31], [1 << 31, 0], [0, 0]])
def test_no_size_is_zero_since_then_no_data_bounds_the_others(shape: list[int]) -> None:
    for empty in ([], b""):
        with pytest.raises(BodyInvalid):
            arrays([Port("x", "FP32", ("n", "k"))], [Input("x", "FP32", shape, empty)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_takes_its_own_range_and_no_more(dtype: str) -> None:
    kind = DTYPES[dtype]
    port, number = Port("x", dtype, (1,)), np.dtype(kind).kind
    if number == "b":
        right, wrong = [True, False], [0, 1, 1.0, "true", None]
    elif number == "f":
        most = float(np.finfo(kind).max)
        right, wrong = [0, most, -most, 1.5], [True, 10**400, "1", None, [1]]
        wrong += [most * 2] if dtype != "FP64" else [float("inf")]
    else:
        bounds = np.iinfo(kind)
        right = [int(bounds.min), int(bounds.max)]
        wrong = [right[0] - 1, right[1] + 1, True, 1.0, "1", None, [1]]
    for value in right:
        found = arrays([port], [Input("x", dtype, [1], [value])])["x"]
        assert (found.dtype, found.tolist()) == (kind, [value])
        raw = np.array([value], kind).tobytes()
        assert arrays([port], [Input("x", dtype, [1], raw)])["x"].tolist() == [value]
    for value in wrong:
        with pytest.raises(BodyInvalid):
            arrays([port], [Input("x", dtype, [1], [value])])


def test_binary_data_may_hold_what_is_not_a_number() -> None:
    """A missing value, as many models of tables take it; whether it may be is the model's word."""
    raw = np.array([np.nan], "<f4").tobytes()
    assert np.isnan(arrays([Port("x", "FP32", (1,))], [Input("x", "FP32", [1], raw)])["x"]).all()
