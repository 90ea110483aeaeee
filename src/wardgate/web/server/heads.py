"""What a request's head must look like: the checks that both protocols share. Pure.

The parsers below (llhttp, h2) refuse bad framing by themselves. This module refuses what they let
through and what two servers in a row could read differently (request smuggling, RFC 9112 §11.2).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Sequence

Headers = list[tuple[bytes, bytes]]
"""Names in lower case, in the order they came."""

_TARGET = re.compile(
    rb"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*(?:\?[!-~]*)?", re.ASCII
)
"""origin-form: absolute-path [ "?" query ], RFC 9112 §3.2.1; queries may hold any visible ASCII."""

_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
"""uri-host [ ":" port ], RFC 9110 §7.2; a server of its own name is never called by an empty one."""

_METHOD = re.compile(rb"[A-Z]{1,20}(?:-[A-Z]{1,20})?")


def target_ok(method: bytes, target: bytes) -> bool:
    """Tell whether the target is in origin-form, or `*` for OPTIONS; no other form is served.

    Absolute-form and authority-form are for proxies (RFC 9112 §3.2.2, §3.2.3), which this is not.
    """
    if method == b"CONNECT":
        return False
    if target == b"*":
        return method == b"OPTIONS"
    return _TARGET.fullmatch(target) is not None and b"#" not in target


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
