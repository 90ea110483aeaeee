"""What a request's head must look like: the checks that both protocols share. Pure.

The parsers below (llhttp, h2) refuse bad framing by themselves. This module refuses what they let
through and what two servers in a row could read differently (request smuggling, RFC 9112 §11.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Headers = list[tuple[bytes, bytes]]
"""Names in lower case, in the order they came."""

_TARGET = re.compile(
    rb"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]++|%[0-9A-Fa-f]{2})*+(?:\?[!-~]*+)?", re.ASCII
)
"""origin-form: absolute-path [ "?" query ], RFC 9112 §3.2.1; queries may hold any visible ASCII."""

_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
"""uri-host [ ":" port ], RFC 9110 §7.2; never empty: this server has a name or an address."""

_METHOD = re.compile(rb"[A-Z]{1,20}(?:-[A-Z]{1,20})?")


_FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})


def target_ok(method: bytes, target: bytes) -> bool:
    """Tell whether the target is in origin-form, or `*` for OPTIONS; no other form is served.

    Absolute-form and authority-form are for proxies (RFC 9112 §3.2.2, §3.2.3), which this is not.
    """
    if method == b"CONNECT":
        return False
    if target == b"*":
        return method == b"OPTIONS"
    return _TARGET.fullmatch(target) is not None and b"#" not in target


@dataclass(frozen=True, slots=True)
class Framing:
    """What an HTTP/1 head says about the body that follows."""

    header: bytes
    """The header line that frames the body; empty where there is none."""
    expects: bool
    """The caller waits for `100 Continue`."""


def framing(headers: Headers, *, version: str) -> Framing | None:
    """Read host and framing of an HTTP/1 head; None refuses it (RFC 9112 §3.2, §6.1, §6.3).

    One well-formed host (none is fine in HTTP/1.0); a body by content-length or by the one transfer
    coding `chunked`, never both, never twice; chunked is not known to HTTP/1.0.
    """
    hosts: list[bytes] = []
    header = b""
    expects = False
    for name, value in headers:
        if name not in _FRAMING:
            continue
        if name == b"host":
            hosts.append(value)
        elif name == b"expect":
            if value.lower() != b"100-continue":
                return None
            expects = version == "1.1"
        elif header:
            return None
        elif name == b"content-length":
            if not value.isdigit():
                return None
            header = b"content-length: " + value
        elif value.lower() == b"chunked" and version == "1.1":
            header = b"transfer-encoding: chunked"
        else:
            return None
    return Framing(header, expects) if host_ok(hosts, required=version == "1.1") else None


@dataclass(frozen=True, slots=True)
class Head:
    """An accepted HTTP/2 head, as HTTP/1 would write it: the authority stands in `host`."""

    method: bytes
    target: bytes
    headers: Headers

    @property
    def size(self) -> int:
        """Bytes as HTTP/1 would need them."""
        return size(self.headers, extra=len(self.method) + len(self.target) + 16)


def http2_head(fields: Iterable[tuple[bytes, bytes]]) -> Head | None:
    """Read the fields of an HTTP/2 request; None refuses it (RFC 9113 §8.3.1).

    h2 has checked that pseudo-headers are known, single and first, and names in lower case.
    `:authority` and `host` may both be there where they agree.
    """
    pseudo: dict[bytes, bytes] = {}
    headers: Headers = []
    hosts: list[bytes] = []
    for name, value in fields:
        if name[:1] == b":":
            pseudo[bytes(name)] = bytes(value)
        elif name == b"host":
            hosts.append(bytes(value))
        else:
            headers.append((bytes(name), bytes(value)))
    authority = pseudo.get(b":authority")
    if authority is not None and authority not in hosts:
        hosts.append(authority)
    method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if (
        pseudo.get(b":scheme") != b"https"
        or not method_ok(method)
        or not target_ok(method, target)
        or not host_ok(hosts, required=True)
    ):
        return None
    return Head(method, target, [(b"host", hosts[0]), *headers])


def method_ok(method: bytes) -> bool:
    """Tell whether the method has the form of a registered one (RFC 9110 §16.1)."""
    return _METHOD.fullmatch(method) is not None


def host_ok(hosts: Sequence[bytes], *, required: bool) -> bool:
    """Tell whether there is one well-formed host; none is fine where it is not `required`."""
    if not hosts:
        return not required
    return len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None


def split_target(target: bytes) -> tuple[str, bytes, bytes]:
    """Return the decoded path, the raw path and the query of an accepted target."""
    raw, _, query = target.partition(b"?")
    path = raw.decode("ascii")
    return (unquote(path) if "%" in path else path), raw, query


def size(headers: Headers, *, extra: int) -> int:
    """Bytes of a head: names, values, four bytes of punctuation each, and `extra`."""
    return extra + sum(len(name) + len(value) + 4 for name, value in headers)
