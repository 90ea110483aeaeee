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
from http import HTTPStatus
from typing import Any

import httptools

from wardgate.errors import (
    HeadersTimeout,
    HeadersTooLarge,
    Overloaded,
    RequestMalformed,
    WardgateError,
)
from wardgate.web.server import heads
from wardgate.web.server.exchange import BODILESS, Exchange, ReplyInvalid
from wardgate.web.server.problem import problem
from wardgate.web.server.state import State, base_scope

_STATUS = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})


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


class _Stop(Exception):  # noqa: N818 -- not an error: it makes the parser stop
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
        self._wire = 0  # bytes that came in this head, or in this body beyond its payload
        self._payload = 0
        self._dropped = 0
        self._url = b""
        self._headers: heads.Headers = []
        self._graft = b""  # the framing header of a body that follows an ignored upgrade
        self._scope: dict[str, Any]

    # -- asyncio's side ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register with the server."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._scope = base_scope(transport, self._tls)
        self.state.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, or count and drop what nobody asked for."""
        phase = self.phase
        if phase is Phase.WORK or phase is Phase.CLOSING:
            self._drop(len(data))
            return
        if phase is Phase.IDLE:
            self.phase = Phase.HEAD
            self.deadline = self.state.loop.time() + self.state.limits.header_seconds
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
        """The caller left; a half-closed connection is not kept."""
        if self.exchange is not None:
            self.exchange.leave()
        return None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """Tell the application, and those who wait to write."""
        self.state.connections.discard(self)
        self.phase = Phase.CLOSING
        if self.exchange is not None:
            self.exchange.leave()
            self.exchange = None

    def pause_writing(self) -> None:
        """The caller reads slowly: hold the application, for as long as a connection may idle."""
        self.writable = False
        self.deadline = self.state.loop.time() + self.state.limits.idle_seconds

    def resume_writing(self) -> None:
        """The caller reads again."""
        self.writable = True
        if self.phase is not Phase.CLOSING:
            self.deadline = math.inf
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
        hosts = []
        expects = False
        body = b""
        for name, value in self._headers:
            if name in _FRAMING:
                if name == b"host":
                    hosts.append(value)
                elif name == b"content-length":
                    body = b"content-length: " + value
                elif name == b"expect":
                    if value.lower() != b"100-continue":
                        self._refuse_and_stop(RequestMalformed)
                    expects = version == "1.1"
                elif value.lower() != b"chunked" or version != "1.1":
                    self._refuse_and_stop(RequestMalformed)
                else:
                    body = b"transfer-encoding: chunked"
        if (
            version not in ("1.1", "1.0")
            or not heads.target_ok(method, self._url)
            or not heads.host_ok(hosts, required=version == "1.1")
        ):
            self._refuse_and_stop(RequestMalformed)
        if self.state.full:
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
        self._graft = body if upgrade else b""
        self.exchange = Http1Exchange(
            scope,
            self,
            keep_alive=parser.should_keep_alive() and not upgrade,
            expects=expects,
        )
        self.phase = Phase.BODY
        self.deadline = math.inf
        self._wire = self._payload = 0
        self.state.start(self.exchange)

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of the body."""
        self._payload += len(body)
        self._wire = max(self._wire, len(body))
        if self.exchange is not None:
            self.exchange.feed(body)

    def on_message_complete(self) -> None:
        """The request is whole, unless an ignored upgrade hid its body from the parser."""
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
        """The parser stopped: at a refusal, at bytes after a whole request, or at bad bytes."""
        if self.phase is Phase.WORK:
            self._drop(1)
        elif self.phase is not Phase.CLOSING:
            self.refuse(RequestMalformed)

    def _refuse_and_stop(self, error: type[WardgateError]) -> None:
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
        reply = problem(error)
        self.transport.write(
            b"".join(
                (
                    _STATUS[reply.status],
                    *(b"%b: %b\r\n" % header for header in reply.headers),
                    b"date: ",
                    self.state.date,
                    b"\r\nconnection: close\r\n\r\n",
                    reply.body,
                )
            )
        )
        self.finish(linger=error is not HeadersTimeout)

    def done(self, *, keep_alive: bool) -> None:
        """The application's reply is complete: wait for the next request, or close."""
        self.exchange = None
        if self.phase is Phase.WORK and keep_alive:
            self.phase = Phase.IDLE
            self._wire = 0
            if self.writable:
                self.deadline = self.state.loop.time() + self.state.limits.idle_seconds
        elif self.phase is not Phase.CLOSING:
            self.finish(linger=self.phase is Phase.BODY or self._dropped > 0)

    def finish(self, *, linger: bool) -> None:
        """Close after what was written.

        To close while unread bytes wait makes the kernel send RST, and the caller may lose the
        reply with it. So with `linger` the rest is read and dropped, in bounds (RFC 9112 §9.6).
        """
        self.phase = Phase.CLOSING
        self.deadline = self.state.loop.time() + self.state.limits.linger_seconds
        if not linger:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume()

    def _drop(self, count: int) -> None:
        self._dropped += count
        if self.exchange is not None:
            self.exchange.keep_alive = False
        if self._dropped > self.state.limits.linger_bytes:
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


class Http1Exchange(Exchange):
    """One request and its reply on an HTTP/1.1 connection."""

    __slots__ = ("_chunked", "_connection", "_expects", "_head", "keep_alive")

    def __init__(
        self, scope: dict[str, Any], connection: Http1, *, keep_alive: bool, expects: bool
    ) -> None:
        """Belong to a connection; `expects` stands for `Expect: 100-continue`."""
        super().__init__(scope)
        self.keep_alive = keep_alive
        self._connection = connection
        self._expects = expects
        self._chunked = False
        self._head = b""

    def want(self) -> None:
        """Read on; tell a caller who waits for it to send the body (RFC 9110 §10.1.1)."""
        if self._expects:
            self._expects = False
            self._connection.transport.write(_CONTINUE)
        self._connection.resume()

    def head(self, status: int, headers: heads.Headers) -> None:
        """Build the head; raise ReplyInvalid where a header would break out of its line."""
        connection = self._connection
        if self.keep_alive and (not self.ended or connection.state.draining):
            self.keep_alive = False
        parts = [_STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status]
        for name, value in headers:
            if name.lower() == b"connection":
                self.keep_alive = self.keep_alive and b"close" not in value.lower()
            else:
                parts += (name, b": ", value, b"\r\n")
        if not self.sized and status not in BODILESS and self.scope["method"] != "HEAD":
            if self.scope["http_version"] == "1.1":
                self._chunked = True
                parts.append(b"transfer-encoding: chunked\r\n")
            else:
                self.keep_alive = False
        parts += (b"date: ", connection.state.date, b"\r\n")
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        elif self.scope["http_version"] == "1.0":
            parts.append(b"connection: keep-alive\r\n")
        parts.append(b"\r\n")
        head = b"".join(parts)
        lines = parts.count(b"\r\n") + sum(1 for part in parts if part.endswith(b"\r\n"))
        if head.count(b"\n") > lines or head.count(b"\r") > lines or b"\0" in head:
            raise ReplyInvalid("A header of the reply holds a line break.")
        self._head = head

    async def write(self, body: bytes, *, more: bool) -> None:
        """Write the head with the first piece, chunked where no length was declared."""
        connection = self._connection
        head, self._head = self._head, b""
        if self._chunked:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if not more:
                body += b"0\r\n\r\n"
        if head or body:
            connection.transport.write(head + body)
        if not more:
            self.complete = True
            self.wake()
            connection.done(keep_alive=self.keep_alive)
            return
        while not connection.writable and not self.gone:
            await self.changed()

    def fail(self) -> None:
        """Answer 500."""
        self._connection.refuse(WardgateError)

    def abort(self) -> None:
        """Cut the connection."""
        self._connection.cut()
