"""Calls to a Triton: futures for the callers, and one task for each call that is out.

Each caller keeps its own deadline and may leave at any time without a trace in another's rows. What
is still here goes with it. What is at Triton runs to its end and its answer is dropped: a cancelled
inference can crash Triton for everybody, and so, it is told, can one past its gRPC deadline (issues
7368 and 8034 of triton-inference-server/server). Where it is known that this Triton survives it, a
call is cancelled there once all its callers have left.
Rows that run for nobody take up room until they are done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count

import numpy as np

from wardgate.engine.join import Joined, Joiner
from wardgate.engine.tensors import RETRY_SECONDS, finite, infer_request, logits_of, served_name
from wardgate.engine.tritonlink import Link, lost
from wardgate.engine.tritonshare import Shape
from wardgate.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    ModelOutputInvalid,
    Overloaded,
    WardgateError,
)
from wardgate.telemetry import BATCH_PADDING, BATCH_ROWS, QUEUE_TOKENS
from wardgate.types import Encoding, Logits, Priority

OVERDUE_SECONDS = 60.0
"""A call that is out for so long after its last deadline is given up: its model hangs."""
LEFT_SHARE = 0.125
"""While more of the queue than this runs for nobody, a caller is refused whose deadline is nearer
than calls take at the moment."""
DRAIN_SECONDS = 2.0
"""Given to calls that are out when the engine closes: other gateways may use the same Triton."""


class _Caller:
    """A caller that waits: its future, its rows as they come in, and the calls they went with."""

    __slots__ = ("calls", "future", "left", "logits", "shape")

    def __init__(self, future: asyncio.Future[Logits], rows: int, shape: Shape) -> None:
        self.future = future
        self.shape = shape
        self.logits = np.empty((rows, shape.columns), np.float32)
        self.left = rows
        self.calls: list[_Call] = []


@dataclass(slots=True, eq=False)
class _Call:
    """A call that is out, and how many of its tokens nobody waits for any more."""

    task: asyncio.Task[None]
    joined: Joined
    left: int = 0

    @property
    def tokens(self) -> int:
        """All its tokens."""
        return sum(len(row.ids) for row in self.joined.rows)


class Calls:
    """Sends what `joiner` joins over `link`. `seen` is told of each end: None, or the refusal.

    `cancels`: a call that nobody waits for any more is cancelled at Triton.
    """

    def __init__(
        self,
        joiner: Joiner,
        *,
        seen: Callable[[WardgateError | None], None],
        cancels: bool = False,
    ) -> None:
        self._cancels = cancels
        self.link: Link | None = None
        self._joiner = joiner
        self._seen = seen
        self._callers: dict[int, _Caller] = {}
        self._tickets = count(1)
        self._out: set[asyncio.Task[None]] = set()
        self._left = 0
        self._scheduled = False

    async def infer(
        self, shape: Shape, encoding: Encoding, *, deadline: float, priority: Priority
    ) -> Logits:
        """Return the logits of a caller's rows; as `Engine.infer`."""
        now = time.monotonic()
        ticket = next(self._tickets)
        self._joiner.push(
            ticket, shape.id.digest, encoding.rows, priority=priority, deadline=deadline
        )
        most, retry_after = self._joiner.queue_tokens, self._joiner.retry_after()
        full = self._joiner.tokens + self._left > most
        # Else all that comes could run too late, one behind the other, and nobody get an answer.
        late = self._left > LEFT_SHARE * most and retry_after > deadline - now
        if full or late:
            self._joiner.free(ticket)
            raise Overloaded(reason="queue-full", retry_after=retry_after)
        loop = asyncio.get_running_loop()
        self._schedule()
        caller = self._callers[ticket] = _Caller(loop.create_future(), len(encoding.rows), shape)
        timer = loop.call_later(deadline - now, _fail, caller, DeadlineExceeded)
        try:
            return await caller.future
        finally:
            timer.cancel()
            del self._callers[ticket]
            self._joiner.free(ticket)
            for call in caller.calls:
                if not call.task.done():
                    tokens = sum(len(row.ids) for row in call.joined.rows if row.ticket == ticket)
                    call.left += tokens
                    self._left += tokens
                    if self._cancels and call.left == call.tokens:
                        call.task.cancel()
            self._count()

    async def close(self) -> None:
        """End all calls; their callers are told that the engine is gone.

        Takes up to `DRAIN_SECONDS`; what is out then is cancelled.
        """
        for caller in tuple(self._callers.values()):
            _fail(caller, lost)
        out = tuple(self._out)
        if out:
            await asyncio.wait(out, timeout=DRAIN_SECONDS)
        for task in out:
            task.cancel()
        await asyncio.gather(*out, return_exceptions=True)

    def _schedule(self) -> None:
        """Send at the end of this turn of the loop."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        """Send what was pushed in this turn of the loop, or had to wait for its turn."""
        self._scheduled = False
        loop = asyncio.get_running_loop()
        for joined in self._joiner.take(time.monotonic()) if self.link else ():
            shape = self._callers[joined.rows[0].ticket].shape
            call = _Call(loop.create_task(self._exchange(joined, shape)), joined)
            for ticket in {row.ticket for row in joined.rows}:
                self._callers[ticket].calls.append(call)
            self._out.add(call.task)
            call.task.add_done_callback(partial(self._ended, call))
        self._count()

    def _ended(self, call: _Call, task: asyncio.Task[None]) -> None:
        self._out.discard(task)
        self._left -= call.left
        self._joiner.ended(call.joined)
        if self._joiner.waits:
            self._schedule()
        self._count()

    def _count(self) -> None:
        QUEUE_TOKENS.set(self._joiner.tokens + self._left)

    async def _exchange(self, joined: Joined, shape: Shape) -> None:
        """Make one call and give each of its callers its rows, or what it is told instead."""
        link, name = self.link, served_name(shape.id)
        assert link is not None  # the engine takes no row before there is one
        started = time.monotonic()
        rows = len(joined.rows)
        try:
            request = infer_request(name, joined, started)
            reply = await link.infer(request, joined.deadline - started + OVERDUE_SECONDS)
            logits = logits_of(reply, name, rows, shape.columns)
        except WardgateError as refusal:
            self._seen(refusal)
            self._refuse(joined, refusal)
            return
        except Exception:  # noqa: BLE001 -- whatever it is, its callers must not wait for it
            self._refuse(joined, EngineUnavailable(reason="run-failed", retry_after=RETRY_SECONDS))
            return
        self._seen(None)
        self._joiner.took(time.monotonic() - started)
        for place, (row, good) in enumerate(zip(joined.rows, finite(logits), strict=True)):
            caller = self._callers.get(row.ticket)
            if caller is None:  # it left while the call was out
                continue
            if not good:
                _fail(caller, ModelOutputInvalid)
                continue
            caller.logits[row.index] = logits[place]  # a copy: no caller holds another's memory
            caller.left -= 1
            if not caller.left and not caller.future.done():
                caller.future.set_result(caller.logits)
        tokens = sum(len(row.ids) for row in joined.rows)
        BATCH_ROWS.labels(shape.id.name).observe(rows)
        BATCH_PADDING.labels(shape.id.name).observe(1.0 - tokens / (rows * joined.length))

    def _refuse(self, joined: Joined, refusal: WardgateError) -> None:
        """Tell the callers of a call, each by an exception of its own: tracebacks grow on them."""
        again = partial(type(refusal), reason=refusal.reason, retry_after=refusal.retry_after)
        for row in joined.rows:
            caller = self._callers.get(row.ticket)
            if caller is not None:
                _fail(caller, again)


def _fail(caller: _Caller, error: Callable[[], WardgateError]) -> None:
    if not caller.future.done():
        caller.future.set_exception(error())
