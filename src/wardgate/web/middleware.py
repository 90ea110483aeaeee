"""What every request and reply gets, whatever the route: identity, headers, and a last resort.

The order is visible here: `Door` gives the request its id and trace, passes it on, adds the headers
that every reply carries, and turns whatever was raised into problem+json. No business is decided
here. An exception that no class of ours describes is answered with `internal` and logged by the
names of its type and place alone: its message may quote the text of a caller.
"""

from __future__ import annotations

import logging
import os
import re
import traceback
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from wardgate.errors import WardgateError
from wardgate.telemetry import Hops
from wardgate.web.problems import problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case."""

log = logging.getLogger("wardgate")

_UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\Z")
_PROXY_HEADERS = frozenset(
    {
        b"cf-connecting-ip",
        b"forwarded",
        b"true-client-ip",
        b"via",
        b"x-client-ip",
        b"x-envoy-external-address",
        b"x-forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-original-forwarded-for",
        b"x-real-ip",
    }
)
"""Headers that a proxy adds and a direct caller has no use for."""
_UNAVAILABLE = 503
_STANDING: tuple[tuple[bytes, bytes], ...] = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


@dataclass(slots=True)
class Call:
    """One request as the shells see it; over HTTP it is kept in `scope["wardgate"]`."""

    request_id: str
    trace_id: str
    """32 hex digits, the caller's where it sent a valid `traceparent` (W3C Trace Context §3.2)."""
    span_id: str
    flags: str
    hops: Hops
    route: str = "other"
    """The route's own path, or `other`: what a caller typed never becomes a metric's label."""
    started: bool = False
    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Headers that the reply shall carry besides its own."""


class Door:
    """The outermost wrapper of the application."""

    def __init__(self, app: App, *, unavailable: Callable[[], None]) -> None:
        """Wrap `app`; `unavailable` is told of every 503, so that readiness is looked at anew."""
        self._app = app
        self._unavailable = unavailable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; never raises but for cancellation."""
        if scope["type"] != "http":
            return
        call = open_call(scope["headers"])
        scope["wardgate"] = call

        def reply(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                call.started = True
                call.status = message["status"]
                message["headers"] = [*message["headers"], *_headers(call)]
            return send(message)

        try:
            await self._app(scope, receive, reply)
        except WardgateError as error:
            if error.status == _UNAVAILABLE:
                self._unavailable()
            await self._refuse(scope, error, reply)
        except Exception as error:  # noqa: BLE001 -- the last resort; see the module's docstring
            log_fault(error, call)
            await self._refuse(scope, WardgateError(), reply)
        call.hops.answered(call.route, call.status)

    async def _refuse(self, scope: Scope, error: WardgateError, send: Send) -> None:
        """Send a problem, unless a reply has begun; then the connection breaks off."""
        call: Call = scope["wardgate"]
        if call.started:
            raise RuntimeError("a reply that had begun could not be completed")
        # Triton's clients show the member `error` of a refusal and know no other.
        extra = {"error": error.detail} if scope["path"].startswith("/v2") else None
        status, headers, body = problem(error, request_id=call.request_id, extra=extra)
        await send_reply(send, status, headers, body)


def _headers(call: Call) -> list[tuple[bytes, bytes]]:
    """Return the headers that every reply carries."""
    added = [
        *_STANDING,
        (b"x-request-id", call.request_id.encode()),
        (b"traceparent", f"00-{call.trace_id}-{call.span_id}-{call.flags}".encode()),
        *call.headers,
    ]
    if call.hops.seconds:
        added.append((b"server-timing", server_timing(call.hops)))
    return added


async def send_reply(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """Send a whole reply."""
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def is_proxied(headers: Headers) -> bool:
    """Tell whether the headers say that a proxy passed it on (RFC 7239, RFC 9110 §7.6.3)."""
    return not _PROXY_HEADERS.isdisjoint(dict(headers))


def open_call(headers: Headers) -> Call:
    """Take the id and trace of a request from its headers, or make them."""
    given = dict(headers)  # of two headers of a name the last one
    wanted, parent = given.get(b"x-request-id"), given.get(b"traceparent")
    # A UUID says nothing about a patient; anything else might.
    request_id = wanted.decode().lower() if wanted and _UUID.match(wanted) else None
    trace = _TRACEPARENT.match(parent) if parent else None
    chance = os.urandom(40).hex()
    span_id = chance[:16]
    if trace is not None and int(trace[1], 16) and int(trace[2], 16):
        trace_id, flags = trace[1].decode(), "01" if int(trace[3], 16) & 1 else "00"
    else:
        trace_id, flags = chance[16:48], "00"
    return Call(request_id or _uuid4(chance[48:]), trace_id, span_id, flags, Hops())


def _uuid4(chance: str) -> str:
    """Return a UUID of version 4 (RFC 9562 §5.4) made of 32 random hex digits."""
    variant = "89ab"[int(chance[16], 16) & 3]
    return f"{chance[:8]}-{chance[8:12]}-4{chance[13:16]}-{variant}{chance[17:20]}-{chance[20:]}"


def server_timing(hops: Hops) -> bytes:
    """Return milliseconds by hop in the form of W3C Server Timing §3."""
    return ", ".join([f"{hop};dur={s * 1e3:.3f}" for hop, s in hops.seconds.items()]).encode()


def log_fault(error: BaseException, call: Call) -> None:
    """Log a fault by type and place; its message and its values may hold PHI and stay out."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "?"  # noqa: PTH119
    log.error("internal fault %s at %s request %s", type(error).__name__, place, call.request_id)
