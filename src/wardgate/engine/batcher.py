"""The shell around the planner: session threads that take batches, and futures for the callers.

Each slot is one thread with one native run at a time (ONNX Runtime releases the interpreter lock).
A thread that is done takes its next batch itself, as late as it can: no row is bound to a batch
before that batch runs, so a caller that left, or a deadline that passed, still takes its rows out.
The event loop is told of a result once a batch. Output that is not finite, or not of the declared
shape, is an error for every caller of its batch and never a reply.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

from wardgate.engine.batch import Batch, Bucket, Planner
from wardgate.errors import DeadlineExceeded, EngineUnavailable, ModelOutputInvalid, WardgateError
from wardgate.telemetry import BATCH_PADDING, BATCH_ROWS, QUEUE_SECONDS, QUEUE_TOKENS
from wardgate.types import Encoding, Logits, Priority

Ids = NDArray[np.int64]
Run = Callable[[str, Ids, Ids, int, bool], NDArray[np.float32]]
"""`run(model, input_ids, attention_mask, slot, alone)`: one native run, in the slot's thread.

`input_ids` and `attention_mask` are int64 [rows, longest]; `alone` says that nothing else runs or
waits, so that this run may take the whole machine.
"""

_DRAIN_SECONDS = 0.01
"""How often a model that shall go is looked at."""
_QUIET_SECONDS = 0.0005
"""How often the queue is looked at by whoever waits for a gap."""


class _Call:
    """A caller that waits: its future, and its rows as they come in."""

    __slots__ = ("future", "left", "logits", "model")

    def __init__(self, model: str, future: asyncio.Future[Logits], rows: int, columns: int) -> None:
        self.model = model
        self.future = future
        self.logits = np.empty((rows, columns), np.float32)
        self.left = rows


class Batcher:
    """Runs the planner's batches on `slots` threads. `columns` is the number of labels by model.

    `start`, `infer`, `add` and `remove` belong to one event loop.
    """

    def __init__(
        self, planner: Planner, run: Run, *, slots: int, columns: Mapping[str, int]
    ) -> None:
        self._planner = planner
        self._run = run
        self._columns = dict(columns)
        self._calls: dict[int, _Call] = {}  # touched by the event loop alone
        self._tickets = count(1)
        self._ready = threading.Condition(threading.Lock())  # guards what follows, and the planner
        self._running = 0
        self._batches: Tally[str] = Tally()  # that run, by model
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, args=(slot,), name=f"engine-{slot}", daemon=True)
            for slot in range(slots)
        ]
        self._queued = {kind: QUEUE_SECONDS.labels(kind.value) for kind in Priority}
        self._metrics = {
            model: (BATCH_ROWS.labels(model), BATCH_PADDING.labels(model)) for model in columns
        }

    def start(self) -> None:
        """Start the threads; call it in the event loop that will call `infer`."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    async def infer(
        self, model: str, encoding: Encoding, *, deadline: float, priority: Priority
    ) -> Logits:
        """As `Engine.infer`."""
        now = time.monotonic()
        if deadline <= now:
            raise DeadlineExceeded
        ticket = next(self._tickets)
        with self._ready:
            if self._closed:
                raise EngineUnavailable(retry_after=1.0)
            self._planner.push(
                ticket, model, encoding.rows, priority=priority, deadline=deadline, now=now
            )
            self._ready.notify(len(encoding.rows))
        call = _Call(model, self._loop.create_future(), len(encoding.rows), self._columns[model])
        self._calls[ticket] = call
        timer = self._loop.call_later(deadline - now, self._late, ticket)
        try:
            return await call.future
        finally:
            timer.cancel()
            del self._calls[ticket]
            if call.left:  # cancelled, late or failed: what still waits must not run
                with self._ready:
                    self._planner.cancel(ticket)

    def add(self, model: str, plan: Sequence[Bucket], columns: int) -> None:
        """Take calls of a model from now on; `run` must be able to run it."""
        self._metrics[model] = (BATCH_ROWS.labels(model), BATCH_PADDING.labels(model))
        self._columns[model] = columns
        with self._ready:
            self._planner.add(model, plan)

    async def remove(self, model: str) -> None:
        """Refuse new calls of a model, and return once the last of those there are has its answer.

        Each ends by its own deadline at the latest.
        """
        with self._ready:
            self._planner.refuse(model)
        while self._holds(model):  # noqa: ASYNC110 -- a rare wait
            await asyncio.sleep(_DRAIN_SECONDS)
        with self._ready:
            self._planner.forget(model)
        self._columns.pop(model, None)
        self._metrics.pop(model, None)

    def quiet(self, seconds: float) -> None:
        """Wait until nothing waits or runs, `seconds` at most. For a thread that gives way."""
        end = time.monotonic() + seconds
        while (self._running or self._planner.tokens) and time.monotonic() < end:
            time.sleep(_QUIET_SECONDS)

    def _holds(self, model: str) -> bool:
        """Whether a caller waits for the model or a batch of it runs, its callers gone or not."""
        with self._ready:
            running = self._batches[model] > 0
        return running or any(call.model == model for call in self._calls.values())

    async def close(self) -> None:
        """Let running batches end, stop the threads, and fail the calls that are left."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        started = [thread for thread in self._threads if thread.is_alive()]
        for thread in started:
            await asyncio.to_thread(thread.join)
        await asyncio.sleep(0)  # results that the threads have posted go first
        for ticket in tuple(self._calls):
            self._fail(ticket, EngineUnavailable(retry_after=1.0))

    # -- in the slot's thread ---------------------------------------------------------------------

    def _work(self, slot: int) -> None:
        while True:
            with self._ready:
                expired, batch = self._take()
                if self._closed:
                    return
                self._running += 1
                if batch is not None:
                    self._batches[batch.model] += 1
                share = self._running
                alone = share == 1 and self._planner.tokens == 0
            started = time.monotonic()
            try:
                outcome: NDArray[np.float32] | WardgateError | None = None
                if batch is not None:
                    outcome = self._logits(batch, slot, alone=alone)
            finally:
                with self._ready:
                    self._running -= 1
                    if batch is not None:
                        self._planner.ran(batch, time.monotonic() - started, share)
            try:
                self._loop.call_soon_threadsafe(self._deliver, expired, batch, outcome, started)
            except RuntimeError:  # the loop is closed, and with it every caller
                return

    def _take(self) -> tuple[list[int], Batch | None]:
        """Wait for work. Holds the lock but for the time in `wait`."""
        while True:
            expired = self._planner.expire(time.monotonic())
            batch = self._planner.next_batch(len(self._threads) - self._running)
            if expired or batch is not None or self._closed:
                return expired, batch
            self._ready.wait()

    def _logits(
        self, batch: Batch, slot: int, *, alone: bool
    ) -> NDArray[np.float32] | WardgateError:
        """Run a batch: float32 [rows, labels], or what its callers are told instead."""
        ids = np.zeros((len(batch.rows), batch.longest), np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(batch.rows):
            ids[index, : len(row.ids)] = row.ids
            mask[index, : len(row.ids)] = 1
        try:
            logits = self._run(batch.model, ids, mask, slot, alone)
        except Exception:  # noqa: BLE001 -- the runtime's own errors have no common class
            return EngineUnavailable(reason="run-failed", retry_after=1.0)
        if not valid(logits, len(batch.rows), self._columns[batch.model]):
            return ModelOutputInvalid()
        return logits

    # -- in the event loop ------------------------------------------------------------------------

    def _deliver(
        self,
        expired: list[int],
        batch: Batch | None,
        outcome: NDArray[np.float32] | WardgateError | None,
        started: float,
    ) -> None:
        for ticket in expired:
            self._fail(ticket, DeadlineExceeded())
        if batch is not None:
            with self._ready:
                self._batches[batch.model] -= 1
        if batch is None or outcome is None:
            return
        if isinstance(outcome, WardgateError):
            for row in batch.rows:
                # Each caller gets an exception of its own: tracebacks grow on what is raised.
                again = type(outcome)(reason=outcome.reason, retry_after=outcome.retry_after)
                self._fail(row.ticket, again)
        else:
            for index, row in enumerate(batch.rows):
                self._give(row.ticket, row.index, outcome[index])
        for row in batch.rows:
            self._queued[row.priority].observe(started - row.arrived)
        rows, padding = self._metrics[batch.model]
        rows.observe(len(batch.rows))
        padding.observe(1.0 - batch.tokens / (batch.longest * len(batch.rows)))
        QUEUE_TOKENS.set(self._planner.tokens)

    def _give(self, ticket: int, index: int, logits: NDArray[np.float32]) -> None:
        call = self._calls.get(ticket)
        if call is None:  # the caller left while its batch ran
            return
        call.logits[index] = logits  # a copy: no caller holds memory that holds another's row
        call.left -= 1
        if not call.left and not call.future.done():
            call.future.set_result(call.logits)

    def _fail(self, ticket: int, error: WardgateError) -> None:
        call = self._calls.get(ticket)
        if call is not None and not call.future.done():
            call.future.set_exception(error)

    def _late(self, ticket: int) -> None:
        self._fail(ticket, DeadlineExceeded())


def valid(logits: object, rows: int, columns: int) -> bool:
    """Whether `logits` is float32 [rows, columns] and every value finite."""
    return (
        isinstance(logits, np.ndarray)
        and logits.dtype == np.float32
        and logits.shape == (rows, columns)
        and bool(np.isfinite(logits).all())
    )
