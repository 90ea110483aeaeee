"""`wardgate models`: what there is, and whether its files are what was declared."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from wardgate.registry.store import SHIPPED, Store


@pytest.fixture
def folder(tmp_path) -> Path:
    """A site's own folder with a copy of the shipped model, under another name too."""
    shutil.copytree(SHIPPED / "sentiment", tmp_path / "sentiment")
    return tmp_path


def test_the_shipped_models_are_listed_with_their_digest(wardgate) -> None:
    done = wardgate("models", "list")
    assert done.code == 0
    manifest = Store().load("sentiment").manifest
    assert f"sentiment  version {manifest.version}" in done.out
    assert f"sha256:{manifest.digest}" in done.out


def test_every_file_is_checked(wardgate, folder) -> None:
    done = wardgate("models", "verify")
    assert done.code == 0
    assert "sentiment: " in done.out
    assert "files as declared" in done.out
    assert wardgate("models", "verify", "sentiment", "--folder", folder).code == 0


def test_a_file_that_was_changed_is_named(wardgate, folder) -> None:
    path = folder / "sentiment" / "tokenizer.json"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    done = wardgate("models", "verify", "--folder", folder)
    assert done.code == 1
    assert done.err == "sentiment: tokenizer.json: its SHA-256 is not the one in the manifest.\n"
    assert done.out == ""
    assert wardgate("models", "list", "--folder", folder).code == 2


def test_a_sites_own_model_wins_over_the_shipped_one(wardgate, folder) -> None:
    (folder / "sentiment" / "manifest.json").write_text("{}")
    assert wardgate("models", "verify", "sentiment", "--folder", folder).code == 1
    assert wardgate("models", "verify", "sentiment").code == 0


def test_every_model_is_checked_though_one_is_bad(wardgate, folder) -> None:
    for name in ("Bad-Name", "other"):
        (folder / name).mkdir()
        (folder / name / "manifest.json").write_text("{}")
    done = wardgate("models", "verify", "--folder", folder)
    assert done.code == 1
    assert "sentiment: " in done.out
    assert "Bad-Name: " in done.err
    assert "other: " in done.err


@pytest.mark.parametrize("name", ["absent", "../sentiment", ""])
def test_a_name_that_is_none_is_a_mistake(wardgate, name) -> None:
    done = wardgate("models", "verify", name)
    assert done.code == 2
    assert "No such model" in done.err
