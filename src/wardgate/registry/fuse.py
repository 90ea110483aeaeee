"""Rewrites parts of a graph into operators that a CPU runs quicker, with the same result.

* ONNX's own attention takes a third of the time of com.microsoft's, which does more than encoders
  need; it takes what was projected with its bias added, and `quantize` makes that a product's part.
* GELU without a bias takes half the time of GELU with one.

Values keep their names. What is not of a form known here stays as it is. Needs `onnx`.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

MICROSOFT = "com.microsoft"
ATTENTION_OPSET = 23
"""ONNX has Attention since opset 23."""
LEAST_OPSET = 18
"""What encoders are made of means the same from here to `ATTENTION_OPSET`."""
GELU_OPSET = 20
_Q, _K, _V, _BIAS, _PADDING, _ADDED = range(6)
_HEADS, _SCALE = "num_heads", "scale"


def fused(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with quicker operators."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    weights = {each.name: each for each in graph.initializer}
    opset = next(each for each in made.opset_import if not each.domain)
    attentive = opset.version >= LEAST_OPSET and any(_plain(each, weights) for each in graph.node)
    if attentive:
        opset.version = max(opset.version, ATTENTION_OPSET)
        least = helper.find_min_ir_version_for(made.opset_import, ignore_unknown=True)
        made.ir_version = max(made.ir_version, least)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if _is(node, "BiasGelu"):
            summed = f"wardgate_{node.output[0]}_sum"
            domain = "" if opset.version >= GELU_OPSET else MICROSOFT
            nodes.append(helper.make_node("Add", node.input, [summed]))
            nodes.append(helper.make_node("Gelu", [summed], node.output, domain=domain))
        elif attentive and _plain(node, weights):
            nodes += _attention(node, weights, graph)
        else:
            nodes.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return made


def _is(node: onnx.NodeProto, kind: str) -> bool:
    return bool(node.domain == MICROSOFT and node.op_type == kind)


def _plain(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    """Tell whether it is com.microsoft's attention of an encoder: no past, a mask that is added."""
    if not _is(node, "MultiHeadAttention"):
        return False
    given = [*node.input, *[""] * 6]
    names = {each.name for each in node.attribute}
    return (
        all(given[at] for at in (_Q, _K, _V))
        and (not given[_BIAS] or given[_BIAS] in weights)
        and not given[_PADDING]
        and not any(given[6:])
        and len(node.output) == 1
        and names <= {_HEADS, _SCALE}
        and _HEADS in names
    )


def _attention(
    node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], graph: onnx.GraphProto
) -> list[onnx.NodeProto]:
    """Return the nodes that do what com.microsoft's MultiHeadAttention does."""
    given = [*node.input, *[""] * 6]
    parts = list(node.input[:_BIAS])
    nodes: list[onnx.NodeProto] = []
    if given[_BIAS]:
        bias = numpy_helper.to_array(weights[given[_BIAS]])
        for at, each in enumerate(np.split(bias, 3)):
            name = f"wardgate_{node.output[0]}_{'qkv'[at]}"
            graph.initializer.append(numpy_helper.from_array(each, f"{name}_bias"))
            nodes.append(helper.make_node("Add", [parts[at], f"{name}_bias"], [name]))
            parts[at] = name
    set_by = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    heads = set_by[_HEADS]
    scale = {_SCALE: set_by[_SCALE]} if set_by.get(_SCALE) else {}
    mask = [given[_ADDED]] if given[_ADDED] else []
    nodes.append(
        helper.make_node(
            "Attention",
            [*parts, *mask],
            node.output,
            q_num_heads=heads,
            kv_num_heads=heads,
            **scale,
        )
    )
    return nodes
