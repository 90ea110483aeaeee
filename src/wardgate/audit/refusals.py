"""Calls turned away, counted: bounded in memory and in records whatever a flood sends. Pure.

Known principals are counted apart from unknown callers, who are known by their network alone (/24,
/64), so that an anonymous flood cannot push a principal's refusals out of the record.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final

from wardgate.audit.event import NO_TENANT, Entry, denial_entry, refusals_entry
from wardgate.types import Principal, Refusal

MINUTE_US: Final = 60_000_000
MAX_TEXT: Final = 200
"""Characters kept of any value, so that the size of a record is bounded."""
MAX_ROWS: Final = 256
"""Counts in one record; what comes beyond is counted together."""
MAX_TENANTS: Final = 32
"""Tenants with a record of their own each window; what comes beyond is counted together."""
MAX_DENIALS: Final = 120
"""First denials recorded in a minute; what comes beyond is only counted."""

_Key = tuple[str, str, str, str, str, int, str]


def network(peer: str | None) -> str:
    """Return the network of an address: /24 for IPv4, /64 for IPv6, else `unknown`.

    An IPv4-mapped IPv6 address counts as IPv4 (RFC 4291 §2.5.5.2).
    """
    try:
        address = ipaddress.ip_address((peer or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"
        address = address.ipv4_mapped
    return f"{str(address).rpartition('.')[0]}.0/24"


@dataclass(slots=True)
class _Window:
    """What one tenant was refused since the last record."""

    counts: dict[_Key, int] = field(default_factory=dict)
    others: int = 0

    def add(self, key: _Key) -> None:
        if key in self.counts:
            self.counts[key] += 1
        elif len(self.counts) < MAX_ROWS:
            self.counts[key] = 1
        else:
            self.others += 1


class Refusals:
    """Counts refusals until the next flush; picks the denials that get a record of their own."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}
        self._since = 0
        self._denied: set[tuple[str, ...]] = set()
        self._minute = 0

    def __bool__(self) -> bool:
        return bool(self._windows)

    def add(self, refusal: Refusal, now: int) -> Entry | None:
        """Count a refusal at `now` (microseconds).

        Returns the record to write at once where this is the principal's first denial on the route
        in this minute. Raises ValueError where a value has no UTF-8 form.
        """
        if not self._windows:
            self._since = now
        principal = refusal.principal
        tenant = NO_TENANT if principal is None else _short(principal.tenant)
        if tenant not in self._windows and len(self._windows) >= MAX_TENANTS:
            tenant = NO_TENANT
        self._windows.setdefault(tenant, _Window()).add(_key(refusal))
        if principal is None or not self._first(principal, refusal.route, now):
            return None
        return denial_entry(_shortened(refusal), _short_principal(principal), now)

    def flush(self, now: int) -> list[Entry]:
        """Return one record for each tenant with refusals, and start anew at `now`."""
        entries = [
            refusals_entry(
                tenant, map(_row, window.counts.items()), window.others, self._since, now
            )
            for tenant, window in self._windows.items()
        ]
        self._windows = {}
        return entries

    def _first(self, principal: Principal, route: str, now: int) -> bool:
        if now // MINUTE_US != self._minute:
            self._minute = now // MINUTE_US
            self._denied.clear()
        key = (principal.tenant, principal.issuer, principal.subject, principal.client, route)
        if key in self._denied or len(self._denied) >= MAX_DENIALS:
            return False
        self._denied.add(key)
        return True


def _key(refusal: Refusal) -> _Key:
    principal = refusal.principal
    who = (
        ("", "", "", network(refusal.peer))
        if principal is None
        else (_short(principal.issuer), _short(principal.subject), _short(principal.client), "")
    )
    return (*who, _short(refusal.route), refusal.status, _short(refusal.reason))


def _row(item: tuple[_Key, int]) -> dict[str, object]:
    (issuer, subject, client, source, route, status, reason), count = item
    row: dict[str, object] = {"count": count, "reason": reason, "route": route, "status": status}
    if source:
        return row | {"network": source}
    return row | {"client_id": client, "iss": issuer, "sub": subject}


def _short(text: str) -> str:
    """Cut a value to its bound; lone surrogates, which have no UTF-8 form, become `?`."""
    return text[:MAX_TEXT].encode("utf-8", "replace").decode()


def _shortened(refusal: Refusal) -> Refusal:
    return Refusal(_short(refusal.route), refusal.status, _short(refusal.reason), None, None)


def _short_principal(principal: Principal) -> Principal:
    return Principal(
        issuer=_short(principal.issuer),
        subject=_short(principal.subject),
        client=_short(principal.client),
        tenant=_short(principal.tenant),
        scopes=frozenset(),
        token_id=_short(principal.token_id),
        expires_at=principal.expires_at,
    )
