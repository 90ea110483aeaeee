from __future__ import annotations

import errno
import os
import uuid

import fsspec
import pytest

from unit.registry.conftest import FILES, entry
from wardgate.errors import ManifestInvalid, RegistryUnavailable
from wardgate.registry import publish
from wardgate.registry.remote import Remote
from wardgate.registry.signature import sign
from wardgate.registry.store import Store


def test_an_entry_is_there_whole_and_never_changed(tmp_path):
    publish.put(str(tmp_path), "tiny", "1", entry())
    assert dict(Store([tmp_path], allow_unsigned=True).load("tiny").files) == FILES
    with pytest.raises(ManifestInvalid, match="version 1 is there already"):
        publish.put(str(tmp_path), "tiny", "1", entry())
    publish.put(str(tmp_path), "tiny", "2", entry(version="2"))
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == ["1", "2"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("wardgate.registry.publish.os.fsync", full)
    with pytest.raises(RegistryUnavailable, match=r"tiny: it cannot be written \(No space left"):
        publish.put(str(tmp_path), "tiny", "1", entry())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "version"),
    [("../tiny", "1"), ("tiny", "../1"), ("tiny", ".."), ("", "1"), ("a/b", "1")],
)
def test_names_that_could_leave_the_folder_are_refused(tmp_path, name, version):
    with pytest.raises(ManifestInvalid, match="not fit"):
        publish.put(str(tmp_path / "models"), name, version, entry())
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_place_of_a_models_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ManifestInvalid, match="no link"):
        publish.put(str(tmp_path / "models"), "tiny", "1", entry())
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_signature_goes_beside_and_replaces_an_older_one(tmp_path, signer, stranger):
    publish.put(str(tmp_path), "tiny", "1", entry(sign=stranger))
    store = Store([tmp_path], trusted=[signer.text])
    raw = store.inspect("tiny").raw
    publish.put_signature(str(tmp_path), "tiny", "1", sign(raw, signer.key))
    assert store.load("tiny").signed.key_id == signer.id
    with pytest.raises(RegistryUnavailable):
        publish.put_signature(str(tmp_path), "tiny", "9", b"")


def test_a_url_takes_entries_and_signatures(tmp_path, signer):
    url = f"memory://{uuid.uuid4().hex}"
    publish.put(url, "tiny", "1", entry())
    with pytest.raises(ManifestInvalid, match="there already"):
        publish.put(url, "tiny", "1", entry())
    store = Store([Remote(url, tmp_path)], trusted=[signer.text])
    publish.put_signature(url, "tiny", "1", sign(store.inspect("tiny").raw, signer.key))
    assert store.load("tiny").signed.key_id == signer.id


def test_a_storage_that_breaks_off_shows_no_version(tmp_path, monkeypatch):
    url = f"memory://{uuid.uuid4().hex}"
    fs = fsspec.filesystem("memory")
    written = fs.pipe_file

    def broken(path, value, **more):
        if path.endswith("manifest.json"):
            raise ConnectionError("secret-host.example")
        written(path, value, **more)

    monkeypatch.setattr(fs, "pipe_file", broken)
    with pytest.raises(RegistryUnavailable, match="did not take version 1") as refused:
        publish.put(url, "tiny", "1", entry())
    assert "secret-host" not in refused.value.detail
    monkeypatch.undo()
    assert not [path for path in fs.find(url) if not path.endswith("/")]
    publish.put(url, "tiny", "1", entry())
