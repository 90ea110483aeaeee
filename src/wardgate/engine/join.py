"""The planner before a remote batcher: decides which rows go out together, in one call.

A remote batcher joins only calls of equal length, so every row belongs to a bucket length and is
padded to it. Rows of one model, bucket and priority that are pushed in the same turn of the event
loop go as one call, up to the model's most rows, where their deadlines are near enough: the call
runs until the last of them, and what nobody waits for any more must not run for long. No
interactive row waits for company; the remote batcher joins the calls of all processes.

Rows wait here rather than there, since here one whose caller leaves does not run. Few bulk calls
are out at a time, so that interactive rows find a short queue; of interactive ones so many that the
remote batcher never runs out of full batches. What gathers meanwhile makes fuller calls.

Time comes in as `now`, seconds of one monotonic clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from wardgate.errors import ModelUnknown, NoteExceedsModel, Overloaded
from wardgate.types import Priority

DEADLINE_RATIO = 2.0
"""Rows go together where the last deadline is at most this many times as far as the first."""
BULK_CALLS = 2
"""Bulk calls out at a time: one that runs and one that follows it without a gap."""
FULL_CALLS = 4
"""Interactive rows of a model that are out at a time, in full calls: enough for two instances of a
remote batcher, each with one batch that runs and one that follows, from one process alone."""
RETRY_LEAST, RETRY_MOST = 0.05, 30.0
"""Bounds of the advice to come back, seconds."""


@dataclass(frozen=True, slots=True)
class Row:
    """The `index`-th row of the caller `ticket`."""

    ticket: int
    index: int
    ids: list[int]


@dataclass(frozen=True, slots=True)
class Joined:
    """Rows that go out as one call; never empty."""

    model: str
    length: int
    """Bucket length, tokens: what each row is padded to."""
    priority: Priority
    deadline: float
    """The last of its rows' deadlines."""
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class _Waiting:
    row: Row
    deadline: float


_Lane = tuple[str, int, Priority]


class Joiner:
    """Rows between `push` and `take`; `queue_tokens` bounds the tokens from `push` to `free`."""

    def __init__(self, *, queue_tokens: int) -> None:
        self._models: dict[str, tuple[Sequence[int], int]] = {}
        self._lanes: dict[_Lane, list[_Waiting]] = {}
        self._tickets: dict[int, int] = {}
        self._seconds = RETRY_LEAST
        self._bulk = 0
        self._out: dict[str, int] = {}
        """Interactive rows of each model that are out."""
        self.queue_tokens = queue_tokens
        self.tokens = 0
        """Tokens of all callers that have not been freed, padding left out."""

    def serve(self, model: str, lengths: Sequence[int], rows: int) -> None:
        """Take a model's rows: `lengths` of its buckets in rising order, most `rows` in a call."""
        self._models[model] = (tuple(lengths), rows)

    def drop(self, model: str) -> None:
        """Take no more rows of a model; those pushed before still go out."""
        self._models.pop(model, None)

    def push(
        self,
        ticket: int,
        model: str,
        rows: Sequence[list[int]],
        *,
        priority: Priority,
        deadline: float,
    ) -> None:
        """Take all rows of a caller, or none.

        Raises ModelUnknown; NoteExceedsModel for a row longer than the model or rows larger than
        the whole queue; Overloaded with `retry_after` where there is no room at the moment.
        """
        if model not in self._models:
            raise ModelUnknown
        lengths, _ = self._models[model]
        if max(map(len, rows)) > lengths[-1]:
            raise NoteExceedsModel
        tokens = sum(map(len, rows))
        if tokens > self.queue_tokens:
            raise NoteExceedsModel("The note has more tokens than the engine's queue holds.")
        if self.tokens + tokens > self.queue_tokens:
            raise Overloaded(reason="queue-full", retry_after=self.retry_after())
        for index, ids in enumerate(rows):
            lane = (model, lengths[bisect_left(lengths, len(ids))], priority)
            self._lanes.setdefault(lane, []).append(_Waiting(Row(ticket, index, ids), deadline))
        self._tickets[ticket] = tokens
        self.tokens += tokens

    def free(self, ticket: int) -> None:
        """Give back the room of a caller that was answered or left; rows still here do not go."""
        self.tokens -= self._tickets.pop(ticket, 0)

    def take(self, now: float) -> list[Joined]:
        """Return what may go out, interactive first, then the most urgent; bulk in turns.

        Each call that is taken is given back to `ended`; take again after it.
        """
        for lane, waiting in tuple(self._lanes.items()):
            here = [each for each in waiting if each.row.ticket in self._tickets]
            if here:
                self._lanes[lane] = here
            else:
                del self._lanes[lane]
        ready: list[Joined] = []
        for lane, waiting in self._lanes.items():
            if lane[2] is Priority.INTERACTIVE and self._room(lane[0]):
                ready += self._joined(lane, waiting, now)
        ready.sort(key=attrgetter("deadline"))
        found: list[Joined] = []
        for call in ready:
            if self._room(call.model):
                self._remove(call)
                self._out[call.model] = self._out.get(call.model, 0) + len(call.rows)
                found.append(call)
        while self._bulk < BULK_CALLS and (
            lanes := [lane for lane in self._lanes if lane[2] is Priority.BULK]
        ):
            lane = min(lanes, key=lambda each: min(row.deadline for row in self._lanes[each]))
            call = self._joined(lane, self._lanes[lane], now)[0]
            self._remove(call)
            found.append(call)
            self._bulk += 1
        return found

    @property
    def waits(self) -> bool:
        """Whether rows are here that may go once a call has ended."""
        return bool(self._lanes)

    def ended(self, call: Joined) -> None:
        """Count a call that was answered, failed or was cancelled."""
        if call.priority is Priority.BULK:
            self._bulk -= 1
        else:
            self._out[call.model] -= len(call.rows)
            if not self._out[call.model]:
                del self._out[call.model]

    def took(self, seconds: float) -> None:
        """Learn from a call that was answered in `seconds` how long the queue takes."""
        self._seconds += 0.05 * (seconds - self._seconds)

    def retry_after(self) -> float:
        """Seconds after which what is out will have been answered: the time calls take."""
        return min(max(self._seconds, RETRY_LEAST), RETRY_MOST)

    def _room(self, model: str) -> bool:
        """Whether another interactive call of a model may go out; the last may be a full one."""
        _, most = self._models.get(model, ((), 1))
        return self._out.get(model, 0) < FULL_CALLS * most

    def _remove(self, call: Joined) -> None:
        lane = (call.model, call.length, call.priority)
        gone = {(row.ticket, row.index) for row in call.rows}
        left = [each for each in self._lanes[lane] if (each.row.ticket, each.row.index) not in gone]
        if left:
            self._lanes[lane] = left
        else:
            del self._lanes[lane]

    def _joined(self, lane: _Lane, waiting: list[_Waiting], now: float) -> list[Joined]:
        model, length, priority = lane
        # A model dropped since the push has no limit any more: its rows go one by one.
        _, most = self._models.get(model, ((), 1))
        waiting.sort(key=lambda each: each.deadline)
        found: list[Joined] = []
        start = 0
        for end in range(1, len(waiting) + 1):
            last = end == len(waiting)
            if last or end - start == most or not _near(waiting[start], waiting[end], now):
                rows = tuple(each.row for each in waiting[start:end])
                found.append(Joined(model, length, priority, waiting[end - 1].deadline, rows))
                start = end
        return found


def _near(first: _Waiting, other: _Waiting, now: float) -> bool:
    return other.deadline - now <= DEADLINE_RATIO * max(first.deadline - now, 0.0)
