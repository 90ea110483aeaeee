"""One request and its reply on an HTTP/1.1 connection: how the reply is framed (RFC 9112 §6)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from wardgate.errors import WardgateError
from wardgate.web.server import heads
from wardgate.web.server.exchange import BODILESS, Exchange

if TYPE_CHECKING:
    from wardgate.web.server.http1 import Http1

STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_line = b"%b: %b\r\n".__mod__
"""Writes a header, name and value."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


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
        """Build the head: hop-by-hop headers are the server's own (RFC 9110 §7.6.1)."""
        connection = self._connection
        if self.keep_alive and (not self.ended or connection.state.draining):
            self.keep_alive = False
        said = dict(headers).get(b"connection")
        if said is not None:
            self.keep_alive = self.keep_alive and b"close" not in said.lower()
            headers = [each for each in headers if each[0] != b"connection"]
        parts = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, *map(_line, headers)]
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
        self._head = b"".join(parts)

    async def write(self, body: bytes, *, more: bool) -> None:
        """Write the head with the first piece, chunked where no length was declared."""
        connection = self._connection
        head, self._head = self._head, b""
        if head:
            connection.waits(False)
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
