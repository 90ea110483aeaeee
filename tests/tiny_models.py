"""Small real ONNX graphs and tokenizers, made on the spot, that show whose row a result is.

`fingerprint` gives for each row the sum of its ids and of id x position, under the mask, so that a
row's logits prove which ids they came from. Three ids make trouble on purpose: see their names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import onnx
import tokenizers
from onnx import TensorProto, helper, numpy_helper

from wardgate.types import ModelId

NAN_ID = 9001
"""A row that holds it comes out as NaN."""
LOST_ID = 9002
"""A row that holds it is missing from the output, which so has a wrong shape."""
SLOW_ID = 9003
"""A row that holds it takes its batch long: `SLOW_STEPS` steps of a loop in the graph."""
SLOW_STEPS = 25_000
TINY = ModelId("tiny", "1", "0" * 64)


@dataclass
class Tiny:
    """What an engine needs of a model."""

    graph: bytes
    id: ModelId = TINY
    labels: tuple[str, ...] = ("no", "yes")
    max_length: int = 64


def expected(rows) -> np.ndarray:
    """The fingerprints of rows, float32 [rows, 2], worked out in Python."""
    return np.array(
        [[sum(row), sum(at * value for at, value in enumerate(row, 1))] for row in rows],
        np.float32,
    )


def fingerprint() -> Tiny:
    """Rows to fingerprints; exact while sums stay under 2**24."""
    return Tiny(_graph(_fingerprint_nodes(), "logits", ["kept", 2]))


def always_nan() -> Tiny:
    """A graph whose every output is NaN."""
    nodes = [*_fingerprint_nodes("clean"), helper.make_node("Add", ["clean", "nan"], ["logits"])]
    return Tiny(_graph(nodes, "logits", ["kept", 2]))


def wrong_shape() -> Tiny:
    """A graph that gives three columns where there are two labels."""
    nodes = [
        *_fingerprint_nodes("clean"),
        helper.make_node("Concat", ["clean", "total"], ["logits"], axis=1),
    ]
    return Tiny(_graph(nodes, "logits", ["kept", "columns"]))


def wrong_output() -> Tiny:
    """A graph whose output has another name than the manifest's."""
    return Tiny(_graph(_fingerprint_nodes("scores"), "scores", ["kept", 2]))


def tokenizer_json(*, truncation: int | None = None) -> bytes:
    """A word tokenizer with [CLS] and [SEP] around a text; words w0 to w499, one id each."""
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4}
    words |= {f"w{number}": 5 + number for number in range(500)}
    native = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    native.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    native.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    if truncation is not None:
        native.enable_truncation(truncation)
        native.enable_padding(length=truncation)
    return native.to_str().encode()


def manifest(files: dict[str, bytes], **changes) -> dict:
    """A valid manifest for `files`, as a tree; `changes` replace fields at its top."""
    import hashlib

    return {
        "format": 1,
        "name": "tiny",
        "version": "1",
        "kind": "text",
        "task": "text-classification",
        "precision": "fp32",
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        },
        "inputs": [
            {"name": "input_ids", "dtype": "INT64", "shape": ["batch", "length"]},
            {"name": "attention_mask", "dtype": "INT64", "shape": ["batch", "length"]},
        ],
        "outputs": [{"name": "logits", "dtype": "FP32", "shape": ["batch", 2]}],
        "labels": ["no", "yes"],
        "max_length": 64,
        "windows": {"overlap": 8, "join": "mean"},
        "golden": [{"text": "a w1", "label": "yes", "score": 1.0, "tolerance": 0.01}],
        "added_by": "tests",
        "added_at": "2026-11-22T10:00:00Z",
    } | changes


def as_json(tree: object) -> bytes:
    return json.dumps(tree).encode()


def _fingerprint_nodes(output: str = "logits") -> list:
    node = helper.make_node
    body = helper.make_graph(
        [
            node("Identity", ["going"], ["going_out"]),
            node("Add", ["steps", "one"], ["steps_out"]),
        ],
        "step",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("steps", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("going_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("steps_out", TensorProto.FLOAT, []),
        ],
    )
    return [
        node("Mul", ["input_ids", "attention_mask"], ["ids"]),
        node("CumSum", ["attention_mask", "axis"], ["places"]),
        node("Mul", ["ids", "places"], ["placed"]),
        node("ReduceSum", ["ids", "axes"], ["sum"], keepdims=1),
        node("ReduceSum", ["placed", "axes"], ["placed_sum"], keepdims=1),
        node("Concat", ["sum", "placed_sum"], ["both"], axis=1),
        node("Cast", ["both"], ["plain"], to=TensorProto.FLOAT),
        # NAN_ID
        *_holds("nan_id", "has_nan"),
        node("Where", ["has_nan", "nan", "plain"], ["marked"]),
        # SLOW_ID
        *_holds("slow_id", "has_slow"),
        node("Cast", ["has_slow"], ["slow_rows"], to=TensorProto.INT64),
        node("ReduceMax", ["slow_rows", "both_axes"], ["slow"], keepdims=0),
        node("Mul", ["slow", "slow_steps"], ["turns"]),
        node("Loop", ["turns", "", "zero"], ["steps_taken"], body=body),
        node("Mul", ["steps_taken", "zero"], ["nothing"]),
        node("Add", ["marked", "nothing"], ["slowed"]),
        # LOST_ID
        *_holds("lost_id", "has_lost"),
        node("Not", ["has_lost"], ["kept_rows"]),
        node("Squeeze", ["kept_rows", "axes"], ["kept_flat"]),
        node("Compress", ["slowed", "kept_flat"], [output], axis=0),
        node("Cast", ["sum"], ["total"], to=TensorProto.FLOAT),
    ]


def _holds(number: str, name: str) -> list:
    """Nodes for bool [batch, 1]: whether a row holds the id."""
    node = helper.make_node
    return [
        node("Equal", ["ids", number], [f"{name}_where"]),
        node("Cast", [f"{name}_where"], [f"{name}_int"], to=TensorProto.INT64),
        node("ReduceMax", [f"{name}_int", "axes"], [f"{name}_max"], keepdims=1),
        node("Cast", [f"{name}_max"], [name], to=TensorProto.BOOL),
    ]


def _graph(nodes: list, output: str, shape: list) -> bytes:
    constants = {
        "axis": np.array(1, np.int64),
        "axes": np.array([1], np.int64),
        "both_axes": np.array([0, 1], np.int64),
        "nan_id": np.array(NAN_ID, np.int64),
        "lost_id": np.array(LOST_ID, np.int64),
        "slow_id": np.array(SLOW_ID, np.int64),
        "slow_steps": np.array(SLOW_STEPS, np.int64),
        "nan": np.array(np.nan, np.float32),
        "zero": np.array(0, np.float32),
        "one": np.array(1, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()
