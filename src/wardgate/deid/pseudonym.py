"""Keyed pseudonyms of patient references, for the audit record alone.

The same patient has the same pseudonym within a tenant and another in every other tenant
(HMAC-SHA-256, RFC 2104, 256 bits), so that a record can be searched by patient without naming one.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from wardgate.types import PHI


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Makes pseudonyms under one key of 32 bytes."""

    key: bytes = field(repr=False)

    def __call__(self, patient: PHI, *, tenant: str) -> str:
        """Return the pseudonym of a patient reference within a tenant: 64 hex digits."""
        tenant_key = hmac.digest(self.key, tenant.encode(), "sha256")
        return hmac.digest(tenant_key, patient.reveal().encode(), "sha256").hex()
