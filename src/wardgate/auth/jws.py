"""Signatures of compact JWS tokens, against a key set; knows no claims.

Everything about a token and its key is settled before the signature library sees either: the form
of the token, its header, the algorithm, and the one key that may have signed it. The library then
answers one question with arguments that cannot be confused (RFC 8725 §3.1, §3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from jwt.algorithms import get_default_algorithms

from wardgate.auth import encoding
from wardgate.auth.keyset import ALGORITHMS, Key, KeySet
from wardgate.errors import TokenInvalid

MAX_BYTES = 8_192
"""Longest token taken where the caller sets no other limit."""
MAX_KEY_ID = 256
"""Longest `kid`, characters."""

REFUSED_MEMBERS = frozenset({"crit", "jku", "x5u", "jwk", "x5c", "zip", "b64", "enc"})
"""Header members that change what a token means or bring a key of their own (RFC 7515 §4.1)."""

_LIBRARY = {name: get_default_algorithms()[name] for name in ALGORITHMS}


@dataclass(frozen=True, slots=True)
class Unverified:
    """A well-formed token whose signature nobody has checked yet."""

    header: Mapping[str, Any]
    algorithm: str
    key_id: str | None
    payload: bytes
    signing_input: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """A token whose signature holds."""

    header: Mapping[str, Any]
    payload: bytes
    key_id: str | None
    """`kid` of the key that verified it; None where the key has none."""


def parse(token: str | bytes, *, max_bytes: int = MAX_BYTES) -> Unverified:
    """Take a compact JWS apart: three parts in canonical base64url, a header with no surprises.

    Raises TokenInvalid with a reason that starts with `token-` or `header-`.
    """
    try:
        raw = token.encode("ascii") if isinstance(token, str) else bytes(token)
    except UnicodeEncodeError:
        _refuse("token-encoding")
    if len(raw) > max_bytes:
        _refuse("token-too-long")
    parts = raw.split(b".")
    if len(parts) != 3:  # noqa: PLR2004 -- RFC 7515 §7.1
        _refuse("token-parts")
    try:
        head, payload, signature = map(encoding.decode, parts)
    except ValueError:
        _refuse("token-encoding")
    if not signature:
        _refuse("token-unsigned")
    header = _header(head)
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        _refuse("header-alg")
    if key_id is not None and not (isinstance(key_id, str) and 0 < len(key_id) <= MAX_KEY_ID):
        _refuse("header-kid")
    return Unverified(
        header, algorithm, key_id, payload, raw[: len(raw) - len(parts[2]) - 1], signature
    )


def check_signature(
    token: Unverified, keys: KeySet, *, algorithms: frozenset[str] | None = None
) -> Verified:
    """Check the signature with the only key of the set that can have made it.

    `algorithms` narrows what is accepted; a key's own algorithms always hold.
    Raises TokenInvalid with the reason `alg-refused`, `alg-disagrees`, `key-unknown`,
    `key-ambiguous` or `signature`.
    """
    algorithm = token.algorithm
    if algorithm not in ALGORITHMS or (algorithms is not None and algorithm not in algorithms):
        _refuse("alg-refused")
    key = _find(token, keys)
    try:
        holds = _LIBRARY[algorithm].verify(token.signing_input, key.public, token.signature)
    except Exception:  # noqa: BLE001 -- whatever a signature makes the library raise, it is no good
        holds = False
    if holds is not True:
        _refuse("signature")
    return Verified(token.header, token.payload, key.key_id)


def verify(
    token: str | bytes,
    keys: KeySet,
    *,
    algorithms: frozenset[str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Verified:
    """Parse a token and check its signature.

    Raises TokenInvalid with the reasons of `parse` and `check_signature`.
    """
    return check_signature(parse(token, max_bytes=max_bytes), keys, algorithms=algorithms)


def _header(data: bytes) -> dict[str, Any]:
    try:
        header = encoding.load_object(data)
    except encoding.DuplicateMemberError:
        _refuse("header-duplicate")
    except ValueError:
        _refuse("header-json")
    if not REFUSED_MEMBERS.isdisjoint(header):
        _refuse("header-member")
    return header


def _find(token: Unverified, keys: KeySet) -> Key:
    """Return the one key that fits; never try several (RFC 8725 §3.1)."""
    if token.key_id is not None:
        key = keys.by_id.get(token.key_id)
        if key is None:
            _refuse("key-unknown")
        if token.algorithm not in key.algorithms:
            _refuse("alg-disagrees")
        return key
    fitting = [key for key in keys.keys if token.algorithm in key.algorithms]
    if len(fitting) > 1:
        _refuse("key-ambiguous")
    if not fitting:
        _refuse("key-unknown")
    return fitting[0]


def _refuse(reason: str) -> NoReturn:
    raise TokenInvalid(reason=reason)
