"""The vault's keys: one data key for each tenant, wrapped by the key-encryption key of the site.

A wrapped data key lies in a file of its own, not in the store of codes: putting back an old copy of
the store does not bring back a key that was destroyed, and a destroyed key is one small file that
is written over and unlinked. Both the key that seals values and the key of the index come from the
data key, so that with it everything about a tenant's values is gone at once.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wardgate.errors import StateInvalid, VaultUnavailable

KEY_BYTES: Final = 32
"""AES-256."""
NONCE_BYTES: Final = 12
"""NIST SP 800-38D §8.2: 96 random bits for each message."""
_WRAPPED: Final = NONCE_BYTES + KEY_BYTES + 16
_ID: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class TenantKey:
    """A tenant's data key, unwrapped."""

    id: str
    seal: AESGCM = field(repr=False)
    """Seals values."""
    index: bytes = field(repr=False)
    """Keys the index by which a value is found again."""


class KeyFolder:
    """The folder of wrapped data keys. Safe to use from several processes."""

    def __init__(self, folder: Path, key_encryption_key: bytes) -> None:
        """Open it, made if there is none. Raises StateInvalid."""
        if len(key_encryption_key) != KEY_BYTES:
            raise StateInvalid("The vault's key-encryption key is not 32 bytes long.")
        try:
            for each in (folder.parent, folder):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateInvalid(
                f"The vault's key folder cannot be made: {error.strerror}."
            ) from None
        self._folder = folder
        self._wrap = AESGCM(key_encryption_key)
        self.wrapped_by = hmac.digest(key_encryption_key, b"wardgate vault key id", "sha256").hex()[
            :16
        ]
        """Id of the key-encryption key; tells nothing of the key."""

    def make(self, tenant: str) -> str:
        """Make a data key for a tenant, durable on return; return its id. Raises OSError."""
        name = secrets.token_hex(8)
        nonce = os.urandom(NONCE_BYTES)
        wrapped = nonce + self._wrap.encrypt(
            nonce, os.urandom(KEY_BYTES), self._bound(tenant, name)
        )
        draft = self._folder / f".{name}.new"
        try:
            with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as to:
                to.write(wrapped)
                to.flush()
                os.fsync(to.fileno())
            draft.rename(self._folder / name)
            self._sync()
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        return name

    def open(self, tenant: str, name: str) -> TenantKey:
        """Unwrap a tenant's data key.

        Raises VaultUnavailable where it is gone, or was wrapped for another tenant or by another
        key.
        """
        try:
            wrapped = (self._folder / name).read_bytes() if _ID.fullmatch(name) else b""
            data_key = self._wrap.decrypt(
                wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], self._bound(tenant, name)
            )
        except (OSError, InvalidTag, ValueError):
            raise VaultUnavailable(reason="vault-key", retry_after=60.0) from None
        return TenantKey(
            name,
            AESGCM(_derived(data_key, b"wardgate vault seal")),
            _derived(data_key, b"wardgate vault index"),
        )

    def destroy(self, name: str) -> None:
        """Write over a data key and unlink it; one that is gone already is well. Raises OSError."""
        path = self._folder / name
        if not _ID.fullmatch(name) or not path.exists():
            return
        with path.open("r+b") as file:
            file.write(os.urandom(_WRAPPED))
            file.flush()
            os.fsync(file.fileno())
        path.unlink(missing_ok=True)
        self._sync()

    def _bound(self, tenant: str, name: str) -> bytes:
        """Return what a wrapped key is bound to."""
        return joined(b"wardgate vault data key", self.wrapped_by, name, tenant)

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def joined(*parts: str | bytes) -> bytes:
    """Return the parts as bytes, each led by its length: no two lists of parts give the same."""
    raw = [p.encode("utf-8", "surrogatepass") if isinstance(p, str) else p for p in parts]
    return b"".join(len(each).to_bytes(4, "big") + each for each in raw)


def _derived(key: bytes, info: bytes) -> bytes:
    """Return the first block of HKDF-Expand (RFC 5869 §2.3); `key` is random and needs no more."""
    return hmac.digest(key, info + b"\x01", "sha256")
