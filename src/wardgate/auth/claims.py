"""What an access token says, checked once its signature holds (RFC 7519, RFC 9068).

Required: `typ` in the header; `iss`, `aud`, `exp`, `sub`, `jti` in the payload. Read where present:
`nbf`, `iat`, `scope` or `scp`, `client_id` or `azp`, `tenant`. All other claims are ignored and go
no further. An ID token is refused by its `typ`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from wardgate.auth import encoding
from wardgate.errors import TokenInvalid

MAX_STRING = 255
"""Longest `iss`, `sub`, `jti`, `client_id` or entry of `aud`, characters."""
MAX_AUDIENCES = 16
"""Most entries of `aud`."""
MAX_SCOPES = 64
"""Most scopes of a token."""
MAX_DATE = 253_402_300_799
"""Last second of the year 9999: a later date is a mistake, such as milliseconds."""
DEFAULT_TENANT = "default"
"""The tenant of a token that names none."""
NO_CLIENT = ""
"""The client of a token that names none."""

TENANT = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
"""A tenant's name: a DNS label with underscores, so that it can stand in a path or a file name."""
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")
"""One scope: `scope-token` of RFC 6749 §3.3, of bounded length."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims that Wardgate reads."""

    issuer: str
    subject: str
    audience: tuple[str, ...]
    token_id: str
    client: str
    """`client_id` or `azp`; empty where the token names none."""
    tenant: str
    scopes: frozenset[str]
    """As the token spells them; also scopes unknown here."""
    expires_at: float
    """Unix seconds; the token is no good from this moment on."""
    not_before: float
    """Unix seconds; 0 where the token sets no start."""


def check(
    payload: bytes,
    header: Mapping[str, Any],
    *,
    issuer: str,
    audience: str,
    token_types: Iterable[str],
    leeway: float,
    now: float,
) -> Claims:
    """Check the claims of a token whose signature holds.

    `leeway` (seconds) is allowed on `nbf` and `iat` alone: `exp` gets none. `now` is Unix seconds.

    Raises TokenInvalid: `typ-refused`, `claims-json`, `claims-duplicate`, `<claim>-missing`,
    `<claim>-invalid`, `iss-refused`, `aud-refused`, `expired`, `not-yet-valid`, `iat-future`,
    `client-disagrees`.
    """
    _check_type(header, token_types)
    claims = load(payload)
    found = Claims(
        issuer=_string(claims, "iss"),
        subject=_string(claims, "sub"),
        audience=_audience(claims),
        token_id=_string(claims, "jti"),
        client=_client(claims),
        tenant=_tenant(claims),
        scopes=_scopes(claims),
        expires_at=_date(claims, "exp"),
        not_before=_date(claims, "nbf") if "nbf" in claims else 0.0,
    )
    if found.issuer != issuer:
        _refuse("iss-refused")
    if audience not in found.audience:
        _refuse("aud-refused")
    if now >= found.expires_at:  # RFC 7519 §4.1.4: "on or after which"
        _refuse("expired")
    if now + leeway < found.not_before:
        _refuse("not-yet-valid")
    if "iat" in claims and now + leeway < _date(claims, "iat"):
        _refuse("iat-future")
    return found


def load(payload: bytes) -> dict[str, Any]:
    """Read the claims as they stand; no claim may occur twice at any level (RFC 7519 §4).

    Raises TokenInvalid with the reason `claims-json` or `claims-duplicate`.
    """
    try:
        return encoding.load_object(payload)
    except encoding.DuplicateMemberError:
        _refuse("claims-duplicate")
    except ValueError:
        _refuse("claims-json")


def _check_type(header: Mapping[str, Any], token_types: Iterable[str]) -> None:
    """Only access tokens (RFC 9068 §2.1); media types ignore case (RFC 7515 §4.1.9)."""
    kind = header.get("typ")
    if not isinstance(kind, str) or not kind.isascii():
        _refuse("typ-refused")
    if kind.lower() not in {name.lower() for name in token_types}:
        _refuse("typ-refused")


def is_name(value: object) -> bool:
    """Whether `value` can be an identity: bounded, without control characters or surrogates."""
    return isinstance(value, str) and 0 < len(value) <= MAX_STRING and value.isprintable()


def _string(claims: Mapping[str, Any], name: str) -> str:
    if name not in claims:
        _refuse(f"{name}-missing")
    value: Any = claims[name]
    if not is_name(value):
        _refuse(f"{name}-invalid")
    return str(value)


def _date(claims: Mapping[str, Any], name: str) -> float:
    """Read a NumericDate: seconds as an integer or a finite fraction (RFC 7519 §2); no bool."""
    if name not in claims:
        _refuse(f"{name}-missing")
    value: Any = claims[name]
    if type(value) not in (int, float) or not 0 <= value <= MAX_DATE:  # bool, NaN, infinity fail
        _refuse(f"{name}-invalid")
    return float(value)


def _audience(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Read `aud`: a string or a list of strings (RFC 7519 §4.1.3)."""
    if "aud" not in claims:
        _refuse("aud-missing")
    value: Any = claims["aud"]
    entries = value if isinstance(value, list) else [value]
    if not 0 < len(entries) <= MAX_AUDIENCES or not all(map(is_name, entries)):
        _refuse("aud-invalid")
    return tuple(entries)


def _client(claims: Mapping[str, Any]) -> str:
    """Read `client_id` (RFC 9068 §2.2) or `azp`; where both are there they agree."""
    named = [_string(claims, name) for name in ("client_id", "azp") if name in claims]
    if len(set(named)) > 1:
        _refuse("client-disagrees")
    return named[0] if named else NO_CLIENT


def _tenant(claims: Mapping[str, Any]) -> str:
    value: Any = claims.get("tenant", DEFAULT_TENANT)
    if not isinstance(value, str) or not TENANT.fullmatch(value):
        _refuse("tenant-invalid")
    return value


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Read `scope`, a string with spaces (RFC 8693 §4.2), or `scp`, that or a list of strings."""
    if "scope" in claims and "scp" in claims:
        _refuse("scope-invalid")
    value: Any = claims.get("scope", claims.get("scp", ""))
    if isinstance(value, str):
        entries = value.split(" ") if value else []
    elif isinstance(value, list) and "scp" in claims:
        entries = value
    else:
        _refuse("scope-invalid")
    if len(entries) > MAX_SCOPES:
        _refuse("scope-invalid")
    if not all(isinstance(entry, str) and SCOPE.fullmatch(entry) for entry in entries):
        _refuse("scope-invalid")
    return frozenset(entries)


def _refuse(reason: str) -> NoReturn:
    raise TokenInvalid(reason=reason)
