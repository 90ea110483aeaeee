"""The vault of a state folder: where its key lies, and how it is opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from wardgate.audit.keys import secret_file
from wardgate.deid.policy import Policy
from wardgate.deid.vault import Vault
from wardgate.deid.vault_keys import KEY_BYTES
from wardgate.deid.vault_store import VaultStore
from wardgate.errors import StateInvalid
from wardgate.setting_groups import Vault as VaultSettings
from wardgate.settings import Settings

FOLDER: Final = "vault"
KEY_FILE: Final = "vault.key"
_DAY: Final = 86_400


def open_vault(
    settings: Settings,
    *,
    policy: Callable[[str, str], Policy],
    pseudonym: Callable[..., str],
) -> Vault:
    """Open the vault of one gateway process. Raises StateInvalid."""
    return Vault(
        open_store(settings.state, settings.vault),
        policy=policy,
        pseudonym=pseudonym,
        queue=settings.vault.queue,
        most_released=settings.vault.release_codes,
    )


def open_store(state: Path, settings: VaultSettings) -> VaultStore:
    """Open the store of a state folder. Raises StateInvalid."""
    return VaultStore(
        state / FOLDER,
        _key(state, settings.key_file),
        seconds=settings.days * _DAY,
        most=settings.codes,
    )


def _key(state: Path, named: Path | None) -> bytes:
    """Return the key-encryption key; made only where there is no vault yet and none was named.

    A key made anew beside a vault would look like a start that went well, and open nothing.
    """
    path = named or state / KEY_FILE
    if (named is not None or (state / FOLDER).exists()) and not path.exists():
        raise StateInvalid(f"The vault's key-encryption key {path.name} is not there.")
    return secret_file(path, lambda: os.urandom(KEY_BYTES))
