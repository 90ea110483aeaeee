"""The audit as a request sees it: hand a record in, await the moment it is durable.

Group commit has no timer: one thread takes what is handed over as soon as the last commit has
returned. What one turn of the loop queues is handed over together. An intent that nobody awaits yet
waits up to 10 ms for its outcome, which shares its commit: the text it is about stays in this
process until then.
The queue is bounded; a full one refuses at once. An intent takes room for its outcome too, so that
an outcome always finds room. Results come back to the event loop with one call for each group.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from wardgate.audit.event import Entry, change_entry, intent_entry, outcome_entry
from wardgate.audit.refusals import Refusals
from wardgate.errors import AuditUnavailable, Overloaded, WardgateError
from wardgate.telemetry import AUDIT_COMMIT_SECONDS, AUDIT_RECORDS
from wardgate.types import CheckState, Intent, ModelChange, Outcome, Refusal

REFUSALS_SECONDS: Final = 10.0
"""One record of refusals in this time."""
_GROUP: Final = 512
"""Records in one commit at most, so that its waiters are not held up for long."""
_INTENT_SECONDS: Final = 0.01
"""How long an intent that nobody awaits may wait for company."""
_LATE: Final = "The audit record did not become durable in time."


class Sink(Protocol):
    """Where records become durable; called from one thread, may block."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Make all entries durable, in order, or none. Raises AuditUnavailable."""

    def seal(self) -> None:
        """Sign what is durable. Raises AuditUnavailable."""

    def probe(self) -> None:
        """Commit a write that leaves no record. Raises AuditUnavailable."""

    def close(self) -> None:
        """Sign what is durable and let go of the files."""


class Ticket:
    """A record on its way; await it to know it durable. Awaiting a durable one costs nothing."""

    __slots__ = ("after", "done", "entry", "error", "hurry", "since", "unwritten", "waiters")

    def __init__(
        self, entry: Entry | None, after: Ticket | None, since: float, hurry: Callable[[], None]
    ) -> None:
        """Hold an entry (None only probes the sink) to be written if `after` was written.

        `hurry` asks for the tickets not yet handed over to the writer to be so at once.
        """
        self.entry = entry
        self.hurry = hurry
        self.after = after
        self.since = since
        self.done = False
        self.error: AuditUnavailable | None = None
        """What those who wait are told; also where the record was late and became durable after."""
        self.unwritten: AuditUnavailable | None = None
        """Why the record is not in the store; set by the writer alone."""
        self.waiters: list[asyncio.Future[None]] | None = None

    def __await__(self) -> Generator[asyncio.Future[None], None, None]:
        """Wait until the record is durable. Raises AuditUnavailable where it never will be."""
        if not self.done:
            self.hurry()
            waiter = asyncio.get_running_loop().create_future()
            if self.waiters is None:
                self.waiters = [waiter]
            else:
                self.waiters.append(waiter)
            yield from waiter
        if self.error is not None:
            error = self.error
            raise AuditUnavailable(error.detail, reason=error.reason, retry_after=1.0)

    def settle(self) -> None:
        """Wake those who wait; on the event loop alone."""
        self.done = True
        self.after = None
        if self.waiters is not None:
            for waiter in self.waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self.waiters = None


class Recorder:
    """The one way to the audit of this process; all methods are for its event loop."""

    def __init__(
        self,
        sink: Sink,
        *,
        queue: int = 10_000,
        patience: float = 10.0,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """Take over an open sink.

        `queue` bounds the records that wait for a commit, `patience` (seconds) how long one waits;
        `clock` gives microseconds since 1970.
        """
        self._sink = sink
        self._room = queue
        self._patience = patience
        self._clock = clock
        self._queue: SimpleQueue[list[Ticket] | None] = SimpleQueue()
        self._handing: list[Ticket] = []
        self._hand_timer: asyncio.Handle | None = None
        self._hurried = False
        self._pending: deque[Ticket] = deque()
        self._unsettled = 0  # handed in and not yet back from the writer, late ones included
        self._owed = 0
        self._refusals = Refusals()
        self._unsent: deque[Entry] = deque(maxlen=256)
        self._flush_timer: asyncio.TimerHandle | None = None
        self._watch_timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._closing = False

    def start(self) -> None:
        """Start the writer thread; call once, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write, name="audit-writer", daemon=True)
        self._thread.start()

    def intent(self, intent: Intent) -> Ticket:
        """Queue an intent, and room for its outcome.

        Raises Overloaded where the queue is full, AuditUnavailable where the recorder is closed or
        the intent cannot be written down.
        """
        if self._unsettled + self._owed + 2 > self._room:
            raise Overloaded(reason="audit-queue-full", retry_after=1.0)
        try:
            entry = intent_entry(intent, self._clock())
        except ValueError as error:
            raise AuditUnavailable(str(error), reason="audit-not-encodable") from None
        ticket = self._put(entry, soon=False)
        self._owed += 1
        return ticket

    def outcome(self, outcome: Outcome, intent: Ticket) -> Ticket:
        """Queue the outcome of an intent; call exactly once for each ticket of an intent.

        The ticket given back is durable only if both records are: it fails where the intent failed.
        Raises AuditUnavailable where the recorder is closed or the outcome cannot be written down.
        """
        self._owed -= 1
        try:
            entry = outcome_entry(outcome, self._clock())
        except ValueError as error:
            raise AuditUnavailable(str(error), reason="audit-not-encodable") from None
        return self._put(entry, intent)

    def change(self, change: ModelChange) -> Ticket:
        """Queue a step of a change of what serves; it may be taken once the ticket is durable.

        Raises AuditUnavailable where the recorder is closed or the step cannot be written down.
        """
        try:
            entry = change_entry(change, self._clock())
        except ValueError as error:
            raise AuditUnavailable(str(error), reason="audit-not-encodable") from None
        return self._put(entry)

    def refusal(self, refusal: Refusal) -> None:
        """Count a call turned away. Never blocks, never fails, takes bounded room."""
        entry = self._refusals.add(refusal, self._clock())
        if entry is not None:
            self._offer(entry)
        if self._flush_timer is None and not self._closing:
            self._flush_timer = self._loop.call_later(REFUSALS_SECONDS, self._flush)

    async def check(self) -> CheckState:
        """Say whether the sink takes a write, by a write that really commits."""
        try:
            await self._put(None)
        except WardgateError as error:
            return CheckState("audit", ok=False, detail=error.detail)
        return CheckState("audit", ok=True)

    async def close(self) -> None:
        """Write what is queued and the refusals counted so far, then close the sink.

        Waits `patience` seconds at most; what is not durable by then fails. May be called again.
        """
        if self._closing or self._thread is None:
            return
        self._flush()
        self._closing = True
        self._hand_over()
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join, self._patience)
        for timer in (self._flush_timer, self._watch_timer):
            if timer is not None:
                timer.cancel()
        self._expire(float("inf"))

    # -- on the event loop ------------------------------------------------------------------------

    def _put(
        self, entry: Entry | None, after: Ticket | None = None, *, soon: bool = True
    ) -> Ticket:
        if self._closing or self._thread is None:
            raise AuditUnavailable("The audit is closed.", reason="audit-closed")
        ticket = Ticket(entry, after, self._loop.time(), self._hurry)
        self._pending.append(ticket)
        self._unsettled += 1
        self._handing.append(ticket)
        if soon:
            self._hurry()
        elif self._hand_timer is None:
            self._hand_timer = self._loop.call_later(_INTENT_SECONDS, self._hand_over)
        if self._watch_timer is None:
            self._watch_timer = self._loop.call_later(1.0, self._watch)
        return ticket

    def _hurry(self) -> None:
        """Hand over at the end of this turn of the loop."""
        if self._handing and not self._hurried:
            self._hurried = True
            if self._hand_timer is not None:
                self._hand_timer.cancel()
            self._hand_timer = self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """Give the writer thread what is queued: one wake-up for all of it."""
        if self._hand_timer is not None:
            self._hand_timer.cancel()
            self._hand_timer = None
        self._hurried = False
        tickets, self._handing = self._handing, []
        for start in range(0, len(tickets), _GROUP // 2):
            self._queue.put(tickets[start : start + _GROUP // 2])

    def _offer(self, entry: Entry) -> None:
        """Queue an entry that nobody waits for; keep it for later where there is no room."""
        if self._closing or self._unsettled + self._owed >= self._room:
            self._unsent.append(entry)
        else:
            self._put(entry)

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        entries = [*self._unsent, *self._refusals.flush(self._clock())]
        self._unsent.clear()
        for entry in entries:
            self._offer(entry)
        if self._unsent and not self._closing:
            self._flush_timer = self._loop.call_later(REFUSALS_SECONDS, self._flush)

    def _settle(self, group: list[Ticket]) -> None:
        """Answer a group that was committed, or was not."""
        self._unsettled -= len(group)
        for ticket in group:
            if not ticket.done:
                self._pending.popleft()
            ticket.settle()
            entry = ticket.entry
            if ticket.unwritten is not None and entry is not None and not entry.request_id:
                self._unsent.append(entry)
        if self._unsent and self._flush_timer is None and not self._closing:
            self._flush_timer = self._loop.call_later(REFUSALS_SECONDS, self._flush)

    def _watch(self) -> None:
        """Fail what waits too long; a disk may hang without an error."""
        self._watch_timer = None
        self._expire(self._loop.time() - self._patience)
        if self._pending and not self._closing:
            self._watch_timer = self._loop.call_later(1.0, self._watch)

    def _expire(self, before: float) -> None:
        pending = self._pending
        while pending and pending[0].since < before:
            ticket = pending.popleft()
            ticket.error = ticket.error or AuditUnavailable(_LATE, reason="audit-late")
            ticket.settle()

    # -- in the writer thread ---------------------------------------------------------------------

    def _write(self) -> None:
        closing = False
        while not closing:
            group: list[Ticket] = []
            tickets = self._queue.get()
            try:
                while tickets is not None:
                    group += tickets
                    if len(group) > _GROUP // 2:
                        break
                    tickets = self._queue.get_nowait()
                closing = tickets is None
            except Empty:
                pass
            if group:
                self._commit(group)
        self._sink.close()

    def _commit(self, group: list[Ticket]) -> None:
        for ticket in group:
            if ticket.after is not None and ticket.after.unwritten is not None:
                ticket.unwritten = ticket.error = ticket.after.unwritten
        entries = [
            ticket.entry
            for ticket in group
            if ticket.entry is not None and ticket.unwritten is None
        ]
        started = time.perf_counter()
        failure = _attempt(self._sink.append, entries) if entries else _attempt(self._sink.probe)
        if failure is not None:
            for ticket in group:
                ticket.unwritten = ticket.unwritten or failure
                ticket.error = ticket.error or failure
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, group)
        if failure is None:
            self._count(entries, time.perf_counter() - started)
            _attempt(self._sink.seal)  # where it fails, the head is due before the next append

    @staticmethod
    def _count(entries: list[Entry], seconds: float) -> None:
        AUDIT_COMMIT_SECONDS.observe(seconds)
        kinds: dict[str, int] = {}
        for entry in entries:
            kinds[entry.kind] = kinds.get(entry.kind, 0) + 1
        for kind, number in kinds.items():
            AUDIT_RECORDS.labels(kind).inc(number)


def _attempt(call: Callable[..., None], *arguments: object) -> AuditUnavailable | None:
    """Call the sink; return its failure. The writer must outlive any fault."""
    try:
        call(*arguments)
    except AuditUnavailable as error:
        return error
    except Exception as error:  # noqa: BLE001 -- whatever it was, the group is not durable
        return AuditUnavailable(f"The audit writer failed ({type(error).__name__}).")
    return None
