"""JSON Web Key Sets of token issuers: public signature keys, each strong and free of contradiction.

A set with anything in it that must never be there (a symmetric or private key, a weak RSA key, two
keys of one name, a key at odds with itself) is refused whole: its issuer is broken or tampered
with. A key for another use, or of a kind unknown here, is left out (RFC 7517 §5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from wardgate.auth import encoding
from wardgate.auth.roca import is_weak
from wardgate.errors import KeysUnavailable

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

ALGORITHMS: Mapping[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Signature algorithms that can be used at all, with the `kty` and `crv` of their keys.

RFC 7518 §3.1 and RFC 8037 §3.1. `none` and the symmetric ones are not in it.
"""

MAX_BYTES = 262_144
"""Largest key set read, bytes."""
MAX_KEYS = 100
"""Most keys in a set."""
RSA_BITS = range(2_048, 8_193)
"""RSA sizes: 2048 is the least of RFC 7518 §3.3; beyond 8192 a check costs too much."""
RSA_EXPONENTS = range(65_537, 1 << 32)
"""Public exponents: FIPS 186-5 §5.4 asks for more than 2^16; larger ones only cost time."""

_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_FOREIGN = {
    "RSA": frozenset({"crv", "x", "y"}),
    "EC": frozenset({"n", "e"}),
    "OKP": frozenset({"n", "e", "y"}),
}
_CURVES: Mapping[str, tuple[type[ec.EllipticCurve], int]] = {
    "P-256": (ec.SECP256R1, 32),
    "P-384": (ec.SECP384R1, 48),
    "P-521": (ec.SECP521R1, 66),
}
"""Curve and length of a coordinate in bytes (RFC 7518 §6.2.1)."""
_SYMMETRIC = ("HS", "A1", "A2", "dir")


@dataclass(frozen=True, slots=True)
class Key:
    """A public key and the algorithms that it may be used with."""

    key_id: str | None
    algorithms: frozenset[str]
    public: PublicKey


@dataclass(frozen=True, slots=True)
class KeySet:
    """An issuer's keys, at least one; no `kid` occurs twice."""

    keys: tuple[Key, ...]
    by_id: Mapping[str, Key] = field(repr=False)


def parse_key_set(jwks: bytes | Mapping[str, Any]) -> KeySet:
    """Read a JSON Web Key Set.

    Raises KeysUnavailable with a reason that starts with `keys-` for the set as a whole and with
    `key-` for one of its keys.
    """
    if isinstance(jwks, bytes):
        if len(jwks) > MAX_BYTES:
            _refuse("keys-too-large")
        try:
            jwks = encoding.load_object(jwks)
        except ValueError:
            _refuse("keys-json")
    entries = jwks.get("keys")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        _refuse("keys-form")
    if len(entries) > MAX_KEYS:
        _refuse("keys-too-many")
    names = [entry["kid"] for entry in entries if "kid" in entry]
    if not all(isinstance(name, str) and name for name in names):
        _refuse("key-kid")
    if len(set(names)) != len(names):
        _refuse("keys-duplicate-kid")
    keys = tuple(key for key in map(_parse_key, entries) if key is not None)
    if not keys:
        _refuse("keys-none-usable")
    return KeySet(keys, {key.key_id: key for key in keys if key.key_id is not None})


def _parse_key(entry: Mapping[str, Any]) -> Key | None:
    """Return the key, or None where it is for another use or of a kind unknown here."""
    kind, curve = entry.get("kty"), entry.get("crv")
    if not isinstance(kind, str):
        _refuse("key-kty")
    if kind == "oct":
        _refuse("key-symmetric")
    if not _PRIVATE.isdisjoint(entry):
        _refuse("key-private")
    if kind not in _FOREIGN:
        return None
    if not _FOREIGN[kind].isdisjoint(entry) or (kind != "RSA" and not isinstance(curve, str)):
        _refuse("key-disagrees")
    algorithms = _algorithms(entry, kind, curve)
    if not algorithms or not _for_signatures(entry):
        return None
    try:
        public = _PARSERS[kind](entry)
    except (ValueError, UnsupportedAlgorithm):
        _refuse("key-value")
    return Key(entry.get("kid"), algorithms, public)


def _algorithms(entry: Mapping[str, Any], kind: str, curve: str | None) -> frozenset[str]:
    """Return the algorithms that `alg`, `kty` and `crv` agree on; none if they are not ours."""
    fitting = frozenset(name for name, needs in ALGORITHMS.items() if needs == (kind, curve))
    if "alg" not in entry:
        return fitting
    declared = entry["alg"]
    if not isinstance(declared, str) or declared.startswith(_SYMMETRIC):
        _refuse("key-disagrees")
    if declared in ALGORITHMS and declared not in fitting:
        _refuse("key-disagrees")
    return fitting & {declared}


def _for_signatures(entry: Mapping[str, Any]) -> bool:
    """Whether `use` and `key_ops` allow checking signatures (RFC 7517 §4.2, §4.3)."""
    use, operations = entry.get("use", "sig"), entry.get("key_ops", ["verify"])
    if not isinstance(use, str) or not isinstance(operations, list):
        _refuse("key-disagrees")
    if not all(isinstance(name, str) for name in operations):
        _refuse("key-disagrees")
    if len(set(operations)) != len(operations):
        _refuse("key-disagrees")
    by_use, by_operations = use == "sig", "verify" in operations
    if "use" in entry and "key_ops" in entry and by_use != by_operations:
        _refuse("key-disagrees")
    return by_use and by_operations


def _parse_rsa(entry: Mapping[str, Any]) -> PublicKey:
    modulus, exponent = _integer(entry.get("n")), _integer(entry.get("e"))
    if modulus.bit_length() not in RSA_BITS:
        _refuse("key-rsa-size")
    if exponent not in RSA_EXPONENTS or not modulus & 1:
        _refuse("key-value")
    if is_weak(modulus):
        _refuse("key-rsa-weak")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _parse_ec(entry: Mapping[str, Any]) -> PublicKey:
    curve, length = _CURVES[entry["crv"]]
    x, y = _octets(entry.get("x"), length), _octets(entry.get("y"), length)
    # The library refuses a point that is not on the curve.
    return ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve()).public_key()


def _parse_okp(entry: Mapping[str, Any]) -> PublicKey:
    return ed25519.Ed25519PublicKey.from_public_bytes(_octets(entry.get("x"), 32))


_PARSERS = {"RSA": _parse_rsa, "EC": _parse_ec, "OKP": _parse_okp}


def _octets(text: object, length: int | None = None) -> bytes:
    if not isinstance(text, str) or not text.isascii():
        raise ValueError("not base64url")
    data = encoding.decode(text.encode())
    if length is not None and len(data) != length:
        raise ValueError("wrong length")
    return data


def _integer(text: object) -> int:
    """Read a Base64urlUInt: big-endian, no leading zero octet (RFC 7518 §2)."""
    data = _octets(text)
    if not data or data[0] == 0:
        raise ValueError("not the shortest form")
    return int.from_bytes(data)


def _refuse(reason: str) -> NoReturn:
    raise KeysUnavailable(reason=reason)
