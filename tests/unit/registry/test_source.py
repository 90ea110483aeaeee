from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from unit.registry.conftest import put
from wardgate.errors import ManifestInvalid, RegistryUnavailable
from wardgate.registry.manifest import FileEntry
from wardgate.registry.source import Folder, check


def entry(content: bytes) -> FileEntry:
    return FileEntry(hashlib.sha256(content).hexdigest(), len(content))


def test_names_and_versions_are_listed(tmp_path):
    put(tmp_path)
    put(tmp_path, version="1.10")
    (tmp_path / "tiny" / ".2.abc.part").mkdir()
    (tmp_path / "tiny" / "notes.txt").write_text("no version")
    folder = Folder(tmp_path)
    assert folder.names() == ["tiny"]
    assert sorted(folder.versions("tiny")) == ["1", "1.10"]
    assert folder.versions("other") == []
    assert folder.versions("../tiny") == []


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    folder = Folder(tmp_path / "none")
    assert folder.names() == []
    assert folder.versions("tiny") == []
    with pytest.raises(ManifestInvalid), folder.open("tiny", "1"):
        pass


def test_a_place_that_cannot_be_read_is_not_taken_for_empty(tmp_path):
    (tmp_path / "models").write_bytes(b"")
    folder = Folder(tmp_path / "models")
    for ask in (folder.names, lambda: folder.versions("tiny"), folder.open("tiny", "1").__enter__):
        with pytest.raises(RegistryUnavailable, match="cannot be read"):
            ask()


def test_a_folder_that_may_not_be_read_is_said_and_a_link_is_another_thing(tmp_path, monkeypatch):
    put(tmp_path)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    folder = Folder(tmp_path)
    assert folder.names() == ["gone", "tiny"]
    with pytest.raises(ManifestInvalid, match="gone: expected a folder, and no link"):
        folder.versions("gone")
    opened = os.open

    def closed(path, *rest, **more):
        if path == "tiny":
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest, **more)

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(ManifestInvalid, match="tiny: its folder cannot be read"):
        folder.versions("tiny")


def test_a_file_is_read_whole_and_verified(tmp_path):
    put(tmp_path)
    with Folder(tmp_path).open("tiny", "1") as home:
        assert home.file("model.onnx", entry(b"graph")) == b"graph"
        assert home.signature() is None
        for wrong in (b"grapH", b"grap", b"graph!"):
            with pytest.raises(ManifestInvalid, match=r"model\.onnx"):
                home.file("model.onnx", entry(wrong))
        with pytest.raises(ManifestInvalid, match="larger than the 4 bytes"):
            home.read("model.onnx", most=4)


def test_a_version_that_went_away_is_refused(tmp_path):
    put(tmp_path)
    with pytest.raises(ManifestInvalid, match="not there any more"):
        Folder(tmp_path).open("tiny", "2").__enter__()


@pytest.mark.parametrize("step", ["tiny", "tiny/1"])
def test_a_linked_folder_is_refused(tmp_path, step):
    put(tmp_path / "elsewhere")
    (tmp_path / "models" / "tiny").parent.mkdir()
    target = tmp_path / "models" / step
    target.parent.mkdir(exist_ok=True)
    target.symlink_to(tmp_path / "elsewhere" / step)
    with pytest.raises(ManifestInvalid, match="no link"):
        Folder(tmp_path / "models").open("tiny", "1").__enter__()


def test_a_linked_signature_and_a_pipe_are_refused(tmp_path):
    home = put(tmp_path)
    (home / "signature.json").symlink_to("/dev/zero")
    os.mkfifo(home / "pipe")
    with Folder(tmp_path).open("tiny", "1") as opened:
        with pytest.raises(ManifestInvalid, match="no link"):
            opened.signature()
        with pytest.raises(ManifestInvalid, match="plain file"):
            opened.read("pipe", most=10)


def test_no_descriptor_is_left_open(tmp_path):
    put(tmp_path)
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    folder = Folder(tmp_path)
    folder.versions("tiny")
    with folder.open("tiny", "1") as home, pytest.raises(ManifestInvalid):
        home.read("absent", most=1)
    with pytest.raises(ManifestInvalid):
        folder.open("tiny", "2").__enter__()
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_size_and_digest_are_checked():
    check("f", entry(b"x"), b"x")
    with pytest.raises(ManifestInvalid, match="expected 1 bytes, found 2"):
        check("f", entry(b"x"), b"xx")
    with pytest.raises(ManifestInvalid, match="SHA-256"):
        check("f", entry(b"x"), b"y")
