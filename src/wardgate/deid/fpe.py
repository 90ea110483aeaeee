"""Numbers encrypted into numbers of the same form: FF1 of NIST SP 800-38G, from `libffx`.

The same number under the same key is always the same other number, and comes back with the key. A
number that is too short has no such form: it keeps its tag (SP 800-38G Rev. 1 asks for at least a
million possible values).
"""

from __future__ import annotations

import importlib.util
import math
import string
from typing import TYPE_CHECKING

from wardgate.types import EntityType

if TYPE_CHECKING:
    from ffx import FF1

SMALLEST = 1_000_000
"""Possible values of the smallest domain (NIST SP 800-38G Rev. 1, second draft, §5.1)."""


def available() -> bool:
    """Whether the library is there: the extra `wardgate[fpe]`."""
    return importlib.util.find_spec("ffx") is not None


class Encryption:
    """Format-preserving encryption under one key of 32 bytes (AES-256)."""

    def __init__(self, key: bytes) -> None:
        """Take the key. Raises ImportError where the library is not installed."""
        from ffx import FF1  # noqa: PLC0415 -- an extra

        self._digits: FF1 = FF1(key, radix=10)

    def encrypt(self, label: EntityType, value: str) -> str | None:
        """Return the value with other letters and digits, or None where it has too few.

        Signs, and whether a letter is a capital, stay where they are. The type is the tweak.
        """
        return self._run(label, value, encrypt=True)

    def decrypt(self, label: EntityType, value: str) -> str | None:
        """Return what `encrypt` made `value` of; None where it can be nothing of its."""
        return self._run(label, value, encrypt=False)

    def _run(self, label: EntityType, value: str, *, encrypt: bool) -> str | None:
        if not value.isascii():
            return None
        plain = "".join(c for c in value if c.isalnum()).lower()
        sizes = [10 if c.isdigit() else 26 for c in plain]
        domain = math.prod(sizes)
        if domain < SMALLEST:
            return None
        tweak = label.value.encode("ascii")
        if plain.isdigit():
            run = self._digits.encrypt if encrypt else self._digits.decrypt
            new = run(plain, tweak=tweak)
        else:
            # a number in a mixed radix: each place keeps its kind, and cycle walking stays within
            number = 0
            for char, size in zip(plain, sizes, strict=True):
                number = number * size + _ALPHABET[size].index(char)
            walk = self._digits.encrypt_int if encrypt else self._digits.decrypt_int
            number = walk(number, domain=domain, tweak=tweak)
            spelt = []
            for size in reversed(sizes):
                number, at = divmod(number, size)
                spelt.append(_ALPHABET[size][at])
            new = "".join(reversed(spelt))
        fresh = iter(new)
        return "".join(
            (n.upper() if c.isupper() else n) if c.isalnum() and (n := next(fresh)) else c
            for c in value
        )


_ALPHABET = {10: string.digits, 26: string.ascii_lowercase}
