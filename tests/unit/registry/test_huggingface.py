"""What is refused before any library is loaded; exports are tested in tests/training."""

from __future__ import annotations

import json
import pickle
import sys

import pytest

from wardgate.errors import ManifestInvalid
from wardgate.registry import huggingface

GOOD = {"architectures": ["DistilBertForSequenceClassification"]}


def folder(path, config=GOOD, *files):
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    for file in files:
        (path / file).write_bytes(b"")
    return path


def test_a_classifier_in_safetensors_may_be_loaded(tmp_path):
    assert huggingface.examine(folder(tmp_path, GOOD, "model.safetensors")) == GOOD


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth", "model.pkl"])
def test_pickled_weights_are_refused_and_never_opened(tmp_path, name):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (folder(tmp_path) / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ManifestInvalid, match="pickled"):
        huggingface.export(tmp_path, None)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_a_repository_is_never_run(tmp_path, file):
    folder(tmp_path, GOOD, "model.safetensors")
    (tmp_path / file).write_text(json.dumps(GOOD | {"auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(ManifestInvalid, match="asks for code"):
        huggingface.export(tmp_path, None)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "expected a sequence classifier"),
        ({"architectures": []}, "expected a sequence classifier"),
        ({"architectures": 7}, "expected a sequence classifier"),
        ({"architectures": {"a": 1}}, "expected a sequence classifier"),
        ({"architectures": ["BertForMaskedLM"]}, "expected a sequence classifier"),
        ({"architectures": [7]}, "expected a sequence classifier"),
        ({"architectures": "x"}, "expected a sequence classifier"),
        (GOOD | {"problem_type": "multi_label_classification"}, "one label for each text"),
        (GOOD | {"problem_type": "regression"}, "one label for each text"),
        ([], "config.json: expected a JSON object"),
    ],
)
def test_what_is_no_classifier_is_refused(tmp_path, config, said):
    with pytest.raises(ManifestInvalid, match=said):
        huggingface.examine(folder(tmp_path, config, "model.safetensors"))


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ManifestInvalid, match=r"no \*\.safetensors"):
        huggingface.examine(folder(tmp_path))


def test_a_library_that_is_missing_is_named_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ManifestInvalid, match=r"pip install 'wardgate\[export\]'"):
        huggingface.export(folder(tmp_path, GOOD, "model.safetensors"), None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ManifestInvalid, match="huggingface_hub"):
        huggingface.fetch("some/model", None)


def test_what_was_downloaded_is_named_by_its_commit(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "models--some--model"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    folder(home / "snapshots" / commit)
    for revision in (None, "main", commit):
        assert huggingface.fetch("some/model", revision) == (home / "snapshots" / commit, commit)
    with pytest.raises(ManifestInvalid, match="Hugging Face did not give it"):
        huggingface.fetch("some/other", None)


@pytest.mark.parametrize(
    ("source", "found"),
    [("org/model", True), ("model-1.0", True), ("a/b/c", False), ("../x", False), ("/x", False),
     ("http://x/y", False), ("", False)],
)  # fmt: skip
def test_an_id_is_told_from_a_path(source, found):
    assert huggingface.is_id(source) == found


@pytest.mark.parametrize("part", ["model.bin", "../model.safetensors", "/model.safetensors", 7])
def test_an_index_names_safetensors_of_its_folder_alone(tmp_path, part):
    folder(tmp_path, GOOD, "model.safetensors", "model.bin")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    assert huggingface.examine(tmp_path) == GOOD
    index.write_text(json.dumps({"weight_map": {"a": part}}))
    with pytest.raises(ManifestInvalid, match="of the same folder alone"):
        huggingface.export(tmp_path, None)


def test_an_adapter_is_refused(tmp_path):
    folder(tmp_path, GOOD, "model.safetensors", "adapter_config.json")
    with pytest.raises(ManifestInvalid, match="merge it first"):
        huggingface.export(tmp_path, None)
