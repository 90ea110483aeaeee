"""Data keys: wrapped, bound to their tenant, and gone when they are destroyed."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid.vault_keys import KEY_BYTES, KeyFolder, joined
from wardgate.errors import StateInvalid, VaultUnavailable

KEK = os.urandom(KEY_BYTES)


def test_a_key_is_found_again_and_is_the_tenants_own(tmp_path) -> None:
    folder = KeyFolder(tmp_path / "keys", KEK)
    name = folder.make("clinic")
    first, again = (
        folder.open("clinic", name),
        KeyFolder(tmp_path / "keys", KEK).open("clinic", name),
    )
    assert first.index == again.index
    assert again.seal.decrypt(b"0" * 12, first.seal.encrypt(b"0" * 12, b"x", b""), b"") == b"x"
    assert folder.open("other", folder.make("other")).index != first.index
    assert first.index.hex() not in repr(first)


def test_files_are_ours_alone(tmp_path) -> None:
    folder = KeyFolder(tmp_path / "keys", KEK)
    path = tmp_path / "keys" / folder.make("clinic")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_key_opens_for_its_tenant_by_its_name_and_under_its_wrapping_key_alone(tmp_path) -> None:
    folder = KeyFolder(tmp_path / "keys", KEK)
    name, other = folder.make("clinic"), folder.make("clinic")
    with pytest.raises(VaultUnavailable):
        folder.open("other", name)
    with pytest.raises(VaultUnavailable):
        KeyFolder(tmp_path / "keys", os.urandom(KEY_BYTES)).open("clinic", name)
    (tmp_path / "keys" / other).write_bytes((tmp_path / "keys" / name).read_bytes())
    with pytest.raises(VaultUnavailable):
        folder.open("clinic", other)
    for wrong in ("", "../vault.key", "0" * 16, name + "\n"):
        with pytest.raises(VaultUnavailable):
            folder.open("clinic", wrong)


def test_a_damaged_key_does_not_open(tmp_path) -> None:
    folder = KeyFolder(tmp_path / "keys", KEK)
    name = folder.make("clinic")
    path = tmp_path / "keys" / name
    content = path.read_bytes()
    for damaged in (b"", content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(damaged)
        with pytest.raises(VaultUnavailable) as refused:
            folder.open("clinic", name)
        assert refused.value.reason == "vault-key"


def test_a_destroyed_key_is_written_over_and_gone(tmp_path) -> None:
    folder = KeyFolder(tmp_path / "keys", KEK)
    name = folder.make("clinic")
    path = tmp_path / "keys" / name
    before = path.read_bytes()
    kept = tmp_path / "same-inode"
    kept.hardlink_to(path)
    folder.destroy(name)
    assert not path.exists()
    assert kept.read_bytes() != before
    folder.destroy(name)
    with pytest.raises(VaultUnavailable):
        folder.open("clinic", name)


def test_destroy_touches_no_other_file(tmp_path) -> None:
    folder = KeyFolder(tmp_path / "keys", KEK)
    outside = tmp_path / "vault.key"
    outside.write_bytes(b"x")
    folder.destroy("../vault.key")
    assert outside.read_bytes() == b"x"


def test_a_wrapping_key_of_another_length_is_refused(tmp_path) -> None:
    with pytest.raises(StateInvalid):
        KeyFolder(tmp_path / "keys", b"short")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(StateInvalid):
        KeyFolder(tmp_path / "keys", KEK)


def test_the_id_of_a_wrapping_key_is_not_the_key(tmp_path) -> None:
    first = KeyFolder(tmp_path / "a", KEK).wrapped_by
    assert first == KeyFolder(tmp_path / "b", KEK).wrapped_by
    assert first != KeyFolder(tmp_path / "c", os.urandom(KEY_BYTES)).wrapped_by
    assert first not in KEK.hex()


parts = st.lists(st.one_of(st.text(max_size=4), st.binary(max_size=4)), max_size=4)


@given(parts, parts)
def test_two_lists_of_parts_never_join_to_the_same(one, other) -> None:
    def raw(part):
        return part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part

    assert (joined(*one) == joined(*other)) == (list(map(raw, one)) == list(map(raw, other)))
