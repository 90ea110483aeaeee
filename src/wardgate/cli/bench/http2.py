"""HTTP/2, and gRPC as what it is on the wire: a lane is a stream at a time, many on a connection.

In clear text it begins with prior knowledge (RFC 9113, 3.3), under TLS by ALPN.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)

from wardgate.cli.bench.wire import LOST, Answered, Target

STREAMS = 32
"""Lanes on a connection; servers allow 100 and more, and share their turns by connection."""
_WINDOW = 2**24
"""Bytes of replies that may be on the way."""
_GOOD = 200


async def lanes(
    target: Target, bodies: Sequence[bytes], count: int, answered: Answered, *, grpc: bool
) -> list[Http2Lane]:
    """Open as many connections as `count` lanes need, filled evenly."""
    connections = math.ceil(count / STREAMS)
    made: list[Http2Lane] = []
    for place in range(connections):
        connection = _Connection(target, bodies, answered, grpc=grpc)
        await connection.open()
        share = range(place, count, connections)
        made += [Http2Lane(connection) for _ in share]
    return made


class Http2Lane:
    """Room for one stream."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def send(self, number: int) -> None:
        """Send a request on a new stream."""
        self._connection.send(self, number)

    def close(self) -> None:
        """Close the connection, with all its lanes."""
        self._connection.close()


@dataclass(slots=True)
class _Stream:
    lane: Http2Lane
    status: int = LOST
    timing: bytes = b""
    parts: list[bytes] = field(default_factory=list)


class _Connection(asyncio.Protocol):
    def __init__(
        self, target: Target, bodies: Sequence[bytes], answered: Answered, *, grpc: bool
    ) -> None:
        self._target, self._answered, self._grpc = target, answered, grpc
        # gRPC: a flag for compression, and the length (PROTOCOL-HTTP2.md, Length-Prefixed-Message)
        self._bodies = (
            [b"\0" + len(body).to_bytes(4, "big") + body for body in bodies] if grpc else bodies
        )
        kind = "application/grpc" if grpc else "application/json"
        self._headers = [
            (":method", "POST"),
            (":scheme", "http" if target.ca is None else "https"),
            (":authority", f"{target.host}:{target.port}"),
            (":path", target.path),
            ("content-type", kind),
            *([("te", "trailers")] if grpc else []),
            *([("authorization", f"Bearer {target.token}")] if target.token else []),
        ]
        self._wire = H2Connection(H2Configuration(header_encoding=False))
        self._streams: dict[int, _Stream] = {}
        self._waiting: deque[tuple[Http2Lane, int]] = deque()
        self._ready = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Connect, and take in the server's settings. Raises OSError."""
        context = self._target.context("h2")
        await asyncio.get_running_loop().create_connection(
            lambda: self,
            self._target.host,
            self._target.port,
            ssl=context,
            server_hostname=self._target.host if context else None,
        )
        await self._ready

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes
        self._transport = cast("asyncio.WriteTransport", transport)
        self._wire.initiate_connection()
        self._wire.increment_flow_control_window(_WINDOW)
        self._transport.write(self._wire.data_to_send())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's
        if not self._ready.done():
            self._ready.set_exception(ConnectionError("closed before its settings came"))
        lost, self._streams = list(self._streams.values()), {}
        for stream in lost:
            self._answered(stream.lane, LOST, b"", b"")

    def close(self) -> None:
        self._streams.clear()
        self._transport.abort()  # with no farewell of TLS to wait for

    def send(self, lane: Http2Lane, number: int) -> None:
        if self._transport.is_closing():
            asyncio.get_running_loop().call_soon(self._answered, lane, LOST, b"", b"")
            return
        self._waiting.append((lane, number))
        self._flush()

    def _flush(self) -> None:
        """Send what waits, as far as the server's window and its number of streams allow."""
        wire = self._wire
        most = wire.remote_settings.max_concurrent_streams
        while self._waiting and len(self._streams) < most:
            lane, number = self._waiting[0]
            body = self._bodies[number]
            if wire.outbound_flow_control_window < len(body):
                break
            self._waiting.popleft()
            stream = wire.get_next_available_stream_id()
            self._streams[stream] = _Stream(lane)
            length = [] if self._grpc else [("content-length", str(len(body)))]
            wire.send_headers(stream, [*self._headers, *length])
            frame = wire.max_outbound_frame_size
            for start in range(0, len(body), frame):
                wire.send_data(
                    stream, body[start : start + frame], end_stream=start + frame >= len(body)
                )
        if data := wire.data_to_send():
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        taken = [self._take(event) for event in self._wire.receive_data(data)]
        ended = [stream for stream in taken if stream is not None]
        self._flush()
        for stream in ended:
            parts = b"".join(stream.parts)
            self._answered(
                stream.lane, stream.status, stream.timing, parts[5:] if self._grpc else parts
            )

    def _take(self, event: Event) -> _Stream | None:
        """Take an event in; return the stream that ended with it."""
        if isinstance(event, RemoteSettingsChanged):
            if not self._ready.done():
                self._ready.set_result(None)
        elif isinstance(event, DataReceived):
            self._wire.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self._streams[event.stream_id].parts.append(event.data)
        elif isinstance(event, ResponseReceived | TrailersReceived):
            self._heads(self._streams[event.stream_id], event.headers)
        elif isinstance(event, StreamEnded):
            return self._streams.pop(event.stream_id)
        elif isinstance(event, StreamReset):
            stream = self._streams.pop(event.stream_id, None)
            if stream is not None:
                stream.status = LOST
            return stream
        elif not isinstance(event, WindowUpdated):
            pass  # what is left asks for nothing, or has been answered by h2
        return None

    def _heads(self, stream: _Stream, headers: Sequence[tuple[bytes, bytes]]) -> None:
        found = dict(headers)
        if self._grpc:
            if b"grpc-status" in found:
                code = int(found[b"grpc-status"])
                stream.status = _GOOD if code == 0 else code
        elif b":status" in found:
            stream.status = int(found[b":status"])
        if b"server-timing" in found:
            stream.timing = b"server-timing: " + found[b"server-timing"]
