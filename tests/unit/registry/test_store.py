from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny_models
from unit.registry.conftest import FILES, put
from wardgate.errors import ManifestInvalid, ModelUnknown, ModelUntrusted
from wardgate.registry import signature
from wardgate.registry.store import SHIPPED, SUMS, Store, natural, open_store


def lax(*folders):
    return Store(folders, allow_unsigned=True)


def test_a_model_comes_with_the_bytes_that_were_verified(tmp_path, signer):
    home = put(tmp_path, sign=signer)
    (home / "unnamed.bin").write_bytes(b"not in the manifest")
    model = Store([tmp_path], trusted=[signer.text]).load("tiny")
    assert dict(model.files) == FILES
    assert model.graph == b"graph"
    assert model.tokenizer == b"words"
    assert model.labels == ("no", "yes")
    assert model.max_length == 64
    assert model.id == model.manifest.id
    assert model.signed.state == "signed"
    assert hashlib.sha256(model.raw).hexdigest() == model.id.digest
    assert model.signature == (home / "signature.json").read_bytes()


def test_the_highest_version_in_natural_order_is_taken(tmp_path):
    for version in ("1", "1.9", "1.10", "1.2"):
        put(tmp_path, version=version)
    store = lax(tmp_path)
    assert store.versions("tiny") == ["1", "1.2", "1.9", "1.10"]
    assert store.load("tiny").id.version == "1.10"
    assert store.load("tiny", "1.9").id.version == "1.9"
    with pytest.raises(ModelUnknown):
        store.load("tiny", "3")


@given(st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,8}", fullmatch=True), min_size=2))
def test_natural_order_is_an_order(versions):
    ordered = sorted(versions, key=natural)
    assert all(natural(a) <= natural(b) for a, b in itertools.pairwise(ordered))


def test_the_first_place_that_has_the_name_gives_the_default_version(tmp_path):
    put(tmp_path / "own", version="2")
    put(tmp_path / "other", version="3")
    store = lax(tmp_path / "none", tmp_path / "own", tmp_path / "other")
    assert store.load("tiny").id.version == "2"
    assert store.load("tiny", "3").id.version == "3"
    assert store.versions("tiny") == ["2", "3"]


def test_the_first_place_that_has_a_version_gives_it_though_it_is_broken(tmp_path):
    home = put(tmp_path / "own")
    put(tmp_path / "other")
    (home / "model.onnx").write_bytes(b"wrong")
    with pytest.raises(ManifestInvalid):
        lax(tmp_path / "own", tmp_path / "other").load("tiny")


@pytest.mark.parametrize(
    "name", ["other", "", "../tiny", "tiny/", "/etc", "a\0b", "TINY", "tiny/1"]
)
def test_a_name_that_no_folder_has_is_unknown(tmp_path, name):
    put(tmp_path / "models")
    put(tmp_path)
    with pytest.raises(ModelUnknown):
        lax(tmp_path / "models").load(name)


@pytest.mark.parametrize("version", ["2", "", "..", "../1", "1/", "/", ".", "1\0"])
def test_a_version_that_is_none_is_unknown(tmp_path, version):
    put(tmp_path)
    with pytest.raises(ModelUnknown):
        lax(tmp_path).load("tiny", version)


@pytest.mark.parametrize("content", [b"graph!", b"grap", b"grapH", b""])
def test_a_file_that_was_changed_is_refused(tmp_path, content):
    put(tmp_path, FILES | {"model.onnx": content})
    with pytest.raises(ManifestInvalid, match=r"model\.onnx"):
        lax(tmp_path).load("tiny")


def test_a_file_that_is_missing_is_refused(tmp_path):
    (put(tmp_path) / "model.onnx").unlink()
    with pytest.raises(ManifestInvalid, match=r"model\.onnx: expected a readable file"):
        lax(tmp_path).load("tiny")


def test_a_manifest_of_another_name_or_version_is_refused(tmp_path):
    put(tmp_path)
    (tmp_path / "tiny" / "1").rename(tmp_path / "tiny" / "2")
    with pytest.raises(ManifestInvalid, match="version: expected '2'"):
        lax(tmp_path).load("tiny")
    (tmp_path / "tiny").rename(tmp_path / "renamed")
    with pytest.raises(ManifestInvalid, match="name: expected 'renamed'"):
        lax(tmp_path).load("renamed")


@pytest.mark.parametrize("file", ["model.onnx", "manifest.json"])
def test_a_link_is_refused_wherever_it_points(tmp_path, file):
    home = put(tmp_path)
    (home / file).rename(tmp_path / "elsewhere")
    (home / file).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ManifestInvalid, match="no link"):
        lax(tmp_path).load("tiny")


@pytest.mark.parametrize("step", ["tiny", "tiny/1"])
def test_a_linked_model_folder_is_refused(tmp_path, step):
    put(tmp_path / "elsewhere")
    target = tmp_path / "models" / step
    target.parent.mkdir(parents=True)
    target.symlink_to(tmp_path / "elsewhere" / step)
    with pytest.raises(ManifestInvalid, match="no link"):
        lax(tmp_path / "models").load("tiny")


def test_a_pipe_is_refused_and_does_not_hold_up_the_start(tmp_path):
    home = put(tmp_path)
    (home / "model.onnx").unlink()
    os.mkfifo(home / "model.onnx")
    with pytest.raises(ManifestInvalid, match="plain file"):
        lax(tmp_path).load("tiny")


# -- who vouches for it ---------------------------------------------------------------------------


def test_what_nobody_trusted_signed_is_refused_and_none_of_its_files_is_read(
    tmp_path, signer, stranger
):
    store = Store([tmp_path], trusted=[signer.text])
    home = put(tmp_path)
    (home / "model.onnx").unlink()  # reading it would be another error
    with pytest.raises(ModelUntrusted, match="not signed"):
        store.load("tiny")
    (home / "signature.json").write_bytes(
        signature.sign((home / "manifest.json").read_bytes(), stranger.key)
    )
    with pytest.raises(ModelUntrusted, match="a key that is not trusted here"):
        store.load("tiny")


def test_a_signature_moved_over_from_another_model_is_refused(tmp_path, signer):
    store = Store([tmp_path], trusted=[signer.text])
    good = put(tmp_path, sign=signer)
    for other in (
        put(tmp_path, version="2"),
        put(tmp_path, name="other", labels=["no", "maybe"], golden=[
            {"text": "a", "label": "no", "score": 1.0, "tolerance": 0.1}]),
    ):  # fmt: skip
        shutil.copy(good / "signature.json", other / "signature.json")
        with pytest.raises(ModelUntrusted, match="not that of its manifest"):
            store.load(other.parent.name, other.name)


def test_a_signed_entry_under_another_name_or_version_is_refused(tmp_path, signer):
    store = Store([tmp_path], trusted=[signer.text])
    good = put(tmp_path, sign=signer)
    shutil.copytree(good, tmp_path / "tiny" / "2")
    shutil.copytree(good.parent, tmp_path / "other")
    with pytest.raises(ManifestInvalid, match="version: expected '2'"):
        store.load("tiny", "2")
    with pytest.raises(ManifestInvalid, match="name: expected 'other'"):
        store.load("other", "1")


def test_a_signature_that_was_taken_away_is_missed(tmp_path, signer):
    home = put(tmp_path, sign=signer)
    store = Store([tmp_path], trusted=[signer.text])
    assert store.load("tiny").id.name == "tiny"
    (home / "signature.json").unlink()
    with pytest.raises(ModelUntrusted, match="not signed"):
        store.load("tiny")


def test_a_changed_manifest_loses_its_signature(tmp_path, signer):
    home = put(tmp_path, sign=signer)
    path = home / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"tests"', b'"tesst"'))
    with pytest.raises(ModelUntrusted, match="not that of its manifest"):
        Store([tmp_path], trusted=[signer.text]).load("tiny")


@pytest.mark.parametrize(
    ("file", "size"), [("manifest.json", (1 << 20) + 1), ("signature.json", 4097)]
)
def test_a_file_of_too_many_bytes_is_refused(tmp_path, signer, file, size):
    home = put(tmp_path, sign=signer)
    (home / file).write_bytes(b" " * size)
    with pytest.raises(ManifestInvalid, match="larger than"):
        Store([tmp_path], trusted=[signer.text]).load("tiny")


def test_inspecting_and_describing_say_who_vouches_and_serve_nobody(tmp_path, stranger):
    home = put(tmp_path, sign=stranger)
    store = Store([tmp_path])
    assert store.inspect("tiny").signed.state == "unknown-key"
    (home / "model.onnx").write_bytes(b"wrong")
    manifest, signed = store.describe("tiny", "1")
    assert (manifest.version, signed.key_id) == ("1", stranger.id)
    with pytest.raises(ManifestInvalid):
        store.inspect("tiny")


def test_what_only_torch_runs_is_read_where_the_whole_is_asked_for(tmp_path):
    files = {**FILES, "weights.safetensors": b"weights", "config.json": b"{}"}
    home = put(tmp_path, files=files)
    (home / "manifest.json").write_bytes(tiny_models.as_json(tiny_models.manifest(files)))
    store = lax(tmp_path)
    assert store.load("tiny").files.keys() == FILES.keys()
    assert store.load("tiny", whole=True).files.keys() == files.keys()
    assert store.inspect("tiny").files.keys() == files.keys()
    (home / "weights.safetensors").write_bytes(b"Weights")
    assert store.load("tiny").graph == b"graph"
    with pytest.raises(ManifestInvalid, match=r"weights\.safetensors"):
        store.load("tiny", whole=True)


def test_what_cannot_be_read_hides_nothing_else(tmp_path):
    put(tmp_path / "one")
    put(tmp_path / "one", name="elsewhere")
    (tmp_path / "one" / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "one" / "linked").symlink_to(tmp_path / "one" / "elsewhere")
    (tmp_path / "two").write_bytes(b"")
    put(tmp_path / "three", version="2")
    store = lax(tmp_path / "one", tmp_path / "two", tmp_path / "three")
    found, unread = store.survey()
    assert [(each.name, each.version) for each in found] == [
        ("elsewhere", "1"), ("tiny", "1"), ("tiny", "2")]  # fmt: skip
    assert [each.name for each in unread] == ["gone", "linked", ""]
    assert lax(tmp_path / "one").versions("tiny") == ["1"]
    with pytest.raises(ManifestInvalid, match="no link"):
        store.versions("gone")


# -- what is shipped ------------------------------------------------------------------------------


def test_every_shipped_model_verifies_and_its_digest_is_pinned():
    store = Store()
    listed, unread = store.survey()
    assert unread == []
    assert [each.name for each in listed] == ["sentiment"]
    wanted = []
    for each in listed:
        loaded = store.load(each.name, each.version)
        assert loaded.signed.state == "shipped"
        wanted.append(f"{loaded.id.digest}  {each.name}/{each.version}/manifest.json\n")
    # To bring it up to date: sha256sum */*/manifest.json > SHA256SUMS, in the shipped folder.
    assert SUMS.read_text() == "".join(wanted)


def test_a_shipped_model_is_trusted_by_its_digest_alone(tmp_path):
    shutil.copytree(SHIPPED / "sentiment", tmp_path / "sentiment")
    assert Store([tmp_path]).load("sentiment").signed.state == "shipped"
    (version,) = Store().versions("sentiment")
    path = tmp_path / "sentiment" / version / "manifest.json"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ModelUntrusted, match="not signed"):
        Store([tmp_path]).load("sentiment")


def test_a_gateways_store_has_its_folder_its_url_and_the_shipped_models(tmp_path):
    pytest.importorskip("fsspec")
    put(tmp_path / "own", name="one")
    put(tmp_path / "remote", name="two")
    store = open_store(
        folder=tmp_path / "own",
        url=f"file://{tmp_path / 'remote'}",
        cache=tmp_path / "cache",
        trusted=(),
        allow_unsigned=True,
    )
    assert [each.name for each in store.survey()[0]] == ["one", "sentiment", "two"]
    assert store.load("two").graph == b"graph"
    assert Path(tmp_path / "cache").is_dir()
