"""The files of a folder: each once, in one order, from any place on."""

from __future__ import annotations

import json
import os

import pytest

from wardgate.cli.files import folder as module
from wardgate.cli.files.folder import Folder
from wardgate.cli.journal import Stopped
from wardgate.cli.jsonl import Broken, Place


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "b" / "c").mkdir(parents=True)
    for name in ("z", "b/2", "b/c/x", "a"):
        (root / name).write_text(name)
    (root / "b" / "link").symlink_to("..")
    return root


NAMES = [b"a", b"b/2", b"b/c/x", b"b/link", b"z"]


def names(folder: Folder) -> list[bytes | None]:
    return [name for chunk in folder.chunks() for _, name in chunk.items]


def test_every_file_once_and_links_are_not_followed(tree) -> None:
    folder = Folder(tree)
    assert folder.size == 5
    assert folder.skip(Place())
    assert names(folder) == NAMES


def test_any_place_goes_on_where_it_was(tree, monkeypatch) -> None:
    monkeypatch.setattr(module, "_FILES", 2)
    chunks = list(Folder(tree).chunks())
    assert [len(chunk.items) for chunk in chunks] == [2, 2, 1]
    assert [chunk.items[0][0] for chunk in chunks] == [1, 3, 5]
    again = Folder(tree)
    assert again.skip(chunks[1].place)
    assert names(again) == NAMES[4:]
    (tree / "a").write_text("longer")
    assert not Folder(tree).skip(chunks[1].place)
    (tree / "a").unlink()
    assert not Folder(tree).skip(chunks[2].place)


def test_a_folder_that_changes_meanwhile_ends_the_job(tree) -> None:
    folder = Folder(tree)
    (tree / "zz").write_text("new")
    with pytest.raises(Stopped, match="added"):
        names(folder)


def test_a_name_need_not_be_text(tmp_path) -> None:
    name = b"caf\xe9"
    (tmp_path / os.fsdecode(name)).touch()
    folder = Folder(tmp_path)
    assert names(folder) == [name]
    said = json.loads(folder.fault((1, name), Broken("x", "y")))
    assert os.fsencode(said["file"]) == name
    assert said.keys() == {"file", "error", "detail"}
    assert folder.encode(None, [b"a\n", Broken("x", "y")]) == b"a\n"  # type: ignore[arg-type]


def test_an_absent_folder_is_told(tmp_path) -> None:
    with pytest.raises(OSError, match="absent"):
        Folder(tmp_path / "absent")
