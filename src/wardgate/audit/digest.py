"""The keyed digest under which a request's body is known to the audit.

A plain hash of a short note can be found by trying notes; a keyed one cannot without the key
(HMAC-SHA-256, RFC 2104). The same body gives the same digest as long as the state folder lives.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path
from typing import Final

from wardgate.audit.keys import secret_file
from wardgate.errors import StateInvalid

DIGEST_FILE: Final = "audit-digest.key"
_KEY_BYTES: Final = 32
"""As long as the hash, RFC 2104 §3."""


class BodyDigest:
    """Digests bodies under the key of one state folder."""

    __slots__ = ("_key",)

    def __init__(self, folder: Path) -> None:
        """Read the key, made if there is none. Raises StateInvalid where that fails."""
        self._key = secret_file(folder / DIGEST_FILE, lambda: os.urandom(_KEY_BYTES))
        if len(self._key) != _KEY_BYTES:
            raise StateInvalid(f"{DIGEST_FILE} in the state folder is damaged.")

    def __call__(self, body: bytes) -> str:
        """Return the digest of `body`: 64 hex digits."""
        return hmac.digest(self._key, body, "sha256").hex()
