"""The fingerprint of RSA keys made by a faulty Infineon library (ROCA, CVE-2017-15361).

Its primes have the form `k*M + (65537**a mod M)` with M a product of the first primes, so that the
modulus is a power of 65537 modulo M. Such a key can be factored. Source: Nemec, Sys, Svenda,
Klinec, Matyas, "The Return of Coppersmith's Attack", ACM CCS 2017, §2.
"""

from __future__ import annotations

from itertools import combinations
from math import gcd

GENERATOR = 65_537
PRIMES = (
    2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
)  # fmt: skip
"""The 39 primes whose product is M for the shortest keys; it divides M for all longer ones."""


def _logarithms(prime: int) -> dict[int, int]:
    """Map each power of 65537 modulo `prime` to its smallest exponent."""
    powers: dict[int, int] = {}
    value = 1 % prime
    while value not in powers:
        powers[value] = len(powers)
        value = value * GENERATOR % prime
    return powers


_LOGARITHMS = {prime: _logarithms(prime) for prime in PRIMES}


def is_weak(modulus: int) -> bool:
    """Whether `modulus` is a power of 65537 modulo every prime, with one common exponent.

    True for every key of the faulty library; for a sound key the chance is about 2**-154.
    """
    residues: list[tuple[int, int]] = []
    for prime, powers in _LOGARITHMS.items():
        exponent = powers.get(modulus % prime)
        if exponent is None:
            return False
        residues.append((exponent, len(powers)))
    # Congruences have a common solution exactly where each two of them agree.
    return all(
        (first - second) % gcd(order, other) == 0
        for (first, order), (second, other) in combinations(residues, 2)
    )
