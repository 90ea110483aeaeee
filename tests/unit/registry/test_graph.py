from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tiny_classifiers import classifier, scorer
from wardgate.errors import ManifestInvalid
from wardgate.registry import graph
from wardgate.registry.manifest import Tensor

IDS = np.array([[2, 7, 9, 3], [2, 8, 3, 0]], np.int64)
MASK = np.array([[1, 1, 1, 1], [1, 1, 1, 0]], np.int64)


def logits(model: onnx.ModelProto) -> np.ndarray:
    """Run a graph of the form."""
    session = onnxruntime.InferenceSession(graph.write(model))
    assert {each.name: each.type for each in session.get_inputs()} == {
        "input_ids": "tensor(int64)",
        "attention_mask": "tensor(int64)",
    }
    assert [(each.name, each.type) for each in session.get_outputs()] == [
        ("logits", "tensor(float)")
    ]
    (found,) = session.run(["logits"], {"input_ids": IDS, "attention_mask": MASK})
    return found


def adapted(model: onnx.ModelProto, *, labels: int = 2, tokens: bool = False) -> onnx.ModelProto:
    made = graph.adapt(graph.read(model.SerializeToString()), labels, tokens=tokens)
    onnx.checker.check_model(made)
    return made


EXACT = logits(adapted(classifier()))


@pytest.mark.parametrize(
    "wishes",
    [
        {"element": TensorProto.INT32},
        {"out": "output_0"},
        {"out_element": TensorProto.DOUBLE},
        {"out": "scores", "out_element": TensorProto.DOUBLE, "element": TensorProto.INT32},
    ],
)
def test_types_and_names_are_adapted_and_the_answer_stays(wishes):
    assert np.allclose(logits(adapted(classifier(**wishes))), EXACT, atol=1e-5)


def test_token_types_become_zeros():
    model = classifier(types=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    zeros = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": np.zeros_like(IDS)}
    (wanted,) = session.run(None, zeros)
    assert np.allclose(logits(adapted(model)), wanted, atol=1e-6)
    (other,) = session.run(None, zeros | {"token_type_ids": np.ones_like(IDS)})
    assert not np.allclose(other, wanted, atol=0.1)


def test_a_row_for_each_token_is_kept():
    found = logits(adapted(classifier(tokens=True, labels=3), labels=3, tokens=True))
    assert found.shape == (2, 4, 3)
    assert graph.rank(classifier(tokens=True)) == 3


def test_weights_that_old_graphs_list_as_inputs_are_none():
    model = classifier()
    for weight in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims))
        )
    assert np.allclose(logits(adapted(model)), EXACT)


def without_mask():
    model = classifier()
    (value,) = [each for each in model.graph.input if each.name == "attention_mask"]
    model.graph.input.remove(value)
    return model


def renamed_input():
    model = classifier(types=True)
    model.graph.input[2].name = "position_ids"
    return model


def two_outputs():
    model = classifier(out="scores")
    model.graph.output.append(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, None))
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (without_mask(), "no input attention_mask"),
        (renamed_input(), "an input 'position_ids' that nothing fills"),
        (two_outputs(), "several outputs and none is called logits"),
        (classifier(labels=3), "3 columns where there are 2 labels"),
        (classifier(batch=1), "input_ids has a fixed size"),
        (classifier(element=TensorProto.FLOAT), "input_ids is not of whole numbers"),
        (classifier(out_element=TensorProto.INT64), "not of floating-point numbers"),
    ],
)
def test_more_than_that_is_refused_in_a_sentence(model, said):
    with pytest.raises(ManifestInvalid, match=said):
        adapted(model)


def test_of_several_outputs_the_one_called_logits_is_taken():
    model = classifier()
    model.graph.output.insert(0, helper.make_tensor_value_info("pooled", TensorProto.FLOAT, None))
    assert np.allclose(logits(adapted(model)), EXACT)


# -- what a file may try --------------------------------------------------------------------------


def outside(tensor: TensorProto, location: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location


@pytest.mark.parametrize("location", ["weights.bin", "../../etc/passwd", "/etc/passwd"])
def test_weights_outside_the_file_are_refused_wherever_they_lie(location):
    model = classifier()
    outside(model.graph.initializer[0], location)
    with pytest.raises(ManifestInvalid, match="files outside itself"):
        graph.read(model.SerializeToString())


def test_weights_outside_are_found_in_every_corner():
    body = helper.make_graph([helper.make_node("Identity", ["w"], ["o"])], "body", [], [])
    outside(body.initializer.add(name="w", data_type=1, dims=[1]), "/etc/passwd")
    inner = classifier()
    inner.graph.node.append(
        helper.make_node("If", ["c"], ["d"], then_branch=body, else_branch=body)
    )
    attribute = classifier()
    constant = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("c", 1, [1], [0.0]))
    outside(constant.attribute[0].t, "x")
    attribute.graph.node.append(constant)
    function = classifier()
    function.functions.append(
        helper.make_function("own", "F", [], ["c"], [constant], [helper.make_opsetid("", 18)])
    )
    sparse = classifier()
    values = helper.make_tensor("s", 1, [1], [1.0])
    outside(values, "x")
    sparse.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, helper.make_tensor("i", 7, [1], [0]), [4])
    )
    for model in (inner, attribute, function, sparse):
        with pytest.raises(ManifestInvalid, match="files outside itself"):
            graph.read(model.SerializeToString())


def test_operators_that_need_a_library_are_refused_also_inside():
    model = classifier()
    model.graph.node.append(helper.make_node("Run", [], ["d"], domain="evil"))
    body = helper.make_graph([helper.make_node("Run", [], ["o"], domain="evil")], "body", [], [])
    inner = classifier()
    inner.graph.node.append(
        helper.make_node("If", ["c"], ["d"], then_branch=body, else_branch=body)
    )
    for each in (model, inner):
        with pytest.raises(ManifestInvalid, match="operator 'Run' of 'evil'"):
            graph.read(each.SerializeToString())


def test_a_part_compiled_for_a_device_is_refused():
    model = classifier()
    model.graph.node.append(helper.make_node("EPContext", [], ["d"], domain="com.microsoft"))
    with pytest.raises(ManifestInvalid, match="compiled for one device"):
        graph.read(model.SerializeToString())


@pytest.mark.parametrize("raw", [b"", b"\x80\x04K\x01.", b"PK\x03\x04", b"{}", b"\xff" * 100])
def test_what_is_no_graph_is_refused(raw):
    with pytest.raises(ManifestInvalid, match="not an ONNX file"):
        graph.read(raw)


def test_notes_that_may_name_paths_are_dropped():
    model = classifier()
    model.metadata_props.add(key="path", value="/home/jane/secret")
    model.graph.node[0].metadata_props.add(key="stack", value="/home/jane/train.py")
    model.graph.node[0].doc_string = model.graph.doc_string = "/home/jane"
    assert b"jane" not in graph.write(graph.read(model.SerializeToString()))


# -- what a graph is ------------------------------------------------------------------------------


def test_a_tensor_models_inputs_and_outputs_are_read():
    assert graph.signature(scorer()) == (
        (Tensor("vitals", "FP32", ("batch", 3)),),
        (Tensor("risk", "FP32", ("batch", 1)),),
    )


@pytest.mark.parametrize(
    "value",
    [
        helper.make_tensor_value_info("vitals", TensorProto.STRING, ["n", 3]),
        helper.make_tensor_value_info("vitals", TensorProto.FLOAT, None),
        helper.make_tensor_sequence_value_info("vitals", TensorProto.FLOAT, ["n"]),
    ],
)
def test_a_tensor_model_takes_numbers_of_a_known_shape_alone(value):
    model = scorer()
    model.graph.input[0].CopyFrom(value)
    with pytest.raises(ManifestInvalid, match="not a tensor of numbers with a shape"):
        graph.signature(model)


def test_the_precision_is_that_of_the_weights():
    assert graph.precision(classifier()) == "fp32"
    half = classifier()
    for weight in half.graph.initializer:
        if weight.data_type == TensorProto.FLOAT:
            weight.data_type = TensorProto.FLOAT16
    assert graph.precision(half) == "fp16"
    model = classifier()
    model.graph.node.append(helper.make_node("DynamicQuantizeMatMul", ["a"], ["b"]))
    assert graph.precision(model) == "int8"
    assert graph.batch_scaled(model)
    assert not graph.batch_scaled(classifier())
