from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

import tiny_models
from tiny_classifiers import WIDTH, classifier, texts
from wardgate.errors import ManifestInvalid
from wardgate.registry import graph
from wardgate.registry.quantize import LIMIT, TABLE_ROWS, quantize, rounded_values
from wardgate.registry.ranges import reaches
from wardgate.registry.trial import TextTrial, session


def trial(model: onnx.ModelProto, labels: int = 2) -> TextTrial:
    return TextTrial(graph.write(model), tiny_models.tokenizer_json(), labels, 64)


def weights(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {each.name: each for each in model.graph.initializer}


def met(exact: onnx.ModelProto) -> dict[str, float]:
    ids = trial(exact).ids
    return reaches(exact, rounded_values(exact, 2), [ids(text) for text in texts(40)])


@pytest.mark.parametrize("opset", [13, 17, 18, 20])
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
def test_logits_stay_close_and_do_not_depend_on_the_batch(opset, tokens, fixed):
    exact = graph.adapt(classifier(tokens=tokens, opset=opset), 2, tokens=tokens)
    rounded = quantize(exact, 2, reaches=met(exact) if fixed else None)
    one, other = trial(exact), trial(rounded)
    found = [(one.logits(text), other.logits(text)) for text in texts(40)]
    largest = max(float(np.abs(a).max()) for a, _ in found)
    assert max(float(np.abs(a - b).max()) for a, b in found) < 0.05 * largest
    assert other.examine(0.001) < 0.001
    assert graph.precision(rounded) == "int8"
    assert not graph.batch_scaled(rounded)


def test_weights_have_seven_bits_and_a_scale_for_each_column():
    rounded = quantize(graph.adapt(classifier(), 2, tokens=False), 2)
    (whole,) = [
        onnx.numpy_helper.to_array(each)
        for each in rounded.graph.initializer
        if each.data_type == onnx.TensorProto.INT8
    ]
    assert whole.shape == (WIDTH, WIDTH)
    assert np.abs(whole).max(axis=0).tolist() == [LIMIT] * WIDTH
    assert "inner" not in weights(rounded)


def test_the_head_stays_as_it_is():
    rounded = quantize(graph.adapt(classifier(), 2, tokens=False), 2)
    assert weights(rounded)["head"] == weights(classifier())["head"]


def test_a_vocabulary_is_rounded_word_by_word_if_wished():
    exact = graph.adapt(classifier(vocabulary=TABLE_ROWS), 2, tokens=False)
    small, large = quantize(exact, 2), quantize(exact, 2, tables=False)
    assert small.ByteSize() < large.ByteSize() / 2
    for text in texts(20):
        assert np.abs(trial(small).logits(text) - trial(large).logits(text)).max() < 0.5
    assert "table" in weights(large)


def test_gelu_gets_the_steps_it_needs():
    model = classifier()
    (tanh,) = [node for node in model.graph.node if node.op_type == "Tanh"]
    place = list(model.graph.node).index(tanh)
    erf = [
        helper.make_node("Mul", ["mixed", "root"], ["e0"]),
        helper.make_node("Erf", ["e0"], ["e1"]),
        helper.make_node("Add", ["e1", "one"], ["e2"]),
        helper.make_node("Mul", ["mixed", "e2"], ["e3"]),
        helper.make_node("Mul", ["e3", "half"], ["gelu"]),
        helper.make_node("MatMul", ["gelu", "inner"], ["hidden"]),
    ]
    nodes = list(model.graph.node)
    nodes[place : place + 1] = erf
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for name, value in (("root", 2**-0.5), ("one", 1.0), ("half", 0.5)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), name))
    exact = graph.adapt(model, 2, tokens=False)
    rounded = quantize(exact, 2)
    assert "wardgate_middle_16" in weights(rounded)
    assert "wardgate_middle_128" in weights(rounded)
    for text in texts(20):
        assert np.abs(trial(exact).logits(text) - trial(rounded).logits(text)).max() < 0.5


def test_a_fixed_step_takes_the_bias_along_unless_something_else_takes_the_product():
    def built(*more: onnx.NodeProto) -> onnx.ModelProto:
        value = helper.make_tensor_value_info
        rng = np.random.default_rng(3)
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["product"]),
            helper.make_node("Add", ["bias", "product"], ["y"]),
            *more,
        ]
        tensors = {"w": rng.normal(size=(8, 6)), "bias": rng.normal(size=6)}
        made = helper.make_graph(
            nodes,
            "g",
            [value("x", onnx.TensorProto.FLOAT, [1, 5, 8])],
            [value(node.output[0], onnx.TensorProto.FLOAT, None) for node in nodes[1:]],
            [onnx.numpy_helper.from_array(v.astype("f"), k) for k, v in tensors.items()],
        )
        return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)

    x = np.random.default_rng(4).normal(size=(1, 5, 8)).astype(np.float32)
    for extra, kinds in (((), 2), ((helper.make_node("Neg", ["product"], ["z"]),), 4)):
        exact = built(*extra)
        rounded = quantize(exact, 2, reaches={"x": float(np.abs(x).max())})
        assert len(rounded.graph.node) == kinds
        wanted = session(graph.write(exact)).run(None, {"x": x})
        found = session(graph.write(rounded)).run(None, {"x": x})
        for a, b in zip(wanted, found, strict=True):
            assert np.abs(a - b).max() < 0.1 * np.abs(a).max()


def test_a_graph_that_is_too_old_or_has_nothing_to_round_is_refused():
    with pytest.raises(ManifestInvalid, match="opset 13 or newer; it has 12"):
        quantize(classifier(opset=12), 2)
    with pytest.raises(ManifestInvalid, match="no product with stored weights"):
        quantize(classifier(), WIDTH)
