"""Writing the trained network as an ONNX graph, in float32 or int8.

Decides the graph (built by hand, of operators that onnxruntime runs fused on a CPU) and how the
weights are rounded. The int8 forms differ in how activations are scaled:

* `rows`, the shipped one: each token is scaled by its own largest value, so a text's logits do
  not depend on the texts beside it in a batch, nor on padding. Padding is taken out before the
  first layer and put back for attention alone, which needs the square: products, the most of the
  work, run over tokens that are there;
* `tensor`: one scale over the whole batch (`DynamicQuantizeMatMul`), the common way, kept to
  measure against.

In both, the shipped weights have 7 bits: processors without VNNI add two products of a byte each
in 16 bits, and 2 x 255 x 64 is the most that fits. It refuses nothing: `evaluate` and the tests
judge the outcome.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from training.sentiment.model import Shape

Form = Literal["float32", "rows", "tensor"]
Weights = dict[str, NDArray[np.float32]]
MICROSOFT = "com.microsoft"


@dataclass(kw_only=True)
class Graph:
    """A graph under construction; names are given once and never reused."""

    form: Form
    limit: int = 64  # largest whole weight; 127 may saturate without VNNI
    unsigned: bool = False  # unsigned weights: never saturate, slower with VNNI; for `tensor`
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[onnx.TensorProto] = field(default_factory=list)
    rounded: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    zeros: dict[int, str] = field(default_factory=dict)

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Store `value` under `name` and return the name."""
        if all(tensor.name != name for tensor in self.tensors):
            self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(
        self,
        kind: str,
        inputs: list[str],
        *,
        domain: str = "",
        out: str | None = None,
        **more: float | str | list[int],
    ) -> str:
        """Add one operator of one output and return the output's name."""
        name = out or f"{kind.lower()}_{len(self.nodes)}"
        made = helper.make_node(kind, inputs, [name], name=name, domain=domain, **more)
        self.nodes.append(made)
        return name

    def linear(self, x: str, name: str, weight: NDArray[np.float32], *, gelu: bool = False) -> str:
        """`x` [..., in] by `weight` [out, in]: [..., out]; `gelu` says that GELU made `x`."""
        if self.form == "float32":
            return self.node("MatMul", [x, self.constant(f"{name}.w", weight.T)])
        scale = np.maximum(np.abs(weight).max(axis=1) / self.limit, 1e-12).astype(np.float32)
        rounded = np.rint(weight / scale[:, None]).astype(np.int8)
        if self.form == "tensor":
            zero: NDArray[np.generic] = np.zeros(scale.shape, np.int8)
            stored: NDArray[np.generic] = rounded
            if self.unsigned:
                zero = np.full(scale.shape, 128, np.uint8)
                stored = (rounded.astype(np.int16) + 128).astype(np.uint8)
            names = [self.constant(f"{name}.w", stored.T), self.constant(f"{name}.s", scale)]
            names.append(self.constant(f"{name}.z", zero))
            return self.node("DynamicQuantizeMatMul", [x, *names], domain=MICROSOFT)
        if x not in self.rounded:
            self.rounded[x] = self._round_rows(x, gelu=gelu)
        whole, step, middle = self.rounded[x]
        y = self.node(
            "MatMulIntegerToFloat",
            [
                whole,
                self.constant(f"{name}.w", rounded.T),
                self.constant("unit", np.float32(1)),  # the step, one for each token, comes after
                self.constant(f"{name}.s", scale),
                middle,
            ],
            domain=MICROSOFT,
        )
        return self.node("Mul", [y, step])

    def normalize(self, x: str, weight: str, bias: str) -> str:
        """`x` with each token normalised; the fused SkipLayerNormalization is slower on a CPU."""
        return self.node("LayerNormalization", [x, weight, bias], axis=-1, epsilon=EPSILON)

    def _round_rows(self, x: str, *, gelu: bool) -> tuple[str, str, str]:
        """Return the names of `x` [tokens, in] as uint8, of its step [tokens, 1] and zero point.

        GELU never goes below -0.17, so a zero point of 16 serves it and leaves 239 steps above.
        """
        middle = GELU_MIDDLE if gelu else 128
        size = x if gelu else self.node("Abs", [x])
        largest = self.node("ReduceMax", [size, self.constant("last", LAST)], keepdims=0)
        share = self.constant(f"share_{middle}", np.float32(1 / (255 - middle)))
        least = np.float32(GELU_LEAST / (GELU_MIDDLE - 0.5) if gelu else 1e-9)
        step = self.node("Mul", [largest, share])
        step = self.node("Max", [step, self.constant(f"least_{middle}", least)])
        zero = self.constant(f"middle_{middle}", np.array(middle, np.uint8))
        if middle not in self.zeros:  # as many in every layer
            self.zeros[middle] = self.node("Expand", [zero, self.node("Shape", [step])])
        rows = self.node("QuantizeLinear", [x, step, self.zeros[middle]], axis=0)
        return rows, self.node("Unsqueeze", [step, self.constant("last", LAST)]), zero


@dataclass(frozen=True, kw_only=True)
class Packing:
    """Tokens [tokens, width] without the padding of [batch, length, width], and back."""

    graph: Graph
    real: str
    """Where the tokens stand in the flat batch, int64 [tokens]."""
    place: str
    """Which token stands at each place of the flat batch, int64; padding repeats one."""
    square: str
    """[batch, length, width]."""
    flat: str
    """[-1, width]."""

    def pack(self, x: str) -> str:
        """[batch, length, width] to [tokens, width]."""
        return self.graph.node("Gather", [self.graph.node("Reshape", [x, self.flat]), self.real])

    def unpack(self, x: str) -> str:
        """[tokens, width] to [batch, length, width]."""
        return self.graph.node("Reshape", [self.graph.node("Gather", [x, self.place]), self.square])


def packing(g: Graph, width: int) -> Packing:
    """Return the packing of a batch by its `attention_mask`."""
    mask = g.node("Reshape", ["attention_mask", g.constant("last", LAST)])
    real = g.node("Reshape", [g.node("NonZero", [mask]), g.constant("last", LAST)])
    behind = g.node("CumSum", [mask, g.constant("first_axis", np.array(0, np.int64))])
    place = g.node("Sub", [behind, g.constant("one_whole", ONE)])
    place = g.node("Max", [place, g.constant("from", np.array([0], np.int64))])
    wide = g.constant("width", np.array([width], np.int64))
    square = g.node("Concat", [g.node("Shape", ["input_ids"]), wide], axis=0)
    flat = g.constant("rows_of", np.array([-1, width], np.int64))
    return Packing(graph=g, real=real, place=place, square=square, flat=flat)


EPSILON = 1e-12
GELU_MIDDLE = 16
GELU_LEAST = 0.17
LAST = np.array([-1], np.int64)


def build(weights: Weights, shape: Shape, graph: Graph) -> onnx.ModelProto:
    """Return the model: `input_ids`, `attention_mask` to `logits` [batch, 2]."""
    g = graph

    def own(name: str) -> str:
        return g.constant(name, weights[name])

    if g.form == "float32":
        x = g.node("Gather", [own("words.weight"), "input_ids"])
    else:
        # the embedding is rounded word by word: rare words do not share the common ones' scale
        table = weights["words.weight"]
        scale = np.maximum(np.abs(table).max(axis=1, keepdims=True) / 127, 1e-12)
        rounded = np.rint(table / scale).astype(np.int8)
        x = g.node("Gather", [g.constant("words.q", rounded), "input_ids"])
        x = g.node("Cast", [x], to=TensorProto.FLOAT)
        size = g.node("Gather", [g.constant("words.s", scale.astype(np.float32)), "input_ids"])
        x = g.node("Mul", [x, size])
    length = g.node("Shape", ["input_ids"], start=1, end=2)
    zero = g.constant("from", np.array([0], np.int64))
    places = g.node("Slice", [own("places.weight"), zero, length, zero])
    x = g.node("Add", [x, places])
    packed = packing(g, weights["words.weight"].shape[1]) if g.form == "rows" else None
    x = packed.pack(x) if packed else x
    x = g.normalize(x, own("norm.weight"), own("norm.bias"))
    keep = g.node("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    gone = g.node("Sub", [g.constant("one", np.float32(1)), keep])
    bias = g.node("Mul", [gone, g.constant("far", np.float32(-1e4))])
    bias = g.node("Unsqueeze", [bias, g.constant("axes", np.array([1, 2], np.int64))])
    # the operator wants [batch or 1, heads or 1, length, length]
    square = g.node(
        "Concat",
        [g.constant("ones", np.array([1, 1], np.int64)), length, g.constant("tail", ONE)],
        axis=0,
    )
    bias = g.node("Expand", [bias, square])
    for number in range(shape.layers):
        at = f"layers.{number}"
        parts = [
            g.linear(x, f"{at}.{name}", weight)
            for name, weight in zip("qkv", np.split(weights[f"{at}.qkv.weight"], 3), strict=True)
        ]
        mixed = g.node(
            "MultiHeadAttention",
            [
                *(packed.unpack(part) if packed else part for part in parts),
                own(f"{at}.qkv.bias"),
                "",
                bias,
            ],
            domain=MICROSOFT,
            num_heads=shape.heads,
        )
        mixed = packed.pack(mixed) if packed else mixed
        mixed = g.linear(mixed, f"{at}.out", weights[f"{at}.out.weight"])
        mixed = g.node("Add", [mixed, own(f"{at}.out.bias")])
        x = g.normalize(
            g.node("Add", [x, mixed]), own(f"{at}.norm1.weight"), own(f"{at}.norm1.bias")
        )
        inner = g.linear(x, f"{at}.up", weights[f"{at}.up.weight"])
        inner = g.node("BiasGelu", [inner, own(f"{at}.up.bias")], domain=MICROSOFT)
        inner = g.linear(inner, f"{at}.down", weights[f"{at}.down.weight"], gelu=True)
        inner = g.node("Add", [inner, own(f"{at}.down.bias")])
        x = g.normalize(
            g.node("Add", [x, inner]), own(f"{at}.norm2.weight"), own(f"{at}.norm2.bias")
        )
    x = packed.unpack(x) if packed else x
    column = g.node("Unsqueeze", [keep, g.constant("behind", LAST)])
    middle = g.constant("middle_axis", ONE)
    total = g.node("ReduceSum", [g.node("Mul", [x, column]), middle], keepdims=0)
    pooled = g.node("Div", [total, g.node("ReduceSum", [keep, middle], keepdims=1)])
    # the head stays in float32: it is 0.1 % of the work
    dense = g.constant("dense.w", weights["dense.weight"].T)
    hidden = g.node("Tanh", [g.node("Add", [g.node("MatMul", [pooled, dense]), own("dense.bias")])])
    head = g.constant("head.w", weights["head.weight"].T)
    g.node("Add", [g.node("MatMul", [hidden, head]), own("head.bias")], out="logits")
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])]
    made = helper.make_model(
        helper.make_graph(g.nodes, "sentiment", inputs, outputs, g.tensors),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)],
        producer_name="wardgate training/sentiment",
    )
    made.ir_version = 9
    return made


ONE = np.array([1], np.int64)


def write(model: onnx.ModelProto, path: Path) -> None:
    """Write `model` so that `path` is at every moment a whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(model.SerializeToString(deterministic=True))
    os.replace(part, path)  # noqa: PTH105  # Path.replace is the same call
