"""HTTP/1.1 over kept-alive connections, one lane each: of a reply only its length is parsed.

On a machine with few processors a generator that parses headers takes from what it measures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from wardgate.cli.bench.wire import LOST, Answered, Target

_STATUS = slice(9, 12)


def requests(target: Target, bodies: Sequence[bytes]) -> list[bytes]:
    """Return the bytes of a POST request for each body."""
    head = (
        f"POST {target.path} HTTP/1.1\r\nHost: {target.host}:{target.port}\r\n"
        "Content-Type: application/json\r\n"
    )
    if target.token:
        head += f"Authorization: Bearer {target.token}\r\n"
    start = head.encode() + b"Content-Length: "
    return [start + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies]


async def lanes(
    target: Target, sent: Sequence[bytes], count: int, answered: Answered
) -> list[Http1]:
    """Open `count` connections."""
    made = [Http1(target, sent, answered) for _ in range(count)]
    for lane in made:
        await lane.open()
    return made


class Http1(asyncio.Protocol):
    """One connection. It opens anew where the server closed it between two requests."""

    def __init__(self, target: Target, sent: Sequence[bytes], answered: Answered) -> None:
        self._target, self._sent, self._answered = target, sent, answered
        self._context = target.context("http/1.1")
        self._transport: asyncio.WriteTransport | None = None
        self._opening: asyncio.Task[None] | None = None
        self._buffer = b""
        self._waiting = False

    async def open(self) -> None:
        """Connect. Raises OSError."""
        name = self._target.host if self._context else None
        await asyncio.get_running_loop().create_connection(
            lambda: self,
            self._target.host,
            self._target.port,
            ssl=self._context,
            server_hostname=name,
        )

    def send(self, number: int) -> None:
        """Send a request, on a new connection where there is none."""
        self._waiting = True
        if self._transport is None:
            self._opening = asyncio.ensure_future(self._send_anew(number))
        else:
            self._transport.write(self._sent[number])

    async def _send_anew(self, number: int) -> None:
        with suppress(OSError):
            await self.open()
        if self._transport is None:
            self._reply(LOST, b"", b"")
        else:
            self._transport.write(self._sent[number])

    def close(self) -> None:
        """Close the connection."""
        self._waiting = False
        if self._transport is not None:
            self._transport.abort()  # with no farewell of TLS to wait for

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are none of asyncio's classes
        self._transport, self._buffer = cast("asyncio.WriteTransport", transport), b""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's
        """Tell of a request that was on the way."""
        self._transport = None
        if self._waiting:
            self._reply(LOST, b"", b"")

    def data_received(self, data: bytes) -> None:
        """Take bytes until the reply is whole."""
        self._buffer = whole = self._buffer + data if self._buffer else data
        head = whole.find(b"\r\n\r\n")
        if head < 0:
            return
        names = whole[:head].lower()
        at = names.find(b"\r\ncontent-length:")
        if at < 0:
            if whole.endswith(b"\r\n0\r\n\r\n"):
                self._done(head, _joined(whole[head + 4 :]))
            return
        end = names.find(b"\r\n", at + 2)
        length = int(names[at + 17 : end if end > 0 else head])
        if len(whole) >= head + 4 + length:
            self._done(head, whole[head + 4 :])

    def _done(self, head: int, body: bytes) -> None:
        whole, self._buffer = self._buffer, b""
        self._reply(int(whole[_STATUS]), whole[:head], body)

    def _reply(self, status: int, head: bytes, body: bytes) -> None:
        self._waiting = False
        self._answered(self, status, head, body)


def _joined(chunks: bytes) -> bytes:
    """Return the body of a chunked reply (RFC 9112, 7.1)."""
    body = b""
    while True:
        size, _, rest = chunks.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        if not length:
            return body
        body += rest[:length]
        chunks = rest[length + 2 :]
