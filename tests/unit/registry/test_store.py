from __future__ import annotations

import os
from pathlib import Path

import pytest

import tiny_models
from wardgate.errors import ManifestInvalid, ModelUnknown
from wardgate.registry.store import SHIPPED, Store

FILES = {"model.onnx": b"graph", "tokenizer.json": b"words"}


def put(folder, files=FILES, name="tiny", **changes):
    home = folder / name
    home.mkdir(parents=True)
    for file, content in files.items():
        (home / file).write_bytes(content)
    tree = tiny_models.manifest(FILES, **{"name": name, **changes})
    (home / "manifest.json").write_bytes(tiny_models.as_json(tree))
    return home


def test_a_model_comes_with_the_bytes_that_were_verified(tmp_path):
    home = put(tmp_path)
    (home / "unnamed.bin").write_bytes(b"not in the manifest")
    model = Store([tmp_path]).load("tiny")
    assert dict(model.files) == FILES
    assert model.graph == b"graph"
    assert model.tokenizer == b"words"
    assert model.labels == ("no", "yes")
    assert model.max_length == 64
    assert model.id == model.manifest.id


def test_the_first_folder_that_has_the_name_wins(tmp_path):
    put(tmp_path / "one", version="1")
    put(tmp_path / "two", version="2")
    store = Store([tmp_path / "none", tmp_path / "two", tmp_path / "one"])
    assert store.load("tiny").id.version == "2"


@pytest.mark.parametrize("name", ["other", "", "../tiny", "tiny/", "/etc", "a\0b", "TINY"])
def test_a_name_that_no_folder_has_is_unknown(tmp_path, name):
    put(tmp_path / "models")
    put(tmp_path)
    with pytest.raises(ModelUnknown):
        Store([tmp_path / "models"]).load(name)


@pytest.mark.parametrize("content", [b"graph!", b"grap", b"grapH", b""])
def test_a_file_that_was_changed_is_refused(tmp_path, content):
    put(tmp_path, FILES | {"model.onnx": content})
    with pytest.raises(ManifestInvalid, match=r"model\.onnx"):
        Store([tmp_path]).load("tiny")


def test_a_file_that_is_missing_is_refused(tmp_path):
    (put(tmp_path) / "model.onnx").unlink()
    with pytest.raises(ManifestInvalid, match=r"model\.onnx: expected a readable file"):
        Store([tmp_path]).load("tiny")


def test_a_manifest_of_another_name_is_refused(tmp_path):
    put(tmp_path).rename(tmp_path / "renamed")
    with pytest.raises(ManifestInvalid, match="name: expected 'renamed'"):
        Store([tmp_path]).load("renamed")


@pytest.mark.parametrize("file", ["model.onnx", "manifest.json"])
def test_a_link_is_refused_wherever_it_points(tmp_path, file):
    home = put(tmp_path)
    (home / file).rename(tmp_path / "elsewhere")
    (home / file).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ManifestInvalid, match="no link"):
        Store([tmp_path]).load("tiny")


def test_a_linked_model_folder_is_refused(tmp_path):
    put(tmp_path / "elsewhere")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny").symlink_to(tmp_path / "elsewhere" / "tiny")
    with pytest.raises(ManifestInvalid, match="no link"):
        Store([tmp_path / "models"]).load("tiny")


def test_a_pipe_is_refused_and_does_not_hold_up_the_start(tmp_path):
    home = put(tmp_path)
    (home / "model.onnx").unlink()
    os.mkfifo(home / "model.onnx")
    with pytest.raises(ManifestInvalid, match="plain file"):
        Store([tmp_path]).load("tiny")


def test_no_descriptor_is_left_open(tmp_path):
    put(tmp_path, FILES | {"model.onnx": b"wrong"})
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    with pytest.raises(ManifestInvalid):
        Store([tmp_path]).load("tiny")
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_every_shipped_model_verifies():
    names = [folder.name for folder in SHIPPED.iterdir() if (folder / "manifest.json").exists()]
    assert names
    for name in names:
        assert Store().load(name).id.name == name
