"""Writing the trained network as an ONNX graph, in float32 or int8.

Decides the graphs (built by hand, of operators that onnxruntime runs fused on a CPU) and how
weights and activations are rounded:

* `float32` is the plain graph;
* `static`, the shipped one, rounds what goes into each product by one step, fixed here from the
  ranges that `calibrate` met, so a text's logits depend neither on the texts beside it in a batch
  nor on padding. Padding is taken out before the first layer and put back for attention alone,
  which needs the square: products, the most of the work, run over tokens that are there.

Weights have 7 bits: processors without VNNI add two products of a byte each in 16 bits, and
2 x 255 x 64 is the most that fits. It refuses nothing: `evaluate` and the tests judge the outcome.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from training.sentiment.shape import Shape

Weights = dict[str, NDArray[np.float32]]
Ranges = dict[str, float]
"""By product (`layers.0.up`): the largest absolute value met in what it takes."""
MICROSOFT = "com.microsoft"
EPSILON = 1e-12
LIMIT = 64
"""Largest whole weight; 127 may saturate without VNNI."""
MOST, GELU_MOST = 12.0, 7.0
"""Where a range ends at the latest, the second for what GELU made: the few channels that reach
further (to 30) are cut off there, which costs less than coarser steps for all."""
GELU_LEAST = 0.17
"""GELU never goes below minus this."""


@dataclass
class Graph:
    """A graph under construction; names are given once and never reused."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[onnx.TensorProto] = field(default_factory=list)
    taken: dict[str, str] = field(default_factory=dict)
    """By product: the name of its input."""

    def constant(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        """Store `value` under `name` and return the name."""
        if all(tensor.name != name for tensor in self.tensors):
            stored = np.asarray(value)
            # np.ascontiguousarray alone would make a number an array of one
            self.tensors.append(numpy_helper.from_array(np.array(stored, order="C"), name))
        return name

    def whole(self, *values: int) -> str:
        """Store a list of whole numbers and return its name."""
        return self.constant("whole_" + "_".join(map(str, values)), np.array(values, np.int64))

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

    def linear(self, x: str, name: str, weight: NDArray[np.float32]) -> str:
        """`x` [..., in] by `weight` [out, in]: [..., out], in float32."""
        self.taken[name] = x
        return self.node("MatMul", [x, self.constant(f"{name}.w", weight.T)])

    def normalize(self, x: str, weights: Weights, name: str) -> str:
        """`x` with each token normalised; the fused SkipLayerNormalization is slower on a CPU."""
        own = [self.constant(f"{name}.{end}", weights[f"{name}.{end}"]) for end in BOTH]
        return self.node("LayerNormalization", [x, *own], axis=-1, epsilon=EPSILON)

    def far(self) -> tuple[str, str]:
        """Return `attention_mask` as float32 and what attention adds for it [batch, 1, L, L].

        [batch, 1, 1, L] would do, but is slower to add.
        """
        keep = self.node("Cast", ["attention_mask"], to=TensorProto.FLOAT)
        gone = self.node("Sub", [self.constant("one", np.float32(1)), keep])
        bias = self.node("Mul", [gone, self.constant("far", np.float32(-1e4))])
        bias = self.node("Unsqueeze", [bias, self.whole(1, 2)])
        square = self.node("Concat", [self.whole(1, 1), self.length(), self.whole(1)], axis=0)
        return keep, self.node("Expand", [bias, square])

    def length(self) -> str:
        """Return the length of the batch, int64 [1]."""
        return self.node("Shape", ["input_ids"], start=1, end=2)

    def finish(self, x: str, keep: str, weights: Weights) -> onnx.ModelProto:
        """Add pooling and head, in float32 as they are 0.1 % of the work; return the model."""
        middle = self.whole(1)
        column = self.node("Unsqueeze", [keep, self.whole(-1)])
        total = self.node("ReduceSum", [self.node("Mul", [x, column]), middle], keepdims=0)
        x = self.node("Div", [total, self.node("ReduceSum", [keep, middle], keepdims=1)])
        for name, out in (("dense", None), ("head", "logits")):
            weight = self.constant(f"{name}.w", weights[f"{name}.weight"].T)
            bias = self.constant(f"{name}.bias", weights[f"{name}.bias"])
            x = self.node("Add", [self.node("MatMul", [x, weight]), bias], out=out)
            x = x if out else self.node("Tanh", [x])
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
            for name in ("input_ids", "attention_mask")
        ]
        outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])]
        made = helper.make_model(
            helper.make_graph(self.nodes, "sentiment", inputs, outputs, self.tensors),
            opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)],
            producer_name="wardgate training/sentiment",
        )
        made.ir_version = 9
        return made


BOTH = ("weight", "bias")


def float32(weights: Weights, shape: Shape, g: Graph | None = None) -> onnx.ModelProto:
    """Return the plain model: `input_ids`, `attention_mask` to `logits` [batch, 2]."""
    g = g or Graph()

    def own(name: str) -> str:
        return g.constant(name, weights[name])

    x = g.node("Gather", [own("words.weight"), "input_ids"])
    start = g.whole(0)
    places = g.node("Slice", [own("places.weight"), start, g.length(), start])
    x = g.normalize(g.node("Add", [x, places]), weights, "norm")
    keep, bias = g.far()
    for at in (f"layers.{number}" for number in range(shape.layers)):
        parts = [
            g.linear(x, f"{at}.{name}", weight)
            for name, weight in zip("qkv", np.split(weights[f"{at}.qkv.weight"], 3), strict=True)
        ]
        g.taken[f"{at}.qkv"] = x
        mixed = g.node(
            "MultiHeadAttention",
            [*parts, own(f"{at}.qkv.bias"), "", bias],
            domain=MICROSOFT,
            num_heads=shape.heads,
        )
        mixed = g.linear(mixed, f"{at}.out", weights[f"{at}.out.weight"])
        mixed = g.node("Add", [mixed, own(f"{at}.out.bias")])
        x = g.normalize(g.node("Add", [x, mixed]), weights, f"{at}.norm1")
        inner = g.linear(x, f"{at}.up", weights[f"{at}.up.weight"])
        inner = g.node("BiasGelu", [inner, own(f"{at}.up.bias")], domain=MICROSOFT)
        inner = g.linear(inner, f"{at}.down", weights[f"{at}.down.weight"])
        inner = g.node("Add", [inner, own(f"{at}.down.bias")])
        x = g.normalize(g.node("Add", [x, inner]), weights, f"{at}.norm2")
    return g.finish(x, keep, weights)


@dataclass(frozen=True, kw_only=True)
class Packing:
    """Where things stand in a batch whose padding is taken out; all int64."""

    real: str
    """Where the tokens stand in the flat batch: [tokens]."""
    place: str
    """Which token stands at each place of the batch, [batch, length]; padding repeats one."""
    parts: tuple[str, str, str]
    """Which heads' rows of [tokens x 3 x heads] make q, k and v: [batch, heads, length] each."""
    back: str
    """Which rows of [batch x heads x length] make the tokens: [tokens, heads]."""


def packing(g: Graph, heads: int) -> Packing:
    """Return the packing of a batch by its `attention_mask`.

    One Gather of rows both unpacks the tokens and sets their heads apart, which is quicker than
    to unpack, reshape and transpose.
    """
    length = g.length()
    mask = g.node("Reshape", ["attention_mask", g.whole(-1)])
    real = g.node("Reshape", [g.node("NonZero", [mask]), g.whole(-1)])
    behind = g.node("CumSum", [mask, g.constant("first_axis", np.array(0, np.int64))])
    place = g.node("Max", [g.node("Sub", [behind, g.whole(1)]), g.whole(0)])
    place = g.node("Reshape", [place, g.node("Shape", ["input_ids"])])
    first = g.node("Mul", [g.node("Unsqueeze", [place, g.whole(1)]), g.whole(3 * heads)])
    every = np.arange(3 * heads).reshape(3, 1, heads, 1)
    q, k, v = (
        g.node("Add", [first, g.constant(f"heads_{name}", part)])
        for name, part in zip("qkv", every, strict=True)
    )
    # a token at r = text x length + place has the rows (text x heads + head) x length + place
    before = g.node("Mul", [g.node("Div", [real, length]), length])
    before = g.node("Mul", [before, g.whole(heads - 1)])
    back = g.node("Unsqueeze", [g.node("Add", [real, before]), g.whole(1)])
    back = g.node("Add", [back, g.node("Mul", [g.whole(*range(heads)), length])])
    return Packing(real=real, place=place, parts=(q, k, v), back=back)


def rounding(name: str, met: float) -> tuple[np.float32, int]:
    """Return step and zero point of what the product `name` takes, as uint8."""
    if name.endswith(".down"):  # out of GELU: few steps are needed below zero
        most = min(met, GELU_MOST)
        middle = math.ceil(GELU_LEAST * 255 / (most + GELU_LEAST))
        return np.float32(most / (255 - middle)), middle
    return np.float32(min(met, MOST) / 127), 128


def static(weights: Weights, shape: Shape, ranges: Ranges) -> onnx.ModelProto:
    """Return the int8 model, as `float32` but with GELU by its tanh form."""
    g = Graph()

    def steps(name: str) -> list[str]:
        step, middle = rounding(name, ranges[name])
        zero = g.constant(f"middle_{middle}", np.array(middle, np.uint8))
        return [g.constant(f"{name}.step", step), zero]

    def quantize(x: str, name: str) -> str:
        return g.node("QuantizeLinear", [x, *steps(name)])

    def product(x: str, name: str) -> str:
        weight = weights[f"{name}.weight"]
        scale = np.maximum(np.abs(weight).max(axis=1) / LIMIT, 1e-12).astype(np.float32)
        whole = g.constant(f"{name}.w", np.rint(weight / scale[:, None]).astype(np.int8).T)
        step, zero = steps(name)
        bias = g.constant(f"{name}.bias", weights[f"{name}.bias"])
        given = [x, whole, step, g.constant(f"{name}.s", scale), zero, "", bias]
        return g.node("MatMulIntegerToFloat", given, domain=MICROSOFT)

    # the embedding is rounded word by word: rare words do not share the common ones' scale
    table = weights["words.weight"]
    scale = np.maximum(np.abs(table).max(axis=1, keepdims=True) / 127, 1e-12).astype(np.float32)
    packed = packing(g, shape.heads)
    ids = g.node("Gather", [g.node("Reshape", ["input_ids", g.whole(-1)]), packed.real])
    x = g.node("Gather", [g.constant("words.q", np.rint(table / scale).astype(np.int8)), ids])
    x = g.node("Cast", [x], to=TensorProto.FLOAT)
    x = g.node("Mul", [x, g.node("Gather", [g.constant("words.s", scale), ids])])
    places = g.constant("places.weight", weights["places.weight"])
    places = g.node("Gather", [places, g.node("Mod", [packed.real, g.length()])])
    x = g.normalize(g.node("Add", [x, places]), weights, "norm")
    keep, bias = g.far()
    width = shape.width // shape.heads
    rows, wide = g.whole(-1, width), g.whole(-1, shape.width)
    for at in (f"layers.{number}" for number in range(shape.layers)):
        parts = g.node("Reshape", [product(quantize(x, f"{at}.qkv"), f"{at}.qkv"), rows])
        q, k, v = (g.node("Gather", [parts, part]) for part in packed.parts)
        scores = g.node("FusedMatMul", [q, k], domain=MICROSOFT, transB=1, alpha=width**-0.5)
        shares = g.node("Softmax", [g.node("Add", [scores, bias])], axis=-1)
        mixed = quantize(g.node("MatMul", [shares, v]), f"{at}.out")  # bytes are moved quicker
        mixed = g.node("Gather", [g.node("Reshape", [mixed, rows]), packed.back])
        mixed = product(g.node("Reshape", [mixed, wide]), f"{at}.out")
        x = g.normalize(g.node("Add", [x, mixed]), weights, f"{at}.norm1")
        inner = product(quantize(x, f"{at}.up"), f"{at}.up")
        inner = g.node("FastGelu", [inner], domain=MICROSOFT)
        inner = product(quantize(inner, f"{at}.down"), f"{at}.down")
        x = g.normalize(g.node("Add", [x, inner]), weights, f"{at}.norm2")
    return g.finish(g.node("Gather", [x, packed.place]), keep, weights)


def write(model: onnx.ModelProto, path: Path) -> None:
    """Write `model` so that `path` is at every moment a whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(model.SerializeToString(deterministic=True))
    os.replace(part, path)  # noqa: PTH105  # Path.replace is the same call
