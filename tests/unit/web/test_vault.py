"""Where the vault of a state folder lies, and when its key is made."""

from __future__ import annotations

import os
import stat

import pytest

from wardgate.deid.codes import Value, read
from wardgate.deid.detector import Detector
from wardgate.deid.vault_seal import Order
from wardgate.errors import StateInvalid
from wardgate.setting_groups import Vault as VaultSettings
from wardgate.settings import Settings
from wardgate.types import EntityType
from wardgate.web.vault import open_store, open_vault

ORDER = Order("clinic", "p", [Value(EntityType.NAME, "John Quill")])


def test_the_key_is_made_with_the_vault_and_is_ours_alone(tmp_path) -> None:
    open_store(tmp_path, VaultSettings()).close()
    key = tmp_path / "vault.key"
    assert len(key.read_bytes()) == 32
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "vault").stat().st_mode) == 0o700
    before = key.read_bytes()
    open_store(tmp_path, VaultSettings()).close()
    assert key.read_bytes() == before


def test_no_new_key_is_made_beside_a_vault(tmp_path) -> None:
    open_store(tmp_path, VaultSettings()).close()
    (tmp_path / "vault.key").unlink()
    with pytest.raises(StateInvalid, match=r"vault\.key is not there"):
        open_store(tmp_path, VaultSettings())
    assert not (tmp_path / "vault.key").exists()


def test_a_key_file_that_is_named_must_be_there(tmp_path) -> None:
    named = VaultSettings(key_file=tmp_path / "mounted" / "key")
    with pytest.raises(StateInvalid, match="is not there"):
        open_store(tmp_path / "state", named)
    assert not (tmp_path / "mounted").exists()
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "key").touch(0o600)
    (tmp_path / "mounted" / "key").write_bytes(os.urandom(32))
    open_store(tmp_path / "state", named).close()
    assert not (tmp_path / "state" / "vault.key").exists()


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_key_is_refused(tmp_path, content) -> None:
    (tmp_path / "vault.key").touch(0o600)
    (tmp_path / "vault.key").write_bytes(content)
    with pytest.raises(StateInvalid, match="32 bytes"):
        open_store(tmp_path, VaultSettings())


def test_a_key_open_to_others_is_refused(tmp_path) -> None:
    open_store(tmp_path, VaultSettings()).close()
    (tmp_path / "vault.key").chmod(0o640)
    with pytest.raises(StateInvalid, match="open to others"):
        open_store(tmp_path, VaultSettings())


def test_another_key_does_not_open_the_vault(tmp_path) -> None:
    open_store(tmp_path, VaultSettings()).close()
    (tmp_path / "vault.key").write_bytes(os.urandom(32))
    with pytest.raises(StateInvalid, match="another key-encryption key"):
        open_store(tmp_path, VaultSettings())


def test_days_and_bounds_are_those_of_the_settings(tmp_path) -> None:
    store = open_store(tmp_path, VaultSettings(days=1, codes=1))
    (codes,) = store.put([ORDER])
    (full,) = store.put([Order("clinic", "p", [Value(EntityType.NAME, "Adam Bell")])])
    assert full.reason == "vault-full"
    begun = store._clock()
    store._clock = lambda: begun + 86_400 - 2
    assert store.get("clinic", [read(codes[0])])[0].text == "John Quill"
    store._clock = lambda: begun + 86_400 + 1
    (again,) = store.put([ORDER])
    assert again != codes
    store.close()


async def test_the_vault_of_a_gateway_goes_by_its_settings(tmp_path) -> None:
    detector = Detector(
        "safe_harbor_vault", pseudonym_key=b"k" * 32, inline_chars=8_192, processes=0, vault=True
    )
    settings = Settings(state=tmp_path, vault={"queue": 3, "release_codes": 2})
    vault = open_vault(settings, policy=detector.chosen, pseudonym=detector.pseudonym)
    vault.start()
    assert (vault._room, vault._most_released) == (3, 2)
    await vault.close()
