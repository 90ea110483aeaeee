"""Keys of what is derived from a person: one secret, and from it a key for each purpose.

The keys of two tenants, of two projects and of two patients have nothing in common (HMAC-SHA-256,
RFC 2104, as a pseudorandom function), so nothing derived under one can be linked to another.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final

from wardgate.errors import SettingsInvalid
from wardgate.types import PHI

BYTES: Final = 32
"""Length of the secret and of every key."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The keys of one text: those of its project, and those of whom it is about."""

    project: bytes = field(repr=False)
    """Of the project within the tenant: what shall be the same for everybody in it."""
    person: bytes = field(repr=False)
    """Of the patient within that; where none was named, of the text alone."""


@dataclass(frozen=True, slots=True)
class Secret:
    """The secret that all keys come from: 32 random bytes. Whoever has it can undo what it made."""

    root: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Raise SettingsInvalid where the secret is no 32 bytes."""
        if len(self.root) != BYTES:
            raise SettingsInvalid(f"The secret of derived values is {BYTES} random bytes.")

    def subject(self, *, project: str, tenant: str, patient: PHI | None, text: str) -> Subject:
        """Return the keys of a text.

        With a patient they are the same in all texts that name the same one. Without, they are the
        same only in texts that are equal.
        """
        shared = mac(mac(mac(self.root, "tenant", tenant), "project", project), "shared", "")
        if patient is not None:
            return Subject(shared, mac(shared, "patient", patient.reveal()))
        return Subject(shared, mac(shared, "text", text))


def mac(key: bytes, purpose: str, value: str) -> bytes:
    """Return the HMAC-SHA-256 of a value for a purpose of our own wording: 32 bytes."""
    said = f"wardgate deid {purpose}\0{value}"
    return hmac.digest(key, said.encode("utf-8", "surrogatepass"), "sha256")
