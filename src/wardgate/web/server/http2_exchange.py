"""One request and its reply on an HTTP/2 stream: pieces as large as the caller's windows allow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from h2.exceptions import H2Error

from wardgate.errors import WardgateError
from wardgate.web.server import heads
from wardgate.web.server.exchange import Application, Exchange

if TYPE_CHECKING:
    from wardgate.web.server.http2 import Http2

_FRAME = 16_384
"""Largest DATA frame sent, so that streams take turns; the least that a peer accepts."""


class Http2Exchange(Exchange):
    """One stream."""

    __slots__ = ("_connection", "_head", "_stream_id", "unread")

    def __init__(self, scope: dict[str, Any], connection: Http2, stream_id: int) -> None:
        """Belong to a connection."""
        super().__init__(scope)
        self.unread = 0
        """Bytes of window that the data waiting here has used up."""
        self._connection = connection
        self._stream_id = stream_id
        self._head: tuple[int, heads.Headers] | None = None

    async def run(self, app: Application) -> None:
        """Run the application; the stream counts as long as it does."""
        try:
            await super().run(app)
        finally:
            self._connection.done(self._stream_id)
            self._connection.ended()

    def want(self) -> None:
        """Nothing to do: the window was given back when the data was taken."""

    def taken(self) -> None:
        """Give back the window of what the application took."""
        count, self.unread = self.unread, 0
        if count:
            self._connection.acknowledge(self._stream_id, count)
            self._connection.flush()

    def head(self, status: int, headers: heads.Headers) -> None:
        """Keep the head; h2 checks its names and values when it is sent."""
        self._head = (status, headers)

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send the head with the first piece; wait for window and transport, in bounds."""
        connection, stream_id = self._connection, self._stream_id
        try:
            if self._head is not None:
                (status, headers), self._head = self._head, None
                connection.send_head(stream_id, status, headers, end=not body and not more)
            elif not body and not more:
                connection.h2.end_stream(stream_id)
            view = memoryview(body)
            while view and not self.gone:
                window = connection.h2.local_flow_control_window(stream_id)
                size = min(window, connection.h2.max_outbound_frame_size, _FRAME, len(view))
                if size > 0 and connection.writable:
                    last = size == len(view) and not more
                    connection.send_piece(stream_id, bytes(view[:size]), last=last)
                    view = view[size:]
                else:
                    async with asyncio.timeout(connection.state.limits.idle_seconds):
                        await self.changed()
        except (H2Error, TimeoutError):
            self.abort()
            return
        if more or self.gone:
            connection.flush()
            return
        self.complete = True
        self.wake()
        connection.done(stream_id)
        connection.flush()

    def fail(self) -> None:
        """Answer 500."""
        self.complete = self._connection.refuse(self._stream_id, WardgateError)

    def abort(self) -> None:
        """Reset the stream."""
        self.gone = True
        self._connection.reset(self._stream_id)
