from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from wardgate.auth.keys import FileKeys, StaticKeys
from wardgate.errors import KeysUnavailable

NOW = 1_800_000_000.0


def write(path: Path, *jwks: dict[str, Any]) -> None:
    """Replace the file as a careful writer does; the new inode shows even at the same mtime."""
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({"keys": jwks}))
    draft.replace(path)


def test_static_keys(es256) -> None:
    keys = StaticKeys({"keys": [es256.jwk]})
    assert set(keys.load().by_id) == {"key-ES256"}
    assert keys.generation(NOW) == keys.generation(NOW + 1e6)
    with pytest.raises(KeysUnavailable):
        StaticKeys({"keys": []})


def test_a_file_is_read_and_read_again_once_changed(tmp_path: Path, es256, es384) -> None:
    path = tmp_path / "jwks.json"
    write(path, es256.jwk)
    keys = FileKeys(path)
    first = keys.generation(NOW)
    loaded = keys.load()
    assert set(loaded.by_id) == {"key-ES256"}
    assert keys.load() is loaded
    assert keys.generation(NOW + 5) == first
    write(path, es384.jwk)
    assert keys.generation(NOW + 5.5) == first  # looked at once a second
    second = keys.generation(NOW + 6)
    assert second != first
    assert set(keys.load().by_id) == {"key-ES384"}
    assert keys.generation(NOW + 60) == second


def test_a_file_changed_in_place_is_noticed(tmp_path: Path, es256) -> None:
    path = tmp_path / "jwks.json"
    write(path, es256.jwk)
    keys = FileKeys(path)
    first = keys.generation(NOW)
    os.utime(path, ns=(1, 1))
    assert keys.generation(NOW + 1) != first


def test_a_clock_set_back_does_not_stop_the_looks(tmp_path: Path, es256, es384) -> None:
    path = tmp_path / "jwks.json"
    write(path, es256.jwk)
    keys = FileKeys(path)
    first = keys.generation(NOW)
    write(path, es384.jwk)
    assert keys.generation(NOW - 3_600) != first


def test_what_cannot_be_read_gives_no_keys(tmp_path: Path, es256) -> None:
    path = tmp_path / "jwks.json"
    keys = FileKeys(path)
    missing = keys.generation(NOW)
    with pytest.raises(KeysUnavailable) as caught:
        keys.load()
    assert caught.value.reason == "keys-unreadable"
    write(path, es256.jwk)
    good = keys.generation(NOW + 1)
    assert good != missing
    assert keys.load()
    path.write_text("{")
    assert keys.generation(NOW + 2) != good
    with pytest.raises(KeysUnavailable) as caught:
        keys.load()
    assert caught.value.reason == "keys-json"
    path.unlink()
    keys.generation(NOW + 3)
    with pytest.raises(KeysUnavailable):  # the last good keys are not kept
        keys.load()
    path.mkdir()
    with pytest.raises(KeysUnavailable):
        keys.load()


def test_a_file_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(b" " * 1_000_000)
    with pytest.raises(KeysUnavailable) as caught:
        FileKeys(path).load()
    assert caught.value.reason == "keys-too-large"
