"""Rounds the weights of a graph to int8, and activations by steps that no neighbour decides.

The usual dynamic rounding takes one scale over a whole batch, so that a text's answer moves with
its neighbours and padding. Here a step is either fixed, from ranges met on a sample (`ranges.py`),
which is the quicker by a third, or each token has its own, which follows every outlier. Weights are
rounded by output column to 7 bits: processors with AVX2 but no VNNI add two products in 16 bits,
and 2 x 255 x 64 is the most that fits. Products of tokens with stored weights and vocabularies are
rounded, all else stays.
It decides nothing about whether the result is good enough: `assemble.py` compares. Needs `onnx`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from wardgate.errors import ManifestInvalid
from wardgate.registry.fuse import MICROSOFT, fused

LIMIT = 64
"""Largest whole weight."""
MIDDLE = 128
"""Zero point of the activations, uint8."""
GELU_MIDDLE = 16
"""Zero point of what GELU gave: that is never below -0.17, so 239 steps are left above."""
GELU_LEAST = 0.17
LEAST = 1e-9
"""Least step, so that a row of zeros does not divide by zero."""
TABLE_ROWS = 4_096
"""An embedding with as many rows is a vocabulary's; smaller ones are not worth rounding."""
_GELUS = frozenset({"Gelu", "BiasGelu", "FastGelu"})
_OPSET = 13
"""QuantizeLinear takes a scale for each row since opset 13."""
_AXES_AS_INPUT = 18
"""ReduceMax takes its axes as an input since opset 18."""


def rounded_values(model: onnx.ModelProto, labels: int) -> tuple[str, ...]:
    """Return the names of the values that `quantize` rounds, whose `reaches` may be given."""
    work = _Rounding(model, _OPSET, labels, tables=False, reaches={})
    found = [node.input[0] for node in model.graph.node if work.weight_of(node) is not None]
    return tuple(dict.fromkeys(found))


def quantize(
    model: onnx.ModelProto,
    labels: int,
    *,
    tables: bool = True,
    reaches: Mapping[str, float] | None = None,
) -> onnx.ModelProto:
    """Return the graph with rounded weights; the head, whose columns are the labels, stays.

    `tables` rounds vocabularies too, word by word: most of a small model's bytes. `reaches` fixes
    the steps of the values it names, by the absolute value at which each ends; the rows of others
    have steps of their own.

    Raises ManifestInvalid where the graph's operators are too old, or it has nothing to round.
    """
    opset = max((each.version for each in model.opset_import if not each.domain), default=0)
    if opset < _OPSET:
        raise ManifestInvalid(f"--int8 needs a graph of opset {_OPSET} or newer; it has {opset}.")
    made = fused(model)
    opset = next(each.version for each in made.opset_import if not each.domain)
    work = _Rounding(made, opset, labels, tables=tables, reaches=reaches or {})
    if not work.run():
        raise ManifestInvalid("--int8 found no product with stored weights to round.")
    if all(each.domain != MICROSOFT for each in made.opset_import):
        made.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return made


class _Rounding:
    """One graph under change. Nodes of inner graphs stay as they are."""

    def __init__(
        self,
        model: onnx.ModelProto,
        opset: int,
        labels: int,
        *,
        tables: bool,
        reaches: Mapping[str, float],
    ) -> None:
        graph = model.graph
        self._graph, self._opset, self._labels = graph, opset, labels
        self._tables, self._reaches = tables, reaches
        self._uses = Counter(name for node in graph.node for name in node.input)
        self._uses.update(each.name for each in graph.output)
        self._uses.update(name for node in graph.node for name in _inner_names(node))
        self._takers = {name: node for node in graph.node for name in node.input}
        """By value: the last node that takes it."""
        self._joined: set[str] = set()
        """Outputs of additions that are part of a product by now."""
        self._weights = {each.name: each for each in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._pooled = _matrices(model)
        self._made: list[onnx.NodeProto] = []
        self._added: dict[str, onnx.TensorProto] = {}
        self._rows: dict[str, tuple[str, str, str]] = {}
        """By activation: names of its rows in uint8, their zero point, and their step."""
        self._fixed: set[str] = set()
        """Activations that are rounded by a fixed step by now."""

    def run(self) -> int:
        """Change the graph; return how many products were rounded."""
        rounded = 0
        for node in list(self._graph.node):
            if self._product(node):
                rounded += 1
            elif node.output[0] not in self._joined and not self._table(node):
                self._made.append(node)
        used = {name for node in self._made for name in node.input}
        used |= {name for node in self._made for name in _inner_names(node)}
        kept = [each for each in self._graph.initializer if each.name in used]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(self._made)
        self._graph.initializer.extend([*kept, *self._added.values()])
        return rounded

    def _product(self, node: onnx.NodeProto) -> bool:
        """Round a product with stored weights; tell whether it was one."""
        weight = self.weight_of(node)
        if weight is None:
            return False
        x, out = node.input[0], node.output[0]
        scale = np.maximum(np.abs(weight).max(axis=0) / LIMIT, 1e-12).astype(np.float32)
        whole = np.rint(weight / scale).astype(np.int8)
        if x in self._reaches:
            self._multiply_fixed(x, whole, scale, out)
        else:
            self._multiply(x, whole, scale, out)
        return True

    def weight_of(self, node: onnx.NodeProto) -> NDArray[np.float32] | None:
        """Return the weights [in, out] of a product that is to be rounded; None where it is none.

        What runs once for a text and not for each token, as a pooled head does, stays: it is a
        thousandth of the work, and nothing after it evens an error out.
        """
        if node.op_type != "MatMul" or node.domain or node.input[0] in self._pooled:
            return None
        weight = self._stored(node.input[1])
        return None if weight is None or weight.shape[1] == self._labels else weight

    def _multiply_fixed(
        self, x: str, whole: NDArray[np.int8], scale: NDArray[np.float32], out: str
    ) -> None:
        """Add the nodes of `out` = `x` [..., in] by `whole` * `scale`, with a fixed step of `x`.

        The bias that is added next is part of the product, where nothing else takes the latter.
        """
        prefix = f"wardgate_{out}"
        middle = self._middle_of(x)
        zero = self._constant(f"wardgate_middle_{middle}", np.array(middle, np.uint8))
        step = self._constant(f"wardgate_{x}_step", self._fixed_step(x, middle))
        if x not in self._fixed:
            self._fixed.add(x)
            self._node("QuantizeLinear", [x, step, zero], f"wardgate_{x}_fixed")
        given = [
            f"wardgate_{x}_fixed",
            self._constant(f"{prefix}_weight", whole),
            step,
            self._constant(f"{prefix}_scale", scale),
            zero,
        ]
        adding = self._bias_of(out, len(scale))
        if adding is not None:
            bias = next(name for name in adding.input if name != out)
            given += ["", bias]
            out = adding.output[0]
            self._joined.add(out)
        self._node("MatMulIntegerToFloat", given, out, domain=MICROSOFT)

    def _fixed_step(self, x: str, middle: int) -> np.float32:
        most = max(self._reaches[x], LEAST)
        step = most / (255 - middle)
        return np.float32(max(step, GELU_LEAST / (middle - 0.5)) if middle != MIDDLE else step)

    def _middle_of(self, x: str) -> int:
        return GELU_MIDDLE if self._is_gelu(x) else MIDDLE

    def _bias_of(self, out: str, columns: int) -> onnx.NodeProto | None:
        """Return the addition of a stored bias that alone takes `out`."""
        node: onnx.NodeProto | None = self._takers.get(out)
        if node is None or self._uses[out] != 1 or node.op_type != "Add" or node.domain:
            return None
        other = next((name for name in node.input if name != out), None)
        tensor = self._weights.get(other or "")
        if (
            tensor is None
            or tensor.data_type != TensorProto.FLOAT
            or list(tensor.dims) != [columns]
        ):
            return None
        return node

    def _multiply(
        self, x: str, whole: NDArray[np.int8], scale: NDArray[np.float32], out: str
    ) -> None:
        """Add the nodes of `out` = `x` [..., in] by `whole` * `scale`, with a step for each row."""
        prefix = f"wardgate_{out}"
        rows, zero, step = self._by_row(x)
        product = self._node(
            "MatMulIntegerToFloat",
            [
                rows,
                self._constant(f"{prefix}_weight", whole),
                self._constant("wardgate_unit", np.float32(1)),  # the step comes after, row by row
                self._constant(f"{prefix}_scale", scale),
                zero,
            ],
            f"{prefix}_whole",
            domain=MICROSOFT,
        )
        scaled = self._node("Mul", [product, step], f"{prefix}_scaled")
        columns = self._constant(f"{prefix}_columns", np.array([len(scale)], np.int64))
        lead = f"wardgate_{x}_lead"
        shape = self._node("Concat", [lead, columns], f"{prefix}_shape", axis=0)
        self._node("Reshape", [scaled, shape], out)

    def _by_row(self, x: str) -> tuple[str, str, str]:
        """Add, once for each activation, the nodes that round its rows."""
        found = self._rows.get(x)
        if found is not None:
            return found
        prefix = f"wardgate_{x}"
        last = self._constant("wardgate_last", np.array([-1], np.int64))
        first = self._constant("wardgate_first", np.array([0], np.int64))
        shape = self._node("Shape", [x], f"{prefix}_whole_shape")
        self._node("Slice", [shape, first, last], f"{prefix}_lead")
        width = self._node("Gather", [shape, last], f"{prefix}_width", axis=0)
        flat_shape = self._node("Concat", [last, width], f"{prefix}_flat_shape", axis=0)
        flat = self._node("Reshape", [x, flat_shape], f"{prefix}_flat")
        middle = self._middle_of(x)
        gelu = middle != MIDDLE
        size = flat if gelu else self._node("Abs", [flat], f"{prefix}_size")
        if self._opset < _AXES_AS_INPUT:
            largest = self._node("ReduceMax", [size], f"{prefix}_largest", axes=[1], keepdims=1)
        else:
            axis = self._constant("wardgate_axis", np.array([1], np.int64))
            largest = self._node("ReduceMax", [size, axis], f"{prefix}_largest", keepdims=1)
        floor = GELU_LEAST / (GELU_MIDDLE - 0.5) if gelu else LEAST
        share = self._constant(f"wardgate_share_{middle}", np.float32(1 / (255 - middle)))
        least = self._constant(f"wardgate_least_{middle}", np.float32(floor))
        share_of = self._node("Mul", [largest, share], f"{prefix}_share")
        step = self._node("Max", [share_of, least], f"{prefix}_step")
        steps = self._node("Reshape", [step, last], f"{prefix}_steps")
        zero = self._constant(f"wardgate_middle_{middle}", np.array(middle, np.uint8))
        count = self._node("Shape", [steps], f"{prefix}_count")
        zeros = self._node("Expand", [zero, count], f"{prefix}_zeros")
        rows = self._node("QuantizeLinear", [flat, steps, zeros], f"{prefix}_rows", axis=0)
        self._rows[x] = rows, zero, step
        return self._rows[x]

    def _is_gelu(self, x: str) -> bool:
        """Tell whether a value is that of GELU, written as one operator or with Erf."""
        node = self._makers.get(x)
        if node is None or node.op_type in _GELUS:
            return node is not None
        pending = [(node, 0)] if node.op_type == "Mul" else []
        while pending:
            at, depth = pending.pop()
            for maker in filter(None, map(self._makers.get, at.input)):
                if maker.op_type == "Erf":
                    return True
                if depth < 2 and maker.op_type in ("Mul", "Add"):  # noqa: PLR2004 -- 0.5 x (1 + erf)
                    pending.append((maker, depth + 1))
        return False

    def _table(self, node: onnx.NodeProto) -> bool:
        """Round a vocabulary's embedding word by word; tell whether it was one."""
        if not self._tables or node.op_type != "Gather" or node.domain:
            return False
        if any(each.name == "axis" and each.i for each in node.attribute):
            return False
        table = self._stored(node.input[0])
        if table is None or table.shape[0] < TABLE_ROWS:
            return False
        name, at = node.input[0], node.input[1]
        scale = np.maximum(np.abs(table).max(axis=1, keepdims=True) / 127, 1e-12)
        whole = np.rint(table / scale).astype(np.int8)
        prefix = f"wardgate_{node.output[0]}"
        stored = self._constant(f"wardgate_{name}_table", whole)
        sizes = self._constant(f"wardgate_{name}_sizes", scale.astype(np.float32))
        words = self._node("Gather", [stored, at], f"{prefix}_words")
        words = self._node("Cast", [words], f"{prefix}_cast", to=TensorProto.FLOAT)
        size = self._node("Gather", [sizes, at], f"{prefix}_word_sizes")
        self._made.append(helper.make_node("Mul", [words, size], [node.output[0]]))
        return True

    def _stored(self, name: str) -> NDArray[np.float32] | None:
        """Return a stored float32 matrix by name."""
        tensor = self._weights.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2:  # noqa: PLR2004 -- a matrix
            return None
        return numpy_helper.to_array(tensor)

    def _constant(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        if name not in self._added:
            self._added[name] = numpy_helper.from_array(
                np.ascontiguousarray(value).reshape(np.shape(value)), name
            )
        return name

    def _node(
        self, kind: str, inputs: list[str], out: str, *, domain: str = "", **more: Any
    ) -> str:
        self._made.append(helper.make_node(kind, inputs, [out], domain=domain, **more))
        return out


def _matrices(model: onnx.ModelProto) -> set[str]:
    """Return the values that are known to have two dimensions: one row for each text."""
    light = onnx.ModelProto()
    light.CopyFrom(model)
    try:
        graph = onnx.shape_inference.infer_shapes(light).graph
    except Exception:  # noqa: BLE001 -- what it cannot infer is rounded, and the sample judges it
        return set()
    return {
        value.name
        for value in [*graph.value_info, *graph.output]
        if len(value.type.tensor_type.shape.dim) == 2  # noqa: PLR2004 -- a matrix
    }


def _inner_names(node: onnx.NodeProto) -> set[str]:
    """Names that graphs inside a node use; a weight they share must stay."""
    found: set[str] = set()
    for attribute in node.attribute:
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            for inner in graph.node:
                found |= set(inner.input) | _inner_names(inner)
    return found
