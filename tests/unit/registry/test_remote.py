from __future__ import annotations

import errno
import hashlib
import os
import stat
import uuid
from pathlib import Path

import fsspec
import pytest

from unit.registry.conftest import FILES, entry, put
from wardgate.errors import ManifestInvalid, ModelUntrusted, RegistryUnavailable, SettingsInvalid
from wardgate.registry.remote import Remote, open_url
from wardgate.registry.store import Store


@pytest.fixture
def bucket():
    """A memory:// URL of its own."""
    url = f"memory://{uuid.uuid4().hex}/models"
    yield url
    fsspec.filesystem("memory").rm(url, recursive=True)


def fill(url, **wishes):
    fs = fsspec.filesystem("memory")
    files = entry(**wishes)
    name, version = wishes.get("name", "tiny"), wishes.get("version", "1")
    for file, content in files.items():
        fs.pipe_file(f"{url}/{name}/{version}/{file}", content)
    return hashlib.sha256(files["manifest.json"]).hexdigest()


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "state" / "models"


@pytest.fixture
def store(bucket, cache, signer) -> Store:
    return Store([Remote(bucket, cache)], trusted=[signer.text])


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_a_model_is_fetched_verified_and_cached(bucket, cache, store, signer):
    digest = fill(bucket, sign=signer)
    fill(bucket, version="2", sign=signer)
    assert store.versions("tiny") == ["1", "2"]
    model = store.load("tiny", "1")
    assert dict(model.files) == FILES
    assert left(cache / digest) == [
        "manifest.json", "model.onnx", "signature.json", "tokenizer.json"]  # fmt: skip
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    fsspec.filesystem("memory").rm_file(f"{bucket}/tiny/1/model.onnx")
    assert store.load("tiny", "1").graph == b"graph"  # from the cache


def test_what_is_not_trusted_is_not_fetched(bucket, cache, store, stranger):
    fill(bucket)
    with pytest.raises(ModelUntrusted):
        store.load("tiny")
    fill(bucket, sign=stranger)
    with pytest.raises(ModelUntrusted):
        store.load("tiny")
    assert not cache.exists()


def test_a_cached_file_that_rotted_is_fetched_again(bucket, cache, store, signer):
    digest = fill(bucket, sign=signer)
    store.load("tiny")
    for wrong in (b"grapH", b"", b"graph and more"):
        (cache / digest / "model.onnx").write_bytes(wrong)
        assert store.load("tiny").graph == b"graph"
    assert (cache / digest / "model.onnx").read_bytes() == b"graph"


def test_a_cached_file_that_is_a_link_is_replaced_and_never_followed(
    bucket, cache, store, signer, tmp_path
):
    digest = fill(bucket, sign=signer)
    store.load("tiny")
    target = tmp_path / "elsewhere"
    target.write_bytes(b"graph")
    (cache / digest / "model.onnx").unlink()
    (cache / digest / "model.onnx").symlink_to(target)
    assert store.load("tiny").graph == b"graph"
    assert not (cache / digest / "model.onnx").is_symlink()
    assert target.read_bytes() == b"graph"


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"grap", RegistryUnavailable, "ended after 4 of 5 bytes"),
        (b"", RegistryUnavailable, "ended after 0 of 5 bytes"),
        (b"grapH", ManifestInvalid, "SHA-256"),
        (b"graph and much more", ManifestInvalid, "larger than the 5 bytes declared"),
    ],
)
def test_a_download_that_is_not_as_declared_leaves_nothing(  # noqa: PLR0917
    bucket, cache, store, signer, content, error, said
):
    fill(bucket, files=FILES | {"model.onnx": content}, sign=signer)
    with pytest.raises(error, match=said):
        store.load("tiny")
    assert left(cache) == []


def test_a_full_disk_leaves_nothing_and_says_so(bucket, cache, store, signer, monkeypatch):
    fill(bucket, sign=signer)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("wardgate.registry.remote.os.fsync", full)
    with pytest.raises(RegistryUnavailable, match=r"cannot be kept in the cache \(No space left"):
        store.load("tiny")
    assert left(cache) == []
    monkeypatch.undo()
    assert store.load("tiny").graph == b"graph"


def test_a_storage_that_breaks_off_leaves_nothing_and_its_words_stay_out(
    bucket, cache, store, signer, monkeypatch
):
    fill(bucket, sign=signer)
    opened = fsspec.implementations.memory.MemoryFile.read

    def broken(self, *arguments):
        if "model.onnx" in str(self.path):
            raise ConnectionError("secret-host.example refused")
        return opened(self, *arguments)

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFile.read", broken)
    with pytest.raises(RegistryUnavailable) as refused:
        store.load("tiny")
    assert refused.value.detail == "model.onnx: the storage did not give it (ConnectionError)."
    assert left(cache) == []


@pytest.mark.parametrize("file", ["manifest.json", "signature.json"])
def test_a_file_without_end_is_not_read_to_its_end(bucket, store, signer, file):
    fill(bucket, sign=signer)
    fsspec.filesystem("memory").pipe_file(f"{bucket}/tiny/1/{file}", b" " * (1 << 21))
    with pytest.raises(ManifestInvalid, match="larger than"):
        store.load("tiny")


def test_names_that_could_leave_the_folder_are_no_names(bucket, store, signer):
    fill(bucket, sign=signer)
    fs = fsspec.filesystem("memory")
    fs.pipe_file(f"{bucket}/Bad Name/1/manifest.json", b"{}")
    fs.pipe_file(f"{bucket}/tiny/.hidden/manifest.json", b"{}")
    found, unread = store.survey()
    assert [(each.name, each.version) for each in found] == [("tiny", "1")]
    assert unread == []


def test_a_place_that_is_empty_has_no_models(cache):
    assert Store([Remote("memory://nothing-here/models", cache)]).survey() == ([], [])


@pytest.fixture
def away(monkeypatch):
    """Take the storage away."""

    def refuse(*_, **__):
        raise ConnectionError("secret-host.example refused")

    def leave() -> None:
        for name in ("ls", "_open"):
            monkeypatch.setattr(f"fsspec.implementations.memory.MemoryFileSystem.{name}", refuse)

    return leave


def kept(bucket, cache, *keys) -> Store:
    return Store([Remote(bucket, cache)], trusted=keys, cache=cache)


def test_a_version_whose_digest_is_known_is_read_while_the_storage_is_away(
    bucket, cache, signer, stranger, away
):
    digest = fill(bucket, sign=signer)
    store = kept(bucket, cache, signer.text)
    assert not store.load("tiny", "1", digest=digest).kept
    away()
    found = store.load("tiny", "1", digest=digest)
    assert (found.kept, found.id.digest, found.graph) == (True, digest, b"graph")
    assert found.signed.key_id == signer.id
    with pytest.raises(RegistryUnavailable):
        store.load("tiny", "1")  # nobody said which bytes
    with pytest.raises(RegistryUnavailable):
        store.load("tiny", "1", digest="0" * 64)
    with pytest.raises(ModelUntrusted):  # today's keys count
        kept(bucket, cache, stranger.text).load("tiny", "1", digest=digest)


@pytest.mark.parametrize(
    ("file", "error"),
    [
        ("manifest.json", RegistryUnavailable),
        ("model.onnx", RegistryUnavailable),
        ("signature.json", ModelUntrusted),
    ],
)
def test_what_is_not_whole_in_the_cache_does_not_serve(  # noqa: PLR0917
    bucket, cache, signer, away, file, error
):
    digest = fill(bucket, sign=signer)
    store = kept(bucket, cache, signer.text)
    store.load("tiny", "1", digest=digest)
    away()
    path = cache / digest / file
    for spoil in (lambda: path.write_bytes(b"rubbish"), path.unlink):
        spoil()
        with pytest.raises(RegistryUnavailable if path.exists() else error):
            store.load("tiny", "1", digest=digest)


def test_a_storage_that_is_away_does_not_hold_up_what_lies_in_a_folder(
    bucket, cache, signer, away, tmp_path
):
    home = put(tmp_path / "shipped", sign=signer)
    digest = hashlib.sha256((home / "manifest.json").read_bytes()).hexdigest()
    store = Store([Remote(bucket, cache), tmp_path / "shipped"], trusted=[signer.text], cache=cache)
    fill(bucket, name="other")
    away()
    assert store.load("tiny", "1", digest=digest).kept
    found, unread = store.survey()
    assert [each.name for each in found] == ["tiny"]
    assert [each.name for each in unread] == [""]
    assert "did not give it" in unread[0].detail


def test_a_full_disk_beside_a_whole_cache_is_no_hindrance(
    bucket, cache, store, signer, monkeypatch
):
    digest = fill(bucket, sign=signer)
    store.load("tiny")
    (cache / digest / "manifest.json").unlink()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("wardgate.registry.remote.os.fsync", full)
    assert store.load("tiny").graph == b"graph"


def test_a_file_url_works_as_a_bucket_does(tmp_path, cache, signer):
    put(tmp_path / "models", sign=signer)
    store = Store([Remote(f"file://{tmp_path / 'models'}", cache)], trusted=[signer.text])
    assert store.load("tiny").graph == b"graph"


@pytest.mark.parametrize(
    "url",
    [
        "/models",
        "models",
        "://x",
        "zip://x::s3://b",
        "simplecache::s3://bucket",
        "s3://key:secret@bucket/models",
        "memory://key:secret@bucket/models",
        "memory://key:se/cret@bucket/models",
        "memory://bucket/models?sig=secret",
        "http://secret@host/models",
        "https://user:secret@host:443/models",
        "nonesuch://bucket",
    ],
)
def test_a_url_that_cannot_be_opened_is_a_wrong_setting(url):
    with pytest.raises(SettingsInvalid, match=r"registry\.url") as refused:
        open_url(url)
    assert "secret" not in refused.value.detail
