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
from wardgate.registry.manifest import MANIFEST_BYTES, Golden, Tensor, Windows, parse
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
    assert manifest.inputs[0] == Tensor("input_ids", "int64", ("batch", "length"))
    assert manifest.outputs == (Tensor("logits", "float32", ("batch", 2)),)
    assert manifest.labels == ("no", "yes")
    assert manifest.max_length == 64
    assert manifest.windows == Windows(8, "mean")
    assert manifest.golden == (Golden("a w1", "yes", 1.0, 0.01),)


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
        (["task"], "token-classification", "task: expected 'text-classification'"),
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
        (["inputs", 0, "dtype"], "int32", "inputs: expected input_ids int64"),
        (["inputs", 0, "shape"], "batch", r"inputs\[0\].shape"),
        (["inputs"], [], "inputs"),
        (["outputs", 0, "shape"], ["batch", 3], "outputs: expected logits float32"),
        (["labels"], ["yes"], "labels"),
        (["labels"], ["yes", "yes"], "labels"),
        (["max_length"], "64", "max_length: expected a whole number from 8 to 8192"),
        (["max_length"], True, "max_length"),
        (["max_length"], 7, "max_length"),
        (["windows"], [], "windows: expected an object or null"),
        (["windows", "overlap"], -1, "windows.overlap"),
        (["windows", "join"], "median", "windows.join: expected 'mean' or 'max'"),
        (["windows", "more"], 1, "windows: the field 'more' is not known"),
        (["golden"], [], "golden: expected a list of at least one"),
        (["golden", 0, "label"], "maybe", r"golden\[0\].label: expected one of the labels"),
        (["golden", 0, "label"], [], r"golden\[0\].label"),
        (["golden", 0, "score"], 1.5, r"golden\[0\].score"),
        (["golden", 0, "score"], "1", r"golden\[0\].score"),
        (["golden", 0, "tolerance"], 0.9, r"golden\[0\].tolerance"),
        (["golden", 0], "text", r"golden\[0\]: expected an object"),
        (["added_by"], "", "added_by"),
        (["signature"], "x", "'signature' is not known"),
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
