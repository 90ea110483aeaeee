"""Strict base64url and JSON: one way to write each value, so that two readers never disagree.

Refused here: padding, whitespace and other stray characters, non-zero trailing bits, a duplicate
member at any level, `NaN` and `Infinity`, anything but UTF-8, nesting that exhausts the parser.
"""

from __future__ import annotations

import binascii
import json
from typing import Any, NoReturn

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_LAST_OF_ONE = frozenset(b"AQgw")  # two characters carry one byte: the low four bits are zero
_LAST_OF_TWO = frozenset(b"AEIMQUYcgkosw048")  # three carry two bytes: the low two bits are zero


def decode(text: bytes) -> bytes:
    """Decode canonical base64url without padding (RFC 7515 §2, RFC 4648 §3.5).

    Raises ValueError where `text` is not what encoding the result would give.
    """
    if text.translate(None, _ALPHABET):
        raise ValueError("not base64url")
    rest = len(text) % 4
    if rest == 1:
        raise ValueError("not a length of base64url")
    if rest and text[-1] not in (_LAST_OF_ONE if rest == 2 else _LAST_OF_TWO):  # noqa: PLR2004
        raise ValueError("unused bits are not zero")
    return binascii.a2b_base64(text.translate(_TO_STANDARD) + b"=" * (-rest % 4))


def encode(data: bytes) -> str:
    """Encode as base64url without padding (RFC 7515 §2)."""
    return binascii.b2a_base64(data, newline=False).decode().rstrip("=").translate(_TO_URL)


_TO_URL = str.maketrans("+/", "-_")


class DuplicateMemberError(ValueError):
    """A JSON object names a member twice; readers differ on which one counts (RFC 8725 §2.4)."""


def load_object(data: bytes) -> dict[str, Any]:
    """Read one JSON object from UTF-8 bytes.

    Raises DuplicateMemberError for a member named twice at any level, and ValueError for anything
    else that is not exactly one JSON object.
    """
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except RecursionError:
        raise ValueError("nests too deep") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 -- callers handle one kind of error
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateMemberError("a member is named twice")
    return members


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
