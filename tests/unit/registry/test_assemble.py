from __future__ import annotations

import json

import pytest

import tiny_models
from tiny_classifiers import classifier, scorer, texts
from wardgate.errors import ManifestInvalid
from wardgate.registry.assemble import Origin, TextModel, tensor_entry, text_entry
from wardgate.registry.manifest import Quantised, parse
from wardgate.registry.publish import put
from wardgate.registry.store import Store

ORIGIN = Origin("tiny", "1", "tiny.onnx", "tests", "2026-11-22T10:00:00Z")


def model(labels=("no", "yes"), join=None, **wishes) -> TextModel:
    made = classifier(labels=len(labels), **wishes)
    return TextModel(made.SerializeToString(), tiny_models.tokenizer_json(), labels, 64, join)


def test_an_entry_is_what_a_store_loads(tmp_path):
    entry = text_entry(model(join="mean"), ORIGIN)
    put(str(tmp_path), entry.name, entry.version, entry.files)
    loaded = Store([tmp_path], allow_unsigned=True).load("tiny", "1")
    manifest = loaded.manifest
    assert (manifest.precision, manifest.max_length, manifest.windows.overlap) == ("fp32", 64, 8)
    assert (manifest.added_by, manifest.added_at) == ("tests", "2026-11-22T10:00:00Z")
    assert manifest.source == "tiny.onnx"
    assert len(manifest.golden) == 6
    assert {each.source for each in manifest.golden} == {"model"}
    assert "what the model itself gives" in entry.notes[0]
    card = loaded.files["README.md"].decode()
    assert "Nobody has written a card" in card
    assert "From tiny.onnx, added by tests" in card


def test_a_card_that_was_given_is_kept():
    origin = Origin("tiny", "1", "x", "tests", "2026-11-22T10:00:00Z", "# Mine\n\nFor X.\n")
    card = text_entry(model(), origin).files["README.md"].decode()
    assert card.startswith("# Mine\n\nFor X.\n\n## Added to Wardgate\n")


def test_given_examples_are_held_against_the_model():
    found = parse(text_entry(model(), ORIGIN, sample=texts(50)).files["manifest.json"]).golden[0]
    other = "yes" if found.label == "no" else "no"
    good = {"text": found.text, "label": found.label}
    manifest = parse(text_entry(model(), ORIGIN, golden=[good]).files["manifest.json"])
    assert manifest.golden[0].source == "given"
    assert manifest.golden[0].score == pytest.approx(found.score)
    for example, said in (
        (good | {"label": other}, "gives another label"),
        (good | {"score": 0.0}, "the model gives"),
        (good | {"score": "high"}, "expected numbers"),
        ({"label": other}, r"golden\[0\].text"),
        (good | {"text": "w1 " * 100}, "longer than one row"),
    ):
        with pytest.raises(ManifestInvalid, match=said):
            text_entry(model(), ORIGIN, golden=[example])


def test_int8_says_how_often_it_agreed_with_fp32():
    entry = text_entry(model(), ORIGIN, sample=texts(200), int8=True)
    manifest = parse(entry.files["manifest.json"])
    assert manifest.precision == "int8"
    assert manifest.quantised is not None
    assert manifest.quantised.compared == 200
    share = manifest.quantised.agreed / 200
    assert share >= 0.99
    said = f"int8 gives the label of fp32 on {share:.2%} of 200 texts ("
    assert any(note.startswith(said) for note in entry.notes)
    assert said in entry.files["README.md"].decode()


def test_int8_that_changes_labels_is_refused_with_the_figure(monkeypatch):
    monkeypatch.setattr("wardgate.registry.quantize.LIMIT", 1)  # three values a weight: far too few
    with pytest.raises(ManifestInvalid, match=r"% of 200 texts; at least 99%"):
        text_entry(model(), ORIGIN, sample=texts(200), int8=True)


def test_int8_needs_a_sample_and_a_graph_of_fp32():
    for sample in ([], texts(99), texts(99) * 2):
        with pytest.raises(ManifestInvalid, match=f"at least 100 different .* {len(set(sample))}"):
            text_entry(model(), ORIGIN, sample=sample, int8=True)
    rounded = text_entry(model(), ORIGIN, sample=texts(100), int8=True).files["model.onnx"]
    again = TextModel(rounded, tiny_models.tokenizer_json(), ("no", "yes"), 64)
    with pytest.raises(ManifestInvalid, match="starts from an fp32 graph"):
        text_entry(again, ORIGIN, sample=texts(100), int8=True)


def test_a_token_classifier_gets_labels_for_each_token():
    labels = ("O", "A", "B")
    sample = texts(100)
    manifest = parse(
        text_entry(model(labels, tokens=True), ORIGIN, sample=sample).files["manifest.json"]
    )
    assert manifest.task == "token-classification"
    for example in manifest.token_golden:
        assert len(example.labels) == len(example.text.split())
    first = manifest.token_golden[0]
    given = {"text": first.text, "labels": list(first.labels)}
    kept = parse(
        text_entry(model(labels, tokens=True), ORIGIN, golden=[given]).files["manifest.json"]
    )
    assert kept.token_golden[0].source == "given"
    wrong = given | {"labels": ["A"] * len(first.labels)}
    with pytest.raises(ManifestInvalid, match="gives other labels"):
        text_entry(model(labels, tokens=True, seed=3), ORIGIN, golden=[wrong])
    both = text_entry(model(labels, tokens=True), ORIGIN, sample=sample, int8=True)
    tokens = sum(len(text.split()) for text in sample)  # special ones prove nothing
    found = parse(both.files["manifest.json"]).quantised
    assert isinstance(found, Quantised)
    assert found.compared == tokens


def test_a_graph_that_does_not_say_its_rank_is_tried():
    made = classifier(tokens=True)
    made.graph.output[0].type.tensor_type.ClearField("shape")
    given = TextModel(made.SerializeToString(), tiny_models.tokenizer_json(), ("no", "yes"), 64)
    assert parse(text_entry(given, ORIGIN).files["manifest.json"]).task == "token-classification"


def test_a_model_that_cannot_be_served_is_not_registered():
    with pytest.raises(ManifestInvalid, match="attention_mask"):
        text_entry(model(mask=False), ORIGIN)


def test_a_tensor_model_is_registered_with_or_without_examples():
    raw = scorer().SerializeToString()
    manifest = parse(tensor_entry(raw, ORIGIN).files["manifest.json"])
    assert (manifest.kind, manifest.phi_free, manifest.tensor_golden) == ("tensor", True, ())
    example = {
        "inputs": {"vitals": {"shape": [1, 3], "data": [1, 2, 3]}},
        "outputs": {"risk": {"shape": [1, 1], "data": [6]}},
        "tolerance": 0.001,
    }
    entry = tensor_entry(raw, ORIGIN, golden=[example])
    assert json.loads(entry.files["manifest.json"])["golden"] == [example]
    example["outputs"]["risk"]["data"] = [7]
    with pytest.raises(ManifestInvalid, match=r"golden\[0\]: the model does not give"):
        tensor_entry(raw, ORIGIN, golden=[example])
