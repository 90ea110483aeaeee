"""The channel between the supervisor and one of its processes: JSON lines over a socket pair.

The first line down holds what the process needs to start: role, settings, inherited sockets. After
it: `ready` and `metrics` go up, `drain` goes down. When either side dies the other reads the end of
the stream, so no process outlives its supervisor. Nothing of a request ever travels here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import orjson

_LINE_LIMIT = 4 << 20
"""Bytes of the longest line; a snapshot of metrics takes some tens of kilobytes."""


@dataclass(slots=True)
class Channel:
    """One end of the channel."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def of(cls, sock: socket.socket) -> Channel:
        """Open the channel on this end of a socket pair."""
        return cls(*await asyncio.open_connection(sock=sock, limit=_LINE_LIMIT))

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; to a peer that is gone it is dropped."""
        if not self.writer.is_closing():
            self.writer.write(orjson.dumps(message) + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message, or None where the peer is gone."""
        try:
            line = await self.reader.readline()
        except (ConnectionError, ValueError):
            return None
        return orjson.loads(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        """Close this end."""
        self.writer.close()


async def unless(stop: asyncio.Event, starting: Awaitable[object]) -> bool:
    """Await a start and tell whether it came before `stop`; raises what the start raises."""
    start = asyncio.ensure_future(starting)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((start, stopped), return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            await start
            return True
        return False
    finally:
        for task in (start, stopped):
            task.cancel()
        await asyncio.gather(start, stopped, return_exceptions=True)
