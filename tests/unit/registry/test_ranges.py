from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from wardgate.registry.ranges import reaches


def test_a_reach_cuts_off_what_is_met_once_and_keeps_what_is_common():
    x = helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["b", "n"])
    mask = helper.make_tensor_value_info("attention_mask", onnx.TensorProto.INT64, ["b", "n"])
    table = np.concatenate([np.random.default_rng(5).normal(size=63), [90.0]]).astype("f")
    made = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Gather", ["table", "input_ids"], ["even"]),
                helper.make_node("Gather", ["flat", "input_ids"], ["uniform"]),
            ],
            "g",
            [x, mask],
            [],
            [
                onnx.numpy_helper.from_array(table, "table"),
                onnx.numpy_helper.from_array(np.linspace(-2, 2, 64).astype("f"), "flat"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    rows = [list(range(64)) for _ in range(2)]
    found = reaches(made, ["even", "uniform"], rows)
    assert found["uniform"] == pytest.approx(2.0, rel=0.05)
    assert found["even"] == pytest.approx(90.0)  # one in 64 weighs more than fine steps
    common = [[*range(63)] * 2000, [63]]
    assert reaches(made, ["even"], common)["even"] < 90.0
