"""HTTP/1.1 (RFC 9112) on one connection: llhttp parses, this module bounds, paces and closes.

Of a body nothing is read beyond what came in the same segment as the headers until the application
asks. Once a request is whole, reading goes on only to see the caller leave: what comes then is
counted and dropped, so a second request sent ahead of the first reply is not served (the reply says
`connection: close` and the client sends it again, RFC 9112 §9.3.2). Upgrades are ignored, as
RFC 9110 §7.8 allows. Whatever two servers could read differently is refused and the connection
closed.
"""

from __future__ import annotations

import asyncio
import math
from enum import Enum, auto
from typing import Any, NoReturn

import httptools

from wardgate.errors import (
    HeadersTimeout,
    HeadersTooLarge,
    Overloaded,
    RequestMalformed,
    WardgateError,
)
from wardgate.web.problems import own
from wardgate.web.server import heads
from wardgate.web.server.http1_exchange import STATUS_LINES, Http1Exchange
from wardgate.web.server.state import State, address, base_scope


class Phase(Enum):
    """Where a connection stands."""

    IDLE = auto()
    """Between two requests."""
    HEAD = auto()
    """Headers are awaited or arriving."""
    BODY = auto()
    """The application runs; the request is not whole yet."""
    WORK = auto()
    """The application runs; the request is whole."""
    CLOSING = auto()
    """The last reply was given; what still comes is dropped."""


class _Stop(Exception):
    """Raised in a parser callback once the rest of the bytes is of no interest."""


class Http1(asyncio.Protocol):
    """One HTTP/1.1 connection."""

    def __init__(
        self, state: State, *, deadline: float = math.inf, tls: dict[str, Any] | None = None
    ) -> None:
        """Share `state`; headers are due by `deadline` (loop time); `tls` goes to the scope."""
        self.state = state
        self.deadline = deadline
        self.phase = Phase.HEAD
        self.exchange: Http1Exchange | None = None
        self.writable = True
        self.transport: asyncio.Transport
        self._tls = tls
        self._parser = httptools.HttpRequestParser(self)
        self._paused = False
        self._surplus = False  # a connection above the cap, which is told so
        self._wire = 0  # bytes that came in this head, or in this body beyond its payload
        self._payload = 0
        self._dropped = 0
        self._url = b""
        self._headers: heads.Headers = []
        self._graft = b""  # the framing header of a body that follows an ignored upgrade
        self._scope: dict[str, Any]
        # under TLS nobody else could answer
        self._rescue = state.rescue if tls is None else None
        self._slot = -1

    # -- asyncio's side ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register with the server."""
        self.transport = transport
        self._scope = base_scope(transport, self._tls)
        self.state.connections.add(self)
        self._surplus = self.state.full
        if self._rescue is not None:
            self._slot = self._rescue.opened(transport.get_extra_info("socket"))
        if self.state.draining:
            self.drain()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, or count and drop what nobody asked for."""
        phase = self.phase
        if phase is Phase.WORK or phase is Phase.CLOSING:
            self._drop(len(data))
            return
        if phase is Phase.IDLE:
            self.phase = Phase.HEAD
            self.deadline = self.state.loop.time() + self.state.limits.header_wait
        self._wire += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._stopped()
        if self.phase is Phase.HEAD:
            if self._wire > self.state.limits.header_bytes:
                self.refuse(HeadersTooLarge)
        elif self.phase is Phase.BODY:
            # Framing may cost as much as the body plus a head's worth: this bounds tiny chunks,
            # chunk extensions and trailers (the rule of Go's net/http, CVE-2023-39326).
            if self._wire - self._payload > self.state.limits.header_bytes + self._payload:
                self.refuse(RequestMalformed)
            elif self.exchange is not None and not self.exchange.wants:
                self._pause()

    def eof_received(self) -> bool | None:
        """Take it that the caller left; a half-closed connection is not kept."""
        if self.exchange is not None:
            self.exchange.leave()
        return None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """Tell the application, and those who wait to write."""
        self.state.connections.discard(self)
        if self._rescue is not None:
            self._rescue.closed(self._slot)
        self.phase = Phase.CLOSING
        if self.exchange is not None:
            self.exchange.leave()
            self.exchange = None

    def pause_writing(self) -> None:
        """Hold the application while the caller reads slowly, as long as a connection may idle."""
        self.writable = False
        self.deadline = self.state.loop.time() + self.state.limits.idle_seconds

    def resume_writing(self) -> None:
        """Let the application go on: the caller reads again."""
        self.writable = True
        if self.phase is Phase.BODY or self.phase is Phase.WORK:
            self.deadline = math.inf
        elif self.phase is Phase.IDLE:
            self.deadline = self.state.loop.time() + self.state.limits.idle_seconds
        if self.exchange is not None:
            self.exchange.wake()

    # -- the parser's side ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start a head, or stop where a request comes ahead of the reply to the one before."""
        if self.phase is not Phase.HEAD:
            raise _Stop
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are dropped (RFC 9110 §6.5.1)."""
        if self.phase is Phase.HEAD:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Check the head and hand the request to the application."""
        limits = self.state.limits
        parser = self._parser
        method: bytes = parser.get_method()
        version: str = parser.get_http_version()
        if self._wire > limits.header_bytes and (
            heads.size(self._headers, extra=len(self._url) + 16) > limits.header_bytes
        ):
            self._refuse_and_stop(HeadersTooLarge)
        framing = heads.framing(self._headers, version=version)
        if (
            framing is None
            or version not in ("1.1", "1.0")
            or not heads.target_ok(method, self._url)
        ):
            self._refuse_and_stop(RequestMalformed)
        if self._surplus:
            self._refuse_and_stop(Overloaded)
        path, raw_path, query = heads.split_target(self._url)
        scope = self._scope.copy()
        if version != "1.1":
            scope["http_version"] = version
        scope["method"] = method.decode("ascii")
        scope["path"] = path
        scope["raw_path"] = raw_path
        scope["query_string"] = query
        scope["headers"] = self._headers
        upgrade = parser.should_upgrade()
        self._graft = framing.header if upgrade else b""
        self.exchange = Http1Exchange(
            scope,
            self,
            keep_alive=parser.should_keep_alive() and not upgrade,
            expects=framing.expects,
        )
        self.phase = Phase.BODY
        self.deadline = math.inf
        self._wire = self._payload = 0
        self.waits(True)
        self.state.start(self.exchange)

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of the body."""
        self._payload += len(body)
        if self.exchange is not None:
            self.exchange.feed(body)

    def on_message_complete(self) -> None:
        """End the request, unless an ignored upgrade hid its body from the parser."""
        if self._graft:
            return
        self.phase = Phase.WORK
        if self.exchange is not None:
            self.exchange.end()
        self.resume()  # reading goes on, to see the caller leave

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Serve a request that offered an upgrade as plain HTTP/1.1; the connection closes after.

        llhttp takes what follows such a head as another protocol. A second parser, started with the
        same framing header, reads the body.
        """
        if not self._graft:
            return
        framing, self._graft = self._graft, b""
        self._parser = httptools.HttpRequestParser(_BodyOnly(self))
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
        self._wire = len(rest)
        try:
            self._parser.feed_data(rest)
        except httptools.HttpParserError:
            self._stopped()

    def _stopped(self) -> None:
        """Find out why the parser stopped: a refusal, bytes after a whole request, or bad bytes."""
        if self.phase is Phase.WORK:
            self._drop(1)
        elif self.phase is not Phase.CLOSING:
            self.refuse(RequestMalformed)

    def _refuse_and_stop(self, error: type[WardgateError]) -> NoReturn:
        self.refuse(error)
        raise _Stop

    # -- replies and the end ----------------------------------------------------------------------

    def refuse(self, error: type[WardgateError]) -> None:
        """Answer for the server itself and close; cut where a reply has begun already."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.leave()
            if exchange.started:
                self.cut()
                return
        self.state.refused(error, address(self._scope))
        status, headers, body = own(error)
        self.waits(False)
        self.transport.write(
            b"".join(
                (
                    STATUS_LINES[status],
                    *(b"%b: %b\r\n" % header for header in headers),
                    b"date: ",
                    self.state.date,
                    b"\r\nconnection: close\r\n\r\n",
                    body,
                )
            )
        )
        self.finish(linger=error is not HeadersTimeout)

    def done(self, *, keep_alive: bool) -> None:
        """Wait for the next request, or close: the application's reply is complete."""
        self.exchange = None
        if self.phase is Phase.WORK and keep_alive:
            self.phase = Phase.IDLE
            self._wire = 0
            if self.writable:
                self.deadline = self.state.loop.time() + self.state.limits.idle_seconds
            if self.state.draining:  # the head had left before the drain began
                self.drain()
        elif self.phase is not Phase.CLOSING:
            self.finish(linger=self.phase is Phase.BODY or self._dropped > 0)

    def finish(self, *, linger: bool) -> None:
        """Close after what was written.

        To close while unread bytes wait makes the kernel send RST, and the caller may lose the
        reply with it. So with `linger` the rest is read and dropped, in bounds (RFC 9112 §9.6).
        """
        self.phase = Phase.CLOSING
        limits = self.state.limits
        wait = limits.linger_seconds if self.writable else limits.idle_seconds
        self.deadline = self.state.loop.time() + wait
        if not linger:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume()

    def waits(self, waiting: bool) -> None:
        """Note whether the caller waits for the first byte of a reply."""
        if self._rescue is not None:
            self._rescue.waits(self._slot, waiting)

    def _drop(self, count: int) -> None:
        self._dropped += count
        if self.exchange is not None:
            self.exchange.keep_alive = False
        if self._dropped > self.state.limits.linger_bytes:
            if self.phase is Phase.CLOSING:
                self._pause()  # the caller may still read the reply until the deadline
            else:
                self.cut()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    # -- the server's side ------------------------------------------------------------------------

    def expire(self) -> None:
        """Close an idle connection, answer 408 to half a head, cut what does not move."""
        if self.phase is Phase.HEAD and self._wire and not self.transport.is_closing():
            self.refuse(HeadersTimeout)
        elif self.phase is Phase.HEAD or self.phase is Phase.IDLE:
            self.finish(linger=False)
        else:
            self.cut()

    def drain(self) -> None:
        """Let an idle connection go soon; replies say `connection: close` from now on."""
        if self.phase is Phase.IDLE or (self.phase is Phase.HEAD and not self._wire):
            grace = self.state.loop.time() + self.state.limits.grace_seconds
            self.deadline = min(self.deadline, grace)

    def cut(self) -> None:
        """Close at once."""
        self.phase = Phase.CLOSING
        if self.exchange is not None:
            self.exchange.leave()
        self.transport.abort()


class _BodyOnly:
    """Parser callbacks that pass on a body and nothing else."""

    def __init__(self, connection: Http1) -> None:
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete
        self._begun = False

    def on_message_begin(self) -> None:
        if self._begun:
            raise _Stop
        self._begun = True
