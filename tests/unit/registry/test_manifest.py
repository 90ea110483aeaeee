from __future__ import annotations

import copy
import hashlib
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny_models
from wardgate.errors import ManifestInvalid
from wardgate.registry.golden import Golden, TensorGolden, TokenGolden, Value
from wardgate.registry.manifest import MANIFEST_BYTES, Quantised, Tensor, Windows, parse
from wardgate.types import ModelId

FILES = {"model.onnx": b"graph", "tokenizer.json": b"words", "README.md": b"card"}
TREE = tiny_models.manifest(FILES)


def changed(path, value):
    """The good manifest with the value at `path` replaced, or taken out for `...`."""
    tree = copy.deepcopy(TREE)
    at = tree
    for step in path[:-1]:
        at = at[step]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return tiny_models.as_json(tree)


def test_a_good_manifest_is_read_whole():
    raw = tiny_models.as_json(TREE)
    manifest = parse(raw)
    digest = hashlib.sha256(raw).hexdigest()
    assert manifest.id == ModelId("tiny", "1", digest)
    assert manifest.files["model.onnx"].bytes == 5
    assert manifest.files["model.onnx"].sha256 == hashlib.sha256(b"graph").hexdigest()
    assert manifest.inputs[0] == Tensor("input_ids", "INT64", ("batch", "length"))
    assert manifest.outputs == (Tensor("logits", "FP32", ("batch", 2)),)
    assert manifest.labels == ("no", "yes")
    assert manifest.max_length == 64
    assert manifest.windows == Windows(8, "mean")
    assert manifest.golden == (Golden("a w1", "yes", 1.0, 0.01),)


def test_it_may_say_where_the_model_came_from():
    assert parse(tiny_models.as_json(TREE)).source is None
    found = parse(changed(["source"], "org/model@0123456789abcdef0123456789abcdef01234567"))
    assert found.source == "org/model@0123456789abcdef0123456789abcdef01234567"


def test_int8_may_say_how_often_it_agreed():
    assert parse(tiny_models.as_json(TREE)).quantised is None
    found = parse(changed(["quantised"], {"compared": 200, "agreed": 199}))
    assert found.quantised == Quantised(200, 199)


def test_a_token_classifier_has_logits_and_labels_for_each_token():
    tree = TREE | {
        "task": "token-classification",
        "outputs": [{"name": "logits", "dtype": "FP32", "shape": ["batch", "length", 2]}],
        "golden": [{"text": "a w1", "labels": ["no", "yes"]}],
    }
    found = parse(tiny_models.as_json(tree))
    assert found.token_golden == (TokenGolden("a w1", ("no", "yes")),)
    assert found.golden == ()
    with pytest.raises(ManifestInvalid, match="outputs: expected logits"):
        parse(tiny_models.as_json(tree | {"outputs": TREE["outputs"]}))


def tensor_tree(**changes):
    tree = {
        key: value
        for key, value in TREE.items()
        if key not in ("task", "labels", "max_length", "windows")
    }
    return tree | {
        "kind": "tensor",
        "phi_free": True,
        "inputs": [{"name": "vitals", "dtype": "FP32", "shape": ["batch", 2]}],
        "outputs": [{"name": "risk/Sigmoid:0", "dtype": "FP32", "shape": ["batch", 1]}],
        "golden": [],
        **changes,
    }


def test_a_tensor_model_declares_any_tensors_and_that_they_hold_no_phi():
    found = parse(tiny_models.as_json(tensor_tree()))
    assert (found.kind, found.phi_free, found.task) == ("tensor", True, None)
    assert found.inputs[0].sizes == (-1, 2)
    assert (found.labels, found.max_length, found.tensor_golden) == ((), 0, ())
    example = {
        "inputs": {"vitals": {"shape": [1, 2], "data": [1, 2.5]}},
        "outputs": {"risk/Sigmoid:0": {"shape": [1, 1], "data": [0.5]}},
        "tolerance": 0.01,
    }
    found = parse(tiny_models.as_json(tensor_tree(golden=[example])))
    assert found.tensor_golden == (
        TensorGolden(
            {"vitals": Value((1, 2), (1, 2.5))}, {"risk/Sigmoid:0": Value((1, 1), (0.5,))}, 0.01
        ),
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"phi_free": False}, "phi_free: expected true"),
        ({"phi_free": None}, "phi_free: expected true"),
        ({"labels": ["a", "b"]}, "'labels' is not known"),
        ({"files": {"tokenizer.json": TREE["files"]["tokenizer.json"]}}, "entry for model.onnx"),
        ({"inputs": []}, "inputs: expected a list of at least 1 object"),
        ({"inputs": [{"name": "a", "dtype": "BYTES", "shape": [1]}]}, "dtype"),
        ({"inputs": [{"name": "a", "dtype": "FP32", "shape": [0]}]}, "shape"),
        ({"inputs": [{"name": "a", "dtype": "FP32", "shape": [1]}] * 2}, "different names"),
        ({"golden": [{"inputs": {}, "outputs": {}, "tolerance": 1}]}, "expected the tensors"),
    ],
)
def test_a_tensor_model_that_is_not_right_is_refused(changes, said):
    with pytest.raises(ManifestInvalid, match=said):
        parse(tiny_models.as_json(tensor_tree(**changes)))


def test_windows_may_be_null():
    assert parse(changed(["windows"], None)).windows is None


@pytest.mark.parametrize("field", sorted(TREE))
def test_every_field_is_required(field):
    with pytest.raises(ManifestInvalid, match=field):
        parse(changed([field], ...))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["format"], 2, "format: expected 1"),
        (["format"], True, "format"),
        (["name"], "../tiny", "name"),
        (["name"], "", "name"),
        (["version"], 1, "version"),
        (["task"], "translation", "task: expected 'text-classification' or"),
        (["precision"], "int4", "precision"),
        (["files"], [], "files: expected an object"),
        (["files", "../model.onnx"], {"sha256": "0" * 64, "bytes": 1}, "plain file name"),
        (["files", "a/b"], {"sha256": "0" * 64, "bytes": 1}, "plain file name"),
        (["files", "a\\b"], {"sha256": "0" * 64, "bytes": 1}, "plain file name"),
        (["files", ".."], {"sha256": "0" * 64, "bytes": 1}, "plain file name"),
        (["files", "model.onnx"], ..., "files: expected an entry for model.onnx"),
        (["files", "tokenizer.json"], ..., "files: expected an entry for tokenizer.json"),
        (["files", "model.onnx", "sha256"], "A" * 64, "sha256: expected 64"),
        (["files", "model.onnx", "bytes"], 0, "bytes: expected a whole number"),
        (["files", "model.onnx", "bytes"], 5.0, "bytes"),
        (["files", "model.onnx", "more"], 1, "'more' is not known"),
        (["inputs", 0, "dtype"], "INT32", "inputs: expected input_ids INT64"),
        (["inputs", 0, "dtype"], "BYTES", r"inputs\[0\].dtype: expected 'BOOL' or"),
        (["inputs", 0, "shape"], "batch", r"inputs\[0\].shape"),
        (["inputs"], [], "inputs"),
        (["outputs", 0, "shape"], ["batch", 3], "outputs: expected logits FP32"),
        (["labels"], ["yes"], "labels"),
        (["labels"], ["yes", "yes"], "labels"),
        (["labels"], ["yes", "no\x1b[2J"], "labels"),
        (["labels"], ["yes", "no\u202e"], "labels"),
        (["source"], "", "source: expected where the model came from"),
        (["source"], "org/model\n", "source"),
        (["added_by"], "me\x1b[2J", "added_by"),
        (["added_by"], "me\u202e", "added_by"),
        (["added_at"], "\uff12026-11-22T10:00:00Z", "added_at"),
        (["max_length"], "64", "max_length: expected a whole number from 8 to 8192"),
        (["max_length"], True, "max_length"),
        (["max_length"], 7, "max_length"),
        (["windows"], [], "windows: expected an object or null"),
        (["windows", "overlap"], -1, "windows.overlap"),
        (["windows", "join"], "median", "windows.join: expected 'mean' or 'max'"),
        (["windows", "more"], 1, "windows: the field 'more' is not known"),
        (["golden"], [], "golden: expected a list of at least 1"),
        (["golden", 0, "label"], "maybe", r"golden\[0\].label: expected one of the labels"),
        (["golden", 0, "label"], [], r"golden\[0\].label"),
        (["golden", 0, "score"], 1.5, r"golden\[0\].score"),
        (["golden", 0, "score"], "1", r"golden\[0\].score"),
        (["golden", 0, "tolerance"], 0.9, r"golden\[0\].tolerance"),
        (["golden", 0], "text", r"golden\[0\]: expected an object"),
        (["added_by"], "", "added_by"),
        (["signature"], "x", "'signature' is not known"),
        (["kind"], "image", "kind: expected 'text' or 'tensor'"),
        (["phi_free"], True, "'phi_free' is not known"),
        (["files", "manifest.json"], {"sha256": "0" * 64, "bytes": 1}, "plain file name"),
        (["files", "signature.json"], {"sha256": "0" * 64, "bytes": 1}, "plain file name"),
        (["files", "..\\model.onnx"], {"sha256": "0" * 64, "bytes": 1}, "plain file name"),
        (["files", "model.onnx\n"], {"sha256": "0" * 64, "bytes": 1}, "plain file name"),
        (["files", "/etc/passwd"], {"sha256": "0" * 64, "bytes": 1}, "plain file name"),
        (["added_at"], "yesterday", "added_at: expected a time"),
        (["quantised"], {"compared": 10, "agreed": 11}, "quantised.agreed"),
        (["golden", 0, "source"], "nobody", r"golden\[0\].source"),
        (["version"], "../2", "version"),
        (["version"], ".2", "version"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(path, value, said):
    with pytest.raises(ManifestInvalid, match=said):
        parse(changed(path, value))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"format": NaN}',
        b'{"format": 1, "format": 1}',
        b"[" * 100_000,
        b" " * (MANIFEST_BYTES + 1),
    ],
)
def test_what_is_not_a_manifest_at_all_is_refused(raw):
    with pytest.raises(ManifestInvalid):
        parse(raw)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from(sorted(TREE)),
)
def test_any_value_in_any_field_is_parsed_or_refused(value, field):
    """Nothing but ManifestInvalid ever comes out of a manifest that is not right."""
    with suppress(ManifestInvalid):
        parse(json.dumps(TREE | {field: value}).encode())
