"""How a value is sealed, and what that binds it to (AES-256-GCM, NIST SP 800-38D).

What is sealed is bound to its tenant and to all the rest of its row: one that is moved, renamed,
made to live longer, or to be found by another value, does not open.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag

from wardgate.deid.codes import Value
from wardgate.deid.vault_keys import NONCE_BYTES, TenantKey, joined
from wardgate.errors import VaultUnavailable
from wardgate.types import EntityType

_PAD: Final = 32
"""Values are padded to a multiple of this many bytes: a length may tell a name."""


@dataclass(frozen=True, slots=True)
class Order:
    """The values of one request that shall have codes."""

    tenant: str
    patient: str
    """Keyed pseudonym of the patient; empty where the request names none."""
    values: Sequence[Value]
    own: bytes = b""
    """Where no patient is named: random bytes of this request alone, so that its codes are never
    found again by another's."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a code stands for."""

    label: EntityType
    text: str = field(repr=False)
    patient: str
    """Keyed pseudonym of the patient; empty where the request named none."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a sealed value stands beside in its row."""

    code: bytes
    found_by: bytes
    expires: int

    def bound(self, tenant: str, label: EntityType) -> bytes:
        """Return what the sealed value is bound to."""
        expires = self.expires.to_bytes(8, "big")
        return joined(b"wardgate vault value", tenant, label, self.code, self.found_by, expires)


def index(key: TenantKey, order: Order, value: Value) -> bytes:
    """Return what a value is found again by; without the key it tells nothing of the value."""
    scope = joined(order.patient, order.own)
    return hmac.digest(key.index, joined(scope, value.label, value.normal), "sha256")


def seal(key: TenantKey, order: Order, value: Value, row: Row) -> bytes:
    """Return value and patient, sealed."""
    content = joined(order.patient, value.text)
    content += bytes(-len(content) % _PAD)
    nonce = os.urandom(NONCE_BYTES)
    return nonce + key.seal.encrypt(nonce, content, row.bound(order.tenant, value.label))


def unseal(key: TenantKey, tenant: str, label: EntityType, row: Row, sealed: bytes) -> Kept:
    """Return what was sealed. Raises VaultUnavailable where it does not open."""
    try:
        content = key.seal.decrypt(
            sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], row.bound(tenant, label)
        )
    except (InvalidTag, ValueError):
        raise VaultUnavailable(reason="vault-tampered", retry_after=60.0) from None
    parts: list[str] = []
    for _ in range(2):
        size = int.from_bytes(content[:4], "big")
        parts.append(content[4 : 4 + size].decode("utf-8", "surrogatepass"))
        content = content[4 + size :]
    return Kept(label, text=parts[1], patient=parts[0])
