"""An engine in another process of this machine, behind `Engine`, over a Unix socket.

A worker's frames of one turn of the loop go out in one write. Where the connection is lost every
caller is told at once, and the client connects again with growing pauses; until then it refuses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, cast

from wardgate.engine.frames import (
    FrameInvalid,
    Kind,
    Reader,
    frame,
    pack_infer,
    unpack_error,
    unpack_result,
    unpack_served,
)
from wardgate.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    ModelOutputInvalid,
    Overloaded,
    WardgateError,
)
from wardgate.types import Encoding, Logits, ModelId, Priority

CHECK_SECONDS = 2.0
"""An engine that does not answer `check` for so long is taken for gone."""
PAUSE_FIRST, PAUSE_MOST = 0.02, 0.5
"""Pauses between attempts to connect, seconds; each is twice the last."""
BACKLOG_BYTES = 8 << 20
"""Frames that the engine may leave unread before calls are refused."""
RETRY_SECONDS = 1.0
"""When to come back while the engine is replaced."""


class RemoteEngine:
    """A client of `EngineServer` at `path`. Belongs to the event loop that calls `start`."""

    local = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._link: _Link | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()

    async def start(self) -> None:
        """Connect, and keep connecting; returns once the first attempt has been made."""
        await self._connect()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def infer(
        self, model: str, encoding: Encoding, *, deadline: float, priority: Priority
    ) -> Logits:
        """As `Engine.infer`."""
        budget = deadline - time.monotonic()
        if budget <= 0:
            raise DeadlineExceeded
        body = pack_infer(model, encoding, priority, budget)
        logits: Logits = await self._ask(Kind.INFER, body, budget, DeadlineExceeded)
        if len(logits) != len(encoding.rows):
            raise ModelOutputInvalid
        return logits

    async def check(self) -> tuple[ModelId, ...]:
        """As `Engine.check`."""
        served: tuple[ModelId, ...] = await self._ask(
            Kind.DESCRIBE, b"", CHECK_SECONDS, EngineUnavailable
        )
        return served

    async def close(self) -> None:
        """As `Engine.close`."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
        if self._link is not None:
            self._link.abort()
            self._link = None

    async def _ask(
        self, kind: Kind, body: bytes, seconds: float, late: Callable[[], Exception]
    ) -> Any:
        if self._link is None:
            raise EngineUnavailable(retry_after=RETRY_SECONDS)
        return await self._link.ask(kind, body, seconds, late)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            _, self._link = await loop.create_unix_connection(
                lambda: _Link(self._drop), str(self._path)
            )

    def _drop(self, link: _Link) -> None:
        if self._link is link:
            self._link = None
        self._lost.set()

    async def _keep(self) -> None:
        """Connect again whenever the link is lost, for as long as the client lives."""
        pause = PAUSE_FIRST
        while True:
            if self._link is not None:
                pause = PAUSE_FIRST
                await self._lost.wait()
            self._lost.clear()
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_MOST)
            if self._link is None:
                await self._connect()


class _Link(asyncio.Protocol):
    """One connection: requests by number, and the futures of their callers."""

    def __init__(self, drop: Callable[[_Link], None]) -> None:
        self._drop = drop
        self._reader = Reader()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._numbers = count(1)
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._open = True

    async def ask(
        self, kind: Kind, body: bytes, seconds: float, late: Callable[[], Exception]
    ) -> Any:
        """Send a request and return what its answer holds; after `seconds` raise `late()`."""
        if not self._open:
            raise EngineUnavailable(retry_after=RETRY_SECONDS)
        if self._transport.get_write_buffer_size() > BACKLOG_BYTES:
            raise Overloaded(reason="engine-behind", retry_after=RETRY_SECONDS)
        number = next(self._numbers) & 0xFFFFFFFF
        self._send(frame(kind, number, body))
        future = self._loop.create_future()
        self._waiting[number] = future
        timer = self._loop.call_later(seconds, _fail, future, late)
        try:
            return await future
        finally:
            timer.cancel()
            # The answer takes the number out; where it still stands the caller left or was late.
            if self._waiting.pop(number, None) is not None and self._open:
                self._send(frame(Kind.CANCEL, number))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio.Transport
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for kind, number, body in self._reader.feed(data):
                self._take(kind, number, body)
        except FrameInvalid:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        self._end()

    def abort(self) -> None:
        """Close at once; whoever waits is told."""
        self._transport.abort()
        self._end()

    def _end(self) -> None:
        if not self._open:
            return
        self._open = False
        for future in self._waiting.values():
            _fail(future, lambda: EngineUnavailable(retry_after=RETRY_SECONDS))
        self._waiting.clear()
        self._drop(self)

    def _take(self, kind: Kind, number: int, body: bytes) -> None:
        answer: Any
        if kind is Kind.RESULT:
            answer = unpack_result(body)
        elif kind is Kind.SERVED:
            answer = unpack_served(body)
        elif kind is Kind.ERROR:
            answer = unpack_error(body)
        else:
            raise FrameInvalid("kind")
        # Taken out only now: an invalid frame closes the link, and that must end whoever waits.
        future = self._waiting.pop(number, None)
        if future is None or future.done():  # the caller left before its answer came
            return
        if isinstance(answer, WardgateError):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def _send(self, data: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        joined = b"".join(self._out)
        self._out.clear()
        if self._open:
            self._transport.write(joined)


def _fail(future: asyncio.Future[Any], error: Callable[[], Exception]) -> None:
    if not future.done():
        future.set_exception(error())
