from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

import tiny_models
from tiny_classifiers import classifier, scorer
from wardgate.errors import ManifestInvalid
from wardgate.registry import graph
from wardgate.registry.golden import TensorGolden, Value
from wardgate.registry.trial import TensorTrial, TextTrial, session, softmax

WORDS = tiny_models.tokenizer_json()


def trial(model=None, *, labels=2, tokens=False, max_length=64, words=WORDS) -> TextTrial:
    made = graph.adapt(model or classifier(), labels, tokens=tokens)
    return TextTrial(graph.write(made), words, labels, max_length)


def test_a_sound_model_passes():
    assert trial().examine(0.01) < 1e-4
    assert trial(classifier(tokens=True), tokens=True).examine(0.01) < 1e-4


def test_a_graph_that_ignores_its_mask_is_found_out():
    with pytest.raises(ManifestInvalid, match="does not heed its attention_mask"):
        trial(classifier(mask=False)).examine(0.01)


def test_ids_that_the_graph_does_not_know_are_found_out():
    with pytest.raises(ManifestInvalid, match="not every id of its tokenizer"):
        trial(classifier(vocabulary=504)).examine(0.01)


@pytest.mark.parametrize("made", [tiny_models.always_nan(), tiny_models.wrong_shape()])
def test_wrong_outputs_are_found_out(made):
    with pytest.raises(ManifestInvalid, match=r"NaN or infinity|expected 2 labels a row"):
        TextTrial(made.graph, WORDS, 2, 64).examine(0.01)


def test_files_that_are_none_are_refused():
    with pytest.raises(ManifestInvalid, match="tokenizers file"):
        trial(words=b"{}")
    with pytest.raises(ManifestInvalid, match="ONNX Runtime can load"):
        TextTrial(b"graph", WORDS, 2, 64)


def test_rows_are_cut_and_special_tokens_are_told_apart():
    model = trial(max_length=8, words=tiny_models.tokenizer_json(truncation=4))
    long = " ".join(["w1"] * 20)
    assert len(model.ids(long)) == 22
    assert not model.fits(long)
    assert model.logits(long).shape == (2,)
    assert model.inner("a w1") == [False, True, True, False]


def test_scores_sum_to_one():
    assert softmax(np.array([1000.0, 1000.0], np.float32)).tolist() == [0.5, 0.5]


def test_a_tensor_models_examples_are_held_against_it():
    inputs, outputs = graph.signature(scorer())
    model = TensorTrial(graph.write(scorer()), inputs, outputs)

    def example(risk: Value, vitals: Value = Value((1, 3), (1, 2, 3))) -> TensorGolden:  # noqa: B008
        return TensorGolden({"vitals": vitals}, {"risk": risk}, 0.01)

    assert model.right(example(Value((1, 1), (6.001,))))
    assert not model.right(example(Value((1, 1), (6.1,))))
    assert not model.right(example(Value((1,), (6,))))
    with pytest.raises(ManifestInvalid, match="failed on an input"):
        model.right(example(Value((1, 1), (6,)), Value((1, 2), (1, 2))))


def test_weights_outside_the_bytes_are_never_read(tmp_path, monkeypatch):
    model = graph.adapt(classifier(), 2, tokens=False)
    weight = max(model.graph.initializer, key=lambda each: each.ByteSize())
    (tmp_path / "w.bin").write_bytes(numpy_helper.to_array(weight).tobytes())
    for field in ("raw_data", "float_data"):
        weight.ClearField(field)
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="w.bin")
    monkeypatch.chdir(tmp_path)
    raw = model.SerializeToString()
    off = onnxruntime.SessionOptions()
    off.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    onnxruntime.InferenceSession(raw, off)  # the library by itself reads the file beside
    with pytest.raises(ManifestInvalid, match="can load"):
        session(raw)


def test_a_tokenizer_that_backtracks_without_end_is_refused(capfd):
    tree = json.loads(WORDS)
    tree["pre_tokenizer"] = {
        "type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip
    with pytest.raises(ManifestInvalid, match="fails on a text"):
        trial(words=json.dumps(tree).encode()).ids("a" * 64 + "!")
    capfd.readouterr()  # the library writes its panic to stderr
