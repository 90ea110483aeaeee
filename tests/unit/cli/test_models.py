"""`wardgate models`: what there is, who vouches for it, and whether files are as declared."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

import tiny_models
from wardgate.cli.models import models, read_settings
from wardgate.registry.publish import put
from wardgate.registry.store import SHIPPED, Store

FILES = {"model.onnx": b"graph", "tokenizer.json": b"words"}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A site's own folder with a copy of the shipped model."""
    shutil.copytree(SHIPPED / "sentiment", tmp_path / "sentiment")
    return tmp_path


def entry(folder: Path, **changes) -> Path:
    tree = tiny_models.manifest(FILES, **changes)
    raw = tiny_models.as_json(tree)
    put(str(folder), tree["name"], tree["version"], {**FILES, "manifest.json": raw})
    return folder / tree["name"] / tree["version"]


def test_the_shipped_models_are_listed_with_their_digest(wardgate, tmp_path) -> None:
    done = wardgate("models", "list", "--state", tmp_path)
    assert done.code == 0
    manifest = Store().load("sentiment").manifest
    assert f"sentiment  version {manifest.version}  text-classification  int8" in done.out
    assert f"shipped with wardgate  sha256:{manifest.digest}" in done.out


def test_every_file_is_checked(wardgate, folder) -> None:
    done = wardgate("models", "verify")
    assert done.code == 0
    assert "files as declared, shipped with wardgate, sha256:" in done.out
    assert wardgate("models", "verify", "sentiment", "--folder", folder).code == 0


def test_a_file_that_was_changed_is_named(wardgate, folder) -> None:
    (version,) = Store().versions("sentiment")
    path = folder / "sentiment" / version / "tokenizer.json"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    done = wardgate("models", "verify", "--folder", folder)
    assert done.code == 1
    assert done.err == (
        f"sentiment {version}: tokenizer.json: its SHA-256 is not the one in the manifest.\n"
    )
    assert done.out == ""


def test_a_sites_own_version_wins_over_the_shipped_one(wardgate, folder) -> None:
    (version,) = Store().versions("sentiment")
    (folder / "sentiment" / version / "manifest.json").write_text("{}")
    assert wardgate("models", "verify", "sentiment", "--folder", folder).code == 1
    assert wardgate("models", "verify", "sentiment").code == 0


def test_every_model_is_listed_and_checked_though_one_is_bad(wardgate, folder) -> None:
    for name in ("Bad-Name", "other"):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1" / "manifest.json").write_text("{}")
    for command in ("list", "verify"):
        done = wardgate("models", command, "--folder", folder)
        assert done.code == 1
        assert "sentiment" in done.out
        assert "other" in done.err
        assert "Bad-Name" not in done.out + done.err  # no model can be called so


@pytest.mark.parametrize("name", ["absent", "../sentiment", ""])
def test_a_name_that_is_none_is_a_mistake(wardgate, name) -> None:
    done = wardgate("models", "verify", name)
    assert done.code == 2
    assert "No such model" in done.err


def test_a_model_is_trusted_once_it_is_signed_by_a_key_of_the_settings(
    wardgate, tmp_path, monkeypatch
) -> None:
    entry(tmp_path / "models")
    place = ("--folder", tmp_path / "models", "--state", tmp_path / "state")
    done = wardgate("models", "verify", "tiny", *place)
    assert (done.code, done.err) == (1, "tiny 1: The model is refused: not signed.\n")

    made = wardgate("models", "keygen", tmp_path / "own.key")
    assert stat.S_IMODE((tmp_path / "own.key").stat().st_mode) == 0o600
    name, _, value = made.out.strip().partition("=")
    assert name == "WARDGATE_REGISTRY__TRUSTED_KEYS"
    done = wardgate("models", "sign", "tiny", "1", "--key", tmp_path / "own.key", *place)
    assert done.code == 0, done.err
    assert "tiny 1: sha256:" in done.out
    done = wardgate("models", "verify", "tiny", *place)
    assert done.code == 1
    assert "a key that is not trusted here" in done.err
    assert "a key that is not trusted here" in wardgate("models", "list", *place).out

    monkeypatch.setenv(name, value.strip("'"))
    assert "files as declared, signed by" in wardgate("models", "verify", "tiny", *place).out


def test_one_model_that_cannot_be_read_hides_no_other(wardgate, tmp_path) -> None:
    entry(tmp_path / "models")
    (tmp_path / "models" / "gone").symlink_to(tmp_path / "nowhere")
    place = ("--folder", tmp_path / "models", "--state", tmp_path / "state")
    done = wardgate("models", "list", *place)
    assert (done.code, done.err) == (1, "gone: expected a folder, and no link.\n")
    assert [line.split()[0] for line in done.out.splitlines()] == ["sentiment", "tiny"]
    done = wardgate("models", "verify", *place)
    assert done.code == 1
    assert "gone: expected a folder, and no link.\ntiny 1: The model is refused" in done.err
    assert "sentiment" in done.out
    done = wardgate("models", "verify", "sentiment", *place)  # and is nothing to it
    assert (done.code, done.err) == (0, "")
    assert wardgate("models", "verify", "gone", *place).code == 1
    done = wardgate("models", "verify", "nonesuch", *place)
    assert (done.code, "No such model: nonesuch." in done.err) == (2, True)


def test_a_key_is_made_once_and_never_over_another(wardgate, tmp_path) -> None:
    assert wardgate("models", "keygen", tmp_path / "own.key").code == 0
    before = (tmp_path / "own.key").read_bytes()
    done = wardgate("models", "keygen", tmp_path / "own.key")
    assert done.code == 2
    assert "cannot be made (File exists)" in done.err
    assert (tmp_path / "own.key").read_bytes() == before


def test_what_is_not_as_declared_is_not_signed(wardgate, tmp_path) -> None:
    home = entry(tmp_path / "models")
    (home / "model.onnx").write_bytes(b"grapH")
    wardgate("models", "keygen", tmp_path / "own.key")
    done = wardgate(
        "models",
        "sign",
        "tiny",
        "1",
        "--key",
        tmp_path / "own.key",
        "--folder",
        tmp_path / "models",
    )
    assert done.code == 2
    assert "SHA-256" in done.err
    assert not (home / "signature.json").exists()


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (None, 0o644, "open to others"),
        (b"", 0o600, "no private key"),
        (b"rubbish", 0o600, "no private key"),
    ],
)
def test_a_key_file_that_is_not_fit_is_refused(wardgate, tmp_path, content, mode, said) -> None:
    entry(tmp_path / "models")
    key = tmp_path / "own.key"
    wardgate("models", "keygen", key)
    if content is not None:
        key.write_bytes(content)
    key.chmod(mode)
    done = wardgate("models", "sign", "tiny", "1", "--key", key, "--folder", tmp_path / "models")
    assert done.code == 2
    assert said in done.err


def test_a_shipped_model_or_none_is_not_signed(wardgate, tmp_path) -> None:
    key = tmp_path / "own.key"
    wardgate("models", "keygen", key)
    (version,) = Store().versions("sentiment")
    done = wardgate("models", "sign", "sentiment", version, "--key", key, "--state", tmp_path)
    assert done.code == 2
    assert "needs no signature" in done.err
    assert wardgate("models", "sign", "none", "1", "--key", key, "--state", tmp_path).code == 2


def test_the_options_go_on_top_of_the_settings(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("WARDGATE_REGISTRY__FOLDER", str(tmp_path / "env"))
    assert read_settings(None, None, None).registry.folder == tmp_path / "env"
    found = read_settings(tmp_path / "state", tmp_path / "own", "memory://x")
    assert (found.state, found.registry.folder) == (tmp_path / "state", tmp_path / "own")
    assert found.registry.url == "memory://x"


def test_the_group_shows_all_its_commands() -> None:
    shown = CliRunner().invoke(models, ["--help"]).output
    assert all(command in shown for command in ("add", "keygen", "list", "sign", "verify"))
