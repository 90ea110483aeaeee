"""HTTP/2 (RFC 9113) on one TLS connection: h2 keeps the protocol, this module bounds and paces.

A stream gets back the window that it used up only as the application takes the data, so at most one
connection window (64 kB) of bodies is held before anyone asked for it. What a peer can do for free
is counted (`frames`) and ends the connection. A stream counts until its application has ended, so
that reset streams cannot pile up work (CVE-2023-44487). After a reply that came before the body's
end, the rest is let in and dropped, in bounds (`linger`); the application sees nothing of it.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from wardgate.errors import HeadersTooLarge, Overloaded, RequestMalformed, WardgateError
from wardgate.web.problems import own
from wardgate.web.server import heads
from wardgate.web.server.frames import FrameWatch
from wardgate.web.server.http2_exchange import Http2Exchange
from wardgate.web.server.linger import Linger
from wardgate.web.server.state import State, address, base_scope

_STRIKES = 1_000
"""Cost of idle frames (see `frames`) that a peer may run up; some is forgiven for each reply."""
_FORGIVEN = 20
_FAIR_PIECE = 1_024
_CONNECTION_HEADERS = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
"""Never sent in HTTP/2 (RFC 9113 §8.2.2)."""


class Http2(asyncio.Protocol):
    """One HTTP/2 connection."""

    def __init__(self, state: State, *, deadline: float, tls: dict[str, Any]) -> None:
        """Share `state`; the preface is due by `deadline` (loop time); `tls` goes to the scope."""
        self.state = state
        self.deadline = deadline
        self.transport: asyncio.Transport
        self.streams: dict[int, Http2Exchange] = {}
        self.running = 0
        self.writable = True
        self._tls = tls
        self._watch = FrameWatch()
        self._linger = Linger(state.limits.linger_seconds, state.limits.linger_bytes)
        self._partial_deadline = deadline
        self._stall_deadline = math.inf
        self._idle_deadline = math.inf
        self._surplus = False  # a connection above the cap, which is told so
        self._closing = False
        self._leaving = False
        self._refuse_from = math.inf
        self._scope: dict[str, Any]
        config = H2Configuration(client_side=False, header_encoding=None)
        self.h2 = H2Connection(config)
        limit = state.limits.header_bytes
        self.h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.MAX_CONCURRENT_STREAMS: state.limits.streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: limit,
            },
        )
        # HPACK counts 32 bytes more for each header (RFC 7541 §4.1). Above the limit a stream is
        # told 431; far above it the whole connection ends before the list is even decoded.
        self.h2.decoder.max_header_list_size = 4 * limit

    # -- asyncio's side ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register with the server and send the settings."""
        self.transport = transport
        self._scope = base_scope(transport, self._tls)
        self._scope["http_version"] = "2"
        self.state.connections.add(self)
        self._surplus = self.state.full
        self.h2.initiate_connection()
        self.flush()
        if self.state.draining:
            self.drain()

    def data_received(self, data: bytes) -> None:
        """Follow the frames, let h2 answer them, hand events to the streams."""
        if self._closing:
            return
        was_partial = self._watch.partial
        self._watch.feed(data)
        if self._watch.strikes > _STRIKES:
            self.end(ErrorCodes.ENHANCE_YOUR_CALM)
            return
        try:
            events = self.h2.receive_data(data)
        except H2Error:  # h2 has queued the GOAWAY that says why
            self.flush()
            self.close()
            return
        except Exception:  # noqa: BLE001 -- a fault of the parser closes the connection, no more
            self.cut()
            return
        for event in events:
            self._handle(event)
            if self._closing:
                return
        self.flush()
        if not self._watch.partial:
            self._partial_deadline = math.inf
        elif not was_partial:
            now = self.state.loop.time()
            self._partial_deadline = now + self.state.limits.header_wait
        self._settle()

    def eof_received(self) -> bool | None:
        """Take it that the caller left."""
        return None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """Tell every application."""
        self.state.connections.discard(self)
        self._closing = True
        for stream in list(self.streams.values()):
            stream.leave()
        self.streams.clear()

    def pause_writing(self) -> None:
        """Hold the applications and take no more frames while the caller reads slowly."""
        self.writable = False
        self._stall_deadline = self.state.loop.time() + self.state.limits.idle_seconds
        if not self.transport.is_closing():
            self.transport.pause_reading()
        self.reckon()

    def resume_writing(self) -> None:
        """Let the applications go on: the caller reads again."""
        self.writable = True
        self._stall_deadline = math.inf
        if not self.transport.is_closing():
            self.transport.resume_reading()
        self._wake()
        self.reckon()

    # -- h2's side --------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._request(event)
        elif isinstance(event, DataReceived):
            stream = self.streams.get(event.stream_id)
            if stream is None:
                self._drop(event.stream_id, event.flow_controlled_length)
            else:
                stream.unread += event.flow_controlled_length
                stream.feed(event.data)
        elif isinstance(event, StreamEnded):
            self._linger.end(event.stream_id)
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                stream.end()
        elif isinstance(event, StreamReset):
            self._linger.end(event.stream_id)
            stream = self.streams.pop(event.stream_id, None)
            if stream is not None:
                stream.leave()
                stream.taken()
        else:  # a window or the settings may have changed
            self._wake()

    def _request(self, event: RequestReceived) -> None:
        """Check the head and hand the request to the application."""
        limits = self.state.limits
        stream_id = event.stream_id
        late = self._leaving and self.state.loop.time() > self._refuse_from
        if late or self.running >= limits.streams:
            self.h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        head = heads.http2_head(event.headers)
        if head is None:
            self._turn_away(event, RequestMalformed)
        elif head.size > limits.header_bytes:
            self._turn_away(event, HeadersTooLarge)
        elif self._surplus:
            self._turn_away(event, Overloaded)
        else:
            path, raw_path, query = heads.split_target(head.target)
            scope = self._scope | {
                "method": head.method.decode("ascii"),
                "path": path,
                "raw_path": raw_path,
                "query_string": query,
                "headers": head.headers,
            }
            stream = Http2Exchange(scope, self, stream_id)
            self.streams[stream_id] = stream
            self.running += 1
            self.state.start(stream)

    def _turn_away(self, event: RequestReceived, error: type[WardgateError]) -> None:
        """Refuse a request that no application sees."""
        if self.refuse(event.stream_id, error) and event.stream_ended is None:
            self._linger.begin(event.stream_id, self.state.loop.time())

    def _drop(self, stream_id: int, count: int) -> None:
        """Drop data that nobody reads; a stream that brings too much of it is reset."""
        if stream_id in self._linger and not self._linger.drop(stream_id, count):
            self._cease(stream_id)
        self.acknowledge(stream_id, count)

    def _cease(self, stream_id: int) -> None:
        """Tell a lingering stream to stop sending (RFC 9113 §8.1)."""
        self._linger.end(stream_id)
        self._reset(stream_id, ErrorCodes.NO_ERROR)

    def acknowledge(self, stream_id: int, count: int) -> None:
        """Give back `count` bytes of window."""
        if count and not self._closing:
            try:
                self.h2.acknowledge_received_data(count, stream_id)
            except H2Error:  # the stream or the connection ended in the meantime
                return

    # -- replies and the end ----------------------------------------------------------------------

    def refuse(self, stream_id: int, error: type[WardgateError]) -> bool:
        """Answer for the server itself; tell whether the reply is whole."""
        self.state.refused(error, address(self._scope))
        status, headers, body = own(error)
        try:
            self.send_head(stream_id, status, headers, end=False)
            if self.h2.local_flow_control_window(stream_id) >= len(body):
                self.h2.send_data(stream_id, body, end_stream=True)
                return True
            # the caller gave no window for an answer
            self.h2.reset_stream(stream_id, ErrorCodes.CANCEL)
        except H2Error:  # the stream ended in the meantime
            return False
        return False

    def send_head(self, stream_id: int, status: int, headers: heads.Headers, *, end: bool) -> None:
        """Queue a reply's head. Raises H2Error where the stream is not open any more."""
        self.h2.send_headers(
            stream_id,
            [
                (b":status", str(status).encode()),
                *(
                    (name.lower(), value)
                    for name, value in headers
                    if name.lower() not in _CONNECTION_HEADERS
                ),
                (b"date", self.state.date),
            ],
            end_stream=end,
        )

    def send_piece(self, stream_id: int, piece: bytes, *, last: bool) -> None:
        """Write a piece of a reply's body. Raises H2Error where the stream is not open any more."""
        self.h2.send_data(stream_id, piece, end_stream=last)
        self.flush()
        if len(piece) >= _FAIR_PIECE:  # a window update or two in return is fair
            self._forgive(2)

    def _forgive(self, strikes: int) -> None:
        self._watch.strikes = max(0, self._watch.strikes - strikes)

    def done(self, stream_id: int) -> None:
        """Forget a stream whose reply is complete, or that ended otherwise."""
        stream = self.streams.pop(stream_id, None)
        if stream is None or self._closing:
            return
        self._forgive(_FORGIVEN)
        self.acknowledge(stream_id, stream.unread)
        if not stream.ended and stream.complete:
            self._linger.begin(stream_id, self.state.loop.time())
            self.reckon()  # the application may run on
        elif not stream.ended:
            self._reset(stream_id, ErrorCodes.NO_ERROR)

    def reset(self, stream_id: int) -> None:
        """End a stream in the middle of a reply."""
        self._reset(stream_id, ErrorCodes.INTERNAL_ERROR)
        self.flush()

    def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        try:
            self.h2.reset_stream(stream_id, code)
        except H2Error:  # the stream or the connection ended in the meantime
            return

    def ended(self) -> None:
        """Count an application that has ended."""
        self.running -= 1
        self.flush()
        self._settle()

    def _settle(self) -> None:
        """Work out the next deadline; while draining, leave once all that was begun has ended."""
        if self._leaving and self.h2.highest_inbound_stream_id and not self._open:
            self.end()
        self.reckon()

    @property
    def _open(self) -> bool:
        """Whether a stream is served or lingers."""
        return bool(self.streams or self._linger)

    def flush(self) -> None:
        """Write what h2 has queued."""
        data = self.h2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def reckon(self) -> None:
        """Work out the next deadline: half a head, stalled reader, idle connection, lingering."""
        if self._closing:
            return
        if self._open:
            self._idle_deadline = math.inf
        elif self._idle_deadline == math.inf and self._partial_deadline == math.inf:
            self._idle_deadline = self.state.loop.time() + self.state.limits.idle_seconds
        self.deadline = min(self._partial_deadline, self._stall_deadline, self._idle_deadline)
        self.deadline = min(self.deadline, self._linger.deadline)

    def end(self, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Say GOAWAY with the last stream that was seen, and close."""
        if self._closing:
            return
        self.h2.close_connection(code)
        self.flush()
        self.close()

    def close(self) -> None:
        """Close once all is written, or when the linger time is over."""
        self._closing = True
        self.deadline = self.state.loop.time() + self.state.limits.linger_seconds
        for stream in list(self.streams.values()):
            stream.leave()
        self.transport.close()

    def _wake(self) -> None:
        for stream in self.streams.values():
            stream.wake()

    # -- the server's side ------------------------------------------------------------------------

    def expire(self) -> None:
        """End what lingers too long; close an idle or draining connection; cut a stuck one."""
        now = self.state.loop.time()
        if not self._closing and self._linger.deadline <= now:
            for stream_id in self._linger.overdue(now):
                self._cease(stream_id)
            self.flush()
            self._settle()
            if self._closing or self.deadline > now:
                return
        if self._closing or not self.writable:
            self.cut()
        else:
            self.end()

    def drain(self) -> None:
        """Serve what is on its way, say GOAWAY once no stream is open.

        A GOAWAY while streams are open would be right (RFC 9113 §6.8), but clients built on h2,
        httpx among them, then drop the replies that still come. Its last stream id tells every
        client what was not served and can be sent again. A connection that never rests has new
        streams refused after the grace, which is as safe to send again (§8.7).
        """
        if self._leaving or self._closing:
            return
        self._leaving = True
        self._refuse_from = self.state.loop.time() + self.state.limits.grace_seconds
        if not self.h2.highest_inbound_stream_id:  # a new connection, its request on the way
            self._idle_deadline = self._refuse_from
            self.reckon()
        elif not self._open:
            self.end()

    def cut(self) -> None:
        """Close at once."""
        self._closing = True
        for stream in list(self.streams.values()):
            stream.leave()
        self.transport.abort()
