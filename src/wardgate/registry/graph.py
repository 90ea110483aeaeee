"""Takes an ONNX graph into the one form that text models have, or says why it cannot.

The form: inputs `input_ids` and `attention_mask` INT64 [batch, length], one output `logits` FP32.
Types are cast, `token_type_ids` are set to zero, the output is renamed; more than that is refused.
A graph is read as protobuf alone: no file beside it is opened, so one whose weights lie outside is
refused, as is an operator that needs a library of its own. Needs `onnx` (extra `export`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper

from wardgate.errors import ManifestInvalid
from wardgate.registry.manifest import GRAPH_BYTES, Tensor
from wardgate.types import DTYPES

IDS, MASK, TYPES, LOGITS = "input_ids", "attention_mask", "token_type_ids", "logits"
STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operator domains that ONNX Runtime brings itself."""
_ELEMENTS: dict[int, str] = {
    helper.np_dtype_to_tensor_dtype(np.dtype(kind)): name for name, kind in DTYPES.items()
}
_WHOLE = frozenset({"INT32", "INT64"})
_FLOATS = frozenset({"FP16", "FP32", "FP64"})
_INTEGER_PRODUCTS = frozenset(
    {
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "QLinearMatMul",
        "MatMulNBits",
    }
)
BATCH_SCALED = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul"})
"""Operators that scale a whole batch at once, so that rows see each other slightly."""


def read(raw: bytes) -> onnx.ModelProto:
    """Parse a graph and drop what it says besides computing: names of files, stacks, notes.

    Raises ManifestInvalid where it is no ONNX graph, has weights outside, or operators of others.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
    except Exception:  # noqa: BLE001 -- protobuf's errors have no common public class
        raise ManifestInvalid("The graph is not an ONNX file.") from None
    if not model.graph.node:
        raise ManifestInvalid("The graph is not an ONNX file, or it is empty.")
    del model.training_info[:], model.metadata_props[:]
    own = {(each.domain, each.name) for each in model.functions}
    for holder in _holders(model):
        for tensor in _tensors(holder):
            if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
                raise ManifestInvalid(
                    "The graph keeps weights in files outside itself: save it as one file first."
                )
        for node in holder.node:
            if node.domain not in STANDARD and (node.domain, node.op_type) not in own:
                raise ManifestInvalid(
                    f"The graph uses the operator {ascii(node.op_type)[:64]} of "
                    f"{ascii(node.domain)[:64]}, which needs a library of its own."
                )
            if node.op_type == "EPContext":
                raise ManifestInvalid("The graph holds a part compiled for one device: export it.")
            node.ClearField("doc_string")
            del node.metadata_props[:]
        holder.ClearField("doc_string")
        del holder.metadata_props[:]
    return model


def write(model: onnx.ModelProto) -> bytes:
    """Return the bytes of a graph. Raises ManifestInvalid above 2 GiB."""
    if model.ByteSize() > GRAPH_BYTES:
        raise ManifestInvalid("The graph is larger than 2 GiB, which ONNX cannot hold in one file.")
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def adapt(model: onnx.ModelProto, labels: int, *, tokens: bool) -> onnx.ModelProto:
    """Return the graph with the inputs and the output of a text model of `labels` labels.

    `tokens` says that it gives a row of logits for each token. Raises ManifestInvalid, naming the
    input or output that does not fit.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    front: list[onnx.NodeProto] = []
    given = {each.name: each for each in _inputs(graph)}
    for name in (IDS, MASK):
        if name not in given:
            raise ManifestInvalid(
                f"The graph has no input {name}; a text model needs {IDS} and {MASK}."
            )
    for name, value in given.items():
        if name not in (IDS, MASK, TYPES):
            raise ManifestInvalid(f"The graph has an input {ascii(name)[:64]} that nothing fills.")
        front += _input(graph, name, value)
    back = _output(graph, labels)
    nodes = [*front, *graph.node, *back]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in (IDS, MASK)
    )
    shape: list[str | int | None] = ["batch", "length", labels] if tokens else ["batch", labels]
    graph.output.append(helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, shape))
    del graph.value_info[:]  # what it says of shapes may be of other dimensions' names
    return made


def signature(model: onnx.ModelProto) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the inputs and outputs of a tensor model.

    Raises ManifestInvalid for strings, sequences, and tensors whose shape the graph does not say.
    """
    return (
        tuple(_declared(each, "input") for each in _inputs(model.graph)),
        tuple(_declared(each, "output") for each in model.graph.output),
    )


def rank(model: onnx.ModelProto) -> int | None:
    """Return how many dimensions the output has that is taken as logits; None: it does not say."""
    kind = _chosen(model.graph).type.tensor_type
    return len(kind.shape.dim) if kind.HasField("shape") else None


def precision(model: onnx.ModelProto) -> str:
    """Return what the weights are held in: int8 where products are, else what most bytes are."""
    if any(node.op_type in _INTEGER_PRODUCTS for node in model.graph.node):
        return "int8"
    names = {TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
    sizes = {"fp32": 0}
    for tensor in model.graph.initializer:
        name = names.get(tensor.data_type, "fp32")
        sizes[name] = sizes.get(name, 0) + tensor.ByteSize()
    return max(sizes, key=lambda name: sizes[name])


def batch_scaled(model: onnx.ModelProto) -> bool:
    """Tell whether activations are rounded by a scale of the whole batch."""
    return any(node.op_type in BATCH_SCALED for node in model.graph.node)


def _inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that a caller fills; old graphs list their weights there too."""
    weights = {each.name for each in graph.initializer}
    return [each for each in graph.input if each.name not in weights]


def _input(graph: onnx.GraphProto, name: str, value: onnx.ValueInfoProto) -> list[onnx.NodeProto]:
    """Return the nodes that make an input of the graph from those of the form."""
    kind = _ELEMENTS.get(value.type.tensor_type.elem_type)
    if kind not in _WHOLE:
        raise ManifestInvalid(f"The graph's input {name} is not of whole numbers.")
    dims = value.type.tensor_type.shape.dim
    if value.type.tensor_type.HasField("shape"):
        if len(dims) != 2:  # noqa: PLR2004 -- batch and length
            raise ManifestInvalid(f"The graph's input {name} is not [batch, length].")
        if any(dim.HasField("dim_value") for dim in dims):
            raise ManifestInvalid(
                f"The graph's input {name} has a fixed size: export it with open dimensions."
            )
    element = TensorProto.INT32 if kind == "INT32" else TensorProto.INT64
    if name == TYPES:
        size = helper.make_node("Shape", [IDS], ["wardgate_shape"])
        zero = helper.make_tensor("zero", element, [1], [0])
        fill = helper.make_node("ConstantOfShape", ["wardgate_shape"], [TYPES], value=zero)
        return [size, fill]
    if kind == "INT64":
        return []
    _rename(graph, name, f"wardgate_{name}")
    return [helper.make_node("Cast", [name], [f"wardgate_{name}"], to=element)]


def _chosen(graph: onnx.GraphProto) -> onnx.ValueInfoProto:
    """Return the output that holds the logits."""
    named = [each for each in graph.output if each.name == LOGITS]
    found: list[onnx.ValueInfoProto] = named or list(graph.output)
    if len(found) != 1:
        raise ManifestInvalid(f"The graph has several outputs and none is called {LOGITS}.")
    return found[0]


def _output(graph: onnx.GraphProto, labels: int) -> list[onnx.NodeProto]:
    """Return the nodes that make `logits` FP32 of the graph's output."""
    value = _chosen(graph)
    kind = _ELEMENTS.get(value.type.tensor_type.elem_type)
    if kind not in _FLOATS:
        raise ManifestInvalid("The graph's output is not of floating-point numbers.")
    dims = value.type.tensor_type.shape.dim
    if dims and dims[-1].HasField("dim_value") and dims[-1].dim_value != labels:
        raise ManifestInvalid(
            f"The graph gives {dims[-1].dim_value} columns where there are {labels} labels."
        )
    if value.name == LOGITS and kind == "FP32":
        return []
    inner = "wardgate_logits"
    if value.name == LOGITS:
        _rename(graph, LOGITS, inner)
    else:
        inner = value.name
        if any(LOGITS in node.output for node in graph.node):
            _rename(graph, LOGITS, "wardgate_other")
    return [helper.make_node("Cast", [inner], [LOGITS], to=TensorProto.FLOAT)]


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Give a value of the graph another name, wherever it is made or used."""
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
        for inner in _inner(node):
            _rename(inner, old, new)


def _declared(value: onnx.ValueInfoProto, role: str) -> Tensor:
    kind = value.type.tensor_type
    element = _ELEMENTS.get(kind.elem_type) if value.type.HasField("tensor_type") else None
    if element is None or not kind.HasField("shape"):
        raise ManifestInvalid(
            f"The graph's {role} {ascii(value.name)[:64]} is not a tensor of numbers with a shape."
        )
    shape: list[str | int] = []
    for index, dim in enumerate(kind.shape.dim):
        fixed = dim.HasField("dim_value") and dim.dim_value > 0
        shape.append(dim.dim_value if fixed else "batch" if index == 0 else f"size{index}")
    return Tensor(value.name, element, tuple(shape))


def _inner(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Give the graphs that a node holds, such as the body of a loop."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _holders(model: onnx.ModelProto) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    """Give the graph, its functions, and every graph inside one of their nodes."""
    pending: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    while pending:
        holder = pending.pop()
        yield holder
        for node in holder.node:
            pending.extend(_inner(node))


def _tensors(holder: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.TensorProto]:
    """Give every tensor that a graph stores, in whatever place."""
    sparse: list[onnx.SparseTensorProto] = []
    if isinstance(holder, onnx.GraphProto):
        yield from holder.initializer
        sparse += holder.sparse_initializer
    attributes: list[onnx.AttributeProto] = [
        each for node in holder.node for each in node.attribute
    ]
    if isinstance(holder, onnx.FunctionProto):
        attributes += holder.attribute_proto
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            sparse.append(attribute.sparse_tensor)
        sparse += attribute.sparse_tensors
    for each in sparse:
        yield each.values
        yield each.indices
