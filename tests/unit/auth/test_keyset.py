from __future__ import annotations

import json
import random
from math import prod
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import get_default_algorithms

from wardgate.auth import encoding
from wardgate.auth.keyset import MAX_KEYS, parse_key_set
from wardgate.auth.roca import PRIMES
from wardgate.errors import KeysUnavailable


def reason(jwks: Any) -> str:
    with pytest.raises(KeysUnavailable) as caught:
        parse_key_set(jwks)
    return caught.value.reason


def integer(value: int) -> str:
    return encoding.encode(value.to_bytes((value.bit_length() + 7) // 8))


def test_keys_of_each_kind_are_read(es256, es384, eddsa, rs256) -> None:
    signers = (es256, es384, eddsa, rs256)
    for jwks in (
        {"keys": [signer.jwk for signer in signers]},
        json.dumps({"keys": [signer.jwk for signer in signers]}).encode(),
    ):
        found = parse_key_set(jwks)
        assert set(found.by_id) == {signer.jwk["kid"] for signer in signers}
        for signer in signers:
            key = found.by_id[signer.jwk["kid"]]
            assert (
                key.public.public_bytes_raw() == signer.key.public_key().public_bytes_raw()
                if (signer is eddsa)
                else key.public.public_numbers() == signer.key.public_key().public_numbers()
            )
            assert signer.algorithm in key.algorithms
    assert found.by_id["key-ES256"].algorithms == {"ES256"}
    assert found.by_id["key-RS256"].algorithms == {
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    }  # fmt: skip


def test_alg_narrows_a_key_to_one_algorithm(rs256) -> None:
    (key,) = parse_key_set({"keys": [{**rs256.jwk, "alg": "PS384"}]}).keys
    assert key.algorithms == {"PS384"}


@pytest.mark.parametrize(
    ("jwks", "expected"),
    [
        (b"", "keys-json"),
        (b"[]", "keys-json"),
        (b'{"keys":[],"keys":[]}', "keys-json"),
        (b" " * 262_145, "keys-too-large"),
        ({}, "keys-form"),
        ({"keys": {}}, "keys-form"),
        ({"keys": ["x"]}, "keys-form"),
        ({"keys": []}, "keys-none-usable"),
        ({"keys": [{"kty": "new"}] * (MAX_KEYS + 1)}, "keys-too-many"),
        ({"keys": [{"kty": "new"}]}, "keys-none-usable"),
        ({"keys": [{}]}, "key-kty"),
        ({"keys": [{"kty": 1}]}, "key-kty"),
    ],
)
def test_a_set_that_is_none_is_refused(jwks: Any, expected: str) -> None:
    assert reason(jwks) == expected


EC_CHANGES = [
    ({"kty": "oct", "k": "AAAA"}, "key-symmetric"),
    ({"kty": "RSA"}, "key-disagrees"),
    ({"kty": "OKP"}, "key-disagrees"),
    ({"crv": None}, "key-disagrees"),
    ({"crv": 1}, "key-disagrees"),
    ({"crv": "P-384"}, "key-value"),
    ({"crv": "secp256k1"}, "keys-none-usable"),
    ({"alg": "ES384"}, "key-disagrees"),
    ({"alg": "RS256"}, "key-disagrees"),
    ({"alg": "HS256"}, "key-disagrees"),
    ({"alg": "dir"}, "key-disagrees"),
    ({"alg": None}, "key-disagrees"),
    ({"alg": "none"}, "keys-none-usable"),
    ({"alg": "ECDH-ES"}, "keys-none-usable"),
    ({"use": "enc"}, "keys-none-usable"),
    ({"use": 1}, "key-disagrees"),
    ({"key_ops": "verify"}, "key-disagrees"),
    ({"key_ops": [1]}, "key-disagrees"),
    ({"key_ops": ["verify", "verify"]}, "key-disagrees"),
    ({"key_ops": []}, "keys-none-usable"),
    ({"key_ops": ["encrypt"]}, "keys-none-usable"),
    ({"use": "sig", "key_ops": ["encrypt"]}, "key-disagrees"),
    ({"use": "enc", "key_ops": ["verify"]}, "key-disagrees"),
    ({"d": "AAAA"}, "key-private"),
    ({"k": "AAAA"}, "key-private"),
    ({"n": "AAAA"}, "key-disagrees"),
    ({"e": "AQAB"}, "key-disagrees"),
    ({"kid": 1}, "key-kid"),
    ({"kid": ""}, "key-kid"),
    ({"kid": None}, "key-kid"),
    ({"x": "AAAA"}, "key-value"),
    ({"x": encoding.encode(bytes(32))}, "key-value"),
    ({"x": encoding.encode(bytes(33))}, "key-value"),
    ({"y": encoding.encode(b"\x01" * 32)}, "key-value"),
    ({"y": "é"}, "key-value"),
    ({"y": None}, "key-value"),
]


@pytest.mark.parametrize(("change", "expected"), EC_CHANGES)
def test_an_elliptic_key_at_odds_with_itself_is_refused(es256, change, expected) -> None:
    assert reason({"keys": [{**es256.jwk, **change}]}) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"y": "AAAA"}, "key-disagrees"),
        ({"crv": "P-256"}, "key-disagrees"),
        ({"crv": "Ed448"}, "keys-none-usable"),
        ({"crv": "X25519"}, "keys-none-usable"),
        ({"x": encoding.encode(bytes(31))}, "key-value"),
        ({"alg": "ES256"}, "key-disagrees"),
    ],
)
def test_an_edwards_key_at_odds_with_itself_is_refused(eddsa, change, expected) -> None:
    # `crv: P-256` with `kty: OKP` is a curve of another kind: left out, or refused by its `alg`.
    jwk = {**eddsa.jwk, **change}
    if change == {"crv": "P-256"}:
        assert reason({"keys": [jwk]}) == "keys-none-usable"
        jwk["alg"] = "EdDSA"
    assert reason({"keys": [jwk]}) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"crv": "P-256"}, "key-disagrees"),
        ({"x": "AAAA"}, "key-disagrees"),
        ({"alg": "ES256"}, "key-disagrees"),
        ({"alg": "RSA-OAEP"}, "keys-none-usable"),
        ({"e": "Aw"}, "key-value"),
        ({"e": integer(65_538)}, "key-value"),
        ({"e": integer((1 << 32) + 1)}, "key-value"),
        ({"e": "AAEAAQ"}, "key-value"),
        ({"e": ""}, "key-value"),
        ({"p": "AQAB"}, "key-private"),
        ({"oth": []}, "key-private"),
        ({"n": integer((1 << 2_047) - 1)}, "key-rsa-size"),
        ({"n": integer((1 << 8_192) + 1)}, "key-rsa-size"),
        ({"n": integer((1 << 2_047) + 2)}, "key-value"),
        ({"n": encoding.encode(b"\x00" + b"\xff" * 256)}, "key-value"),
        ({"n": 1}, "key-value"),
    ],
)
def test_a_weak_or_wrong_rsa_key_is_refused(rs256, change, expected) -> None:
    assert reason({"keys": [{**rs256.jwk, **change}]}) == expected


def test_short_rsa_keys_are_refused_at_the_boundary() -> None:
    short = rsa.generate_private_key(65_537, 1_024).public_key()
    jwk = json.loads(get_default_algorithms()["RS256"].to_jwk(short))
    jwk.pop("key_ops")
    assert reason({"keys": [jwk]}) == "key-rsa-size"


def test_the_fingerprint_of_the_faulty_library_is_refused(rs256) -> None:
    product, rng = prod(PRIMES), random.Random(7)
    least = 3 * (1 << 1_022) // product  # both factors above sqrt(1/2), so that 2048 bits are full
    p, q = (
        (least + rng.getrandbits(99)) * product + pow(65_537, rng.getrandbits(99), product)
        for _ in range(2)
    )
    assert reason({"keys": [{**rs256.jwk, "n": integer(p * q)}]}) == "key-rsa-weak"


def test_one_bad_key_refuses_the_set_but_a_foreign_one_is_left_out(es256, rs256) -> None:
    oct_key = {"kty": "oct", "k": "AAAA", "kid": "s"}
    assert reason({"keys": [es256.jwk, oct_key]}) == "key-symmetric"
    encryption = {**rs256.jwk, "use": "enc", "alg": "RSA-OAEP"}
    found = parse_key_set({"keys": [es256.jwk, encryption, {"kty": "new", "kid": "n"}]})
    assert set(found.by_id) == {"key-ES256"}


def test_no_kid_occurs_twice_even_on_a_key_left_out(es256, rs256) -> None:
    other = {**rs256.jwk, "use": "enc", "kid": es256.jwk["kid"]}
    assert reason({"keys": [es256.jwk, other]}) == "keys-duplicate-kid"


def test_a_key_without_kid_is_kept_but_not_named() -> None:
    key = ec.generate_private_key(ec.SECP521R1()).public_key()
    jwk = json.loads(get_default_algorithms()["ES512"].to_jwk(key))
    jwk.pop("key_ops", None)
    found = parse_key_set({"keys": [jwk]})
    assert not found.by_id
    assert found.keys[0].algorithms == {"ES512"}
