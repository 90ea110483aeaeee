"""Small ONNX classifiers as others export them: to be adapted, tried, rounded and registered."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

VOCABULARY = 505
"""Ids of `tiny_models.tokenizer_json`."""
WIDTH = 16


def classifier(
    *,
    labels: int = 2,
    tokens: bool = False,
    types: bool = False,
    mask: bool = True,
    element: int = TensorProto.INT64,
    out: str = "logits",
    out_element: int = TensorProto.FLOAT,
    batch: int | str = "n",
    vocabulary: int = VOCABULARY,
    opset: int = 18,
    seed: int = 0,
) -> onnx.ModelProto:
    """Embedding, a product, tanh, a mean under the mask (or `mask` False: over all), a head."""
    rng = np.random.default_rng(seed)
    weights = {
        "table": rng.normal(size=(vocabulary, WIDTH)),
        "kinds": rng.normal(size=(2, WIDTH)) * 5,
        "inner": rng.normal(size=(WIDTH, WIDTH)) / 4,
        "head": rng.normal(size=(WIDTH, labels)) * 3,
    }
    constants = {name: value.astype(np.float32) for name, value in weights.items()}
    constants |= {"last": np.array([-1], np.int64), "middle": np.array([1], np.int64)}
    node = helper.make_node
    nodes = [node("Gather", ["table", "input_ids"], ["words"])]
    if types:
        nodes += [
            node("Gather", ["kinds", "token_type_ids"], ["kind"]),
            node("Add", ["words", "kind"], ["x"]),
        ]
    else:
        nodes += [node("Identity", ["words"], ["x"])]
    nodes += [node("MatMul", ["x", "inner"], ["mixed"]), node("Tanh", ["mixed"], ["hidden"])]
    nodes += [node("Cast", ["attention_mask"], ["keep"], to=TensorProto.FLOAT)]
    if tokens:
        nodes += [node("MatMul", ["hidden", "head"], ["found"])]
    else:
        if not mask:
            nodes += [
                node("Mul", ["keep", "keep_nothing"], ["none"]),
                node("Add", ["none", "keep_all"], ["kept"]),
            ]
            constants |= {"keep_nothing": np.float32(0), "keep_all": np.float32(1)}
        else:
            nodes += [node("Identity", ["keep"], ["kept"])]
        nodes += [
            node("Unsqueeze", ["kept", "last"], ["column"]),
            node("Mul", ["hidden", "column"], ["masked"]),
            node("ReduceSum", ["masked", "middle"], ["total"], keepdims=0),
            node("ReduceSum", ["kept", "middle"], ["count"], keepdims=1),
            node("Div", ["total", "count"], ["pooled"]),
            node("MatMul", ["pooled", "head"], ["found"]),
        ]
    nodes += [node("Cast", ["found"], [out], to=out_element)]
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info(name, element, [batch, "l"]) for name in names],
        [
            helper.make_tensor_value_info(
                out, out_element, [batch, "l", labels] if tokens else [batch, labels]
            )
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def scorer() -> onnx.ModelProto:
    """A tensor model: `vitals` FP32 [n, 3] to `risk` FP32 [n, 1], their sum."""
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["vitals", "axis"], ["risk"], keepdims=1)],
        "scorer",
        [helper.make_tensor_value_info("vitals", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("risk", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def texts(count: int) -> list[str]:
    """Texts of the tiny tokenizer's words, all different."""
    return [
        " ".join(f"w{(at * 7 + word * 13) % 500}" for word in range(3 + at % 9))
        for at in range(count)
    ]
