"""Serves an engine to the gateway workers of this machine over a Unix socket.

The socket has mode 0600 and only processes of the same user are heard. A peer that sends what is no
frame, or does not take its answers, is closed; its calls are cancelled, and so leave the queue.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from pathlib import Path
from typing import cast

from wardgate.engine.base import Engine
from wardgate.engine.frames import (
    FrameInvalid,
    Kind,
    Reader,
    frame,
    pack_error,
    pack_result,
    pack_served,
    unpack_infer,
)
from wardgate.errors import EngineUnavailable, Overloaded, WardgateError

CALLS = 16_384
"""Calls in flight for each connection; the queue's tokens are the bound that is met first."""
BACKLOG_BYTES = 8 << 20
"""Answers that a peer may leave unread before it is closed."""


class EngineServer:
    """Serves `engine` at `path` until `close`. The folder of `path` must be the user's own."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._path = path
        self._peers: set[_Peer] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. A socket left over by an engine that died is replaced."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self._path))
            self._path.chmod(0o600)  # before `listen`: until then nobody can connect
            self._server = await asyncio.get_running_loop().create_unix_server(
                lambda: _Peer(self._engine, self._peers), sock=listener, backlog=256
            )
        except BaseException:
            listener.close()
            raise

    async def close(self) -> None:
        """Stop listening, cancel the calls in flight, and take the socket away."""
        if self._server is None:
            return
        self._server.close()
        self._path.unlink(missing_ok=True)
        tasks = [task for peer in tuple(self._peers) for task in peer.abort()]
        if tasks:
            await asyncio.wait(tasks)
        await self._server.wait_closed()
        self._server = None


class _Peer(asyncio.Protocol):
    """One connection of a worker."""

    def __init__(self, engine: Engine, peers: set[_Peer]) -> None:
        self._engine = engine
        self._peers = peers
        self._reader = Reader()
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio.Transport
        self._transport = cast("asyncio.Transport", transport)
        self._peers.add(self)
        if not _same_user(self._transport):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        self._peers.discard(self)
        self._cancel_all()

    def data_received(self, data: bytes) -> None:
        try:
            for kind, number, body in self._reader.feed(data):
                self._take(kind, number, body)
        except FrameInvalid:
            self.abort()

    def abort(self) -> list[asyncio.Task[None]]:
        """Close the connection and cancel its calls; return them for whoever waits."""
        self._transport.abort()
        return self._cancel_all()

    def _cancel_all(self) -> list[asyncio.Task[None]]:
        tasks = list(self._calls.values())
        for task in tasks:
            task.cancel()
        return tasks

    def _take(self, kind: Kind, number: int, body: bytes) -> None:
        if kind is Kind.CANCEL:
            task = self._calls.get(number)
            if task is not None:
                task.cancel()
            return
        if number in self._calls:
            raise FrameInvalid("id in use")
        if len(self._calls) >= CALLS:
            self._send(Kind.ERROR, number, pack_error(Overloaded(retry_after=1.0)))
            return
        if kind not in (Kind.INFER, Kind.DESCRIBE):
            raise FrameInvalid("kind")
        task = self._loop.create_task(self._answer(kind, number, body, time.monotonic()))
        self._calls[number] = task
        task.add_done_callback(lambda _: self._calls.pop(number, None))

    async def _answer(self, kind: Kind, number: int, body: bytes, arrived: float) -> None:
        try:
            if kind is Kind.DESCRIBE:
                self._send(Kind.SERVED, number, pack_served(await self._engine.check()))
                return
            model, encoding, priority, budget = unpack_infer(body)
            logits = await self._engine.infer(
                model, encoding, deadline=arrived + budget, priority=priority
            )
            self._send(Kind.RESULT, number, pack_result(logits))
        except WardgateError as refusal:
            self._send(Kind.ERROR, number, pack_error(refusal))
        except FrameInvalid:
            self.abort()
        except Exception:  # noqa: BLE001 -- whatever it is, the caller must not wait for it
            self._send(Kind.ERROR, number, pack_error(EngineUnavailable(retry_after=1.0)))

    def _send(self, kind: Kind, number: int, body: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frame(kind, number, body))

    def _flush(self) -> None:
        """Write the answers of one turn of the loop, such as those of a batch, in one go."""
        joined = b"".join(self._out)
        self._out.clear()
        if self._transport.is_closing():
            return
        self._transport.write(joined)
        if self._transport.get_write_buffer_size() > BACKLOG_BYTES:
            self.abort()


def _same_user(transport: asyncio.Transport) -> bool:
    """Whether the peer runs as this user; where none can tell, the socket's mode has to do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    peer = transport.get_extra_info("socket")
    # struct ucred: pid, uid, gid (unix(7))
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return bool(user == os.geteuid())
