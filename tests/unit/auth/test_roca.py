from __future__ import annotations

import random
from math import prod

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from wardgate.auth import roca
from wardgate.auth.roca import PRIMES, is_weak


def weak_factor(rng: random.Random, bits: int, primes: tuple[int, ...]) -> int:
    """A number of the form of a faulty prime; the fingerprint does not ask that it be prime."""
    product = prod(primes)
    k = rng.getrandbits(bits - product.bit_length() + 1)
    return k * product + pow(65_537, rng.getrandbits(200), product)


def first_primes(count: int) -> tuple[int, ...]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return tuple(found)


def test_the_primes_are_the_first_39() -> None:
    assert first_primes(39) == PRIMES


@pytest.mark.parametrize(("bits", "count"), [(1024, 126), (1024, 39), (2048, 225), (512, 71)])
def test_moduli_of_the_faulty_form_are_found(bits: int, count: int) -> None:
    rng = random.Random(bits + count)
    for _ in range(20):
        modulus = weak_factor(rng, bits, first_primes(count)) * weak_factor(
            rng, bits, first_primes(count)
        )
        assert is_weak(modulus)


def test_one_faulty_factor_is_not_the_fingerprint() -> None:
    rng = random.Random(1)
    assert not is_weak(weak_factor(rng, 1024, PRIMES) * (rng.getrandbits(1024) | 1))


def test_sound_moduli_are_not_found() -> None:
    rng = random.Random(2)
    assert not any(is_weak(rng.getrandbits(2048) | 1) for _ in range(3_000))
    assert not is_weak(rsa.generate_private_key(65_537, 2_048).public_key().public_numbers().n)


def test_one_residue_that_is_no_power_suffices() -> None:
    product = prod(PRIMES)
    assert 2 not in roca._LOGARITHMS[11]
    modulus = pow(65_537, 5, product)
    others = product // 11
    modulus += others * ((2 - modulus) * pow(others, -1, 11) % 11)
    assert not is_weak(modulus)


def test_residues_that_fit_each_prime_but_share_no_exponent_are_not_found() -> None:
    """Each residue is a power of 65537, but no single exponent gives them all."""
    product = prod(PRIMES)
    modulus = pow(65_537, 5, product)
    # Exchange the residue modulo 11 (where 65537 has an even order) for a power of the other parity.
    assert len(roca._LOGARITHMS[11]) % 2 == 0
    others = product // 11
    modulus += others * ((pow(65_537, 6, 11) - modulus) * pow(others, -1, 11) % 11)
    assert all(modulus % prime in roca._LOGARITHMS[prime] for prime in PRIMES)
    assert not is_weak(modulus)
