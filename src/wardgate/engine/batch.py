"""The planner: decides which rows run next, together with which others, and which will not run.

A batch costs its longest row times its rows, in padded tokens, so rows share a batch only with rows
of their own length bucket. Who goes first is one number, fixed when a row arrives (`_rank`): its
arrival, put back for bulk and put forward for a near deadline. So bulk ages without a clock, nobody
starves, and the order of two rows never changes. A row whose deadline can no longer be met is given
up, not run. No row waits for company: whoever has a free session takes what is there.

Time comes in as `now`, seconds of one monotonic clock.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from operator import attrgetter

from wardgate.errors import ModelUnknown, NoteExceedsModel, Overloaded
from wardgate.types import Priority

URGENT_SECONDS = 0.25
"""A deadline nearer than this puts a row forward by what is missing: a note that may wait 50 ms
goes before those that came up to 200 ms earlier. The advantage is bounded, so it starves no one."""
RETRY_LEAST, RETRY_MOST = 0.05, 30.0
"""Bounds of the advice to come back, seconds."""

_rank_of = attrgetter("rank", "row")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Rows of one length class and how they run best on this machine."""

    length: int
    """Longest row taken, tokens."""
    rows: int
    """Most rows in one batch."""
    seconds: float
    """Time of a batch of one row of this length, seconds."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row that waits: the `index`-th of the call `ticket`."""

    ticket: int
    index: int
    ids: list[int]
    priority: Priority
    arrived: float
    rank: float
    row: int
    """Number of the row in order of arrival; decides between equal ranks."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one model that run together, most urgent first; never empty."""

    model: str
    rows: tuple[Row, ...]

    @property
    def longest(self) -> int:
        """Length of the longest row, tokens."""
        return max(len(row.ids) for row in self.rows)

    @property
    def tokens(self) -> int:
        """Tokens of all rows without padding."""
        return sum(len(row.ids) for row in self.rows)


@dataclass(slots=True)
class _Lane:
    """The rows of one model and bucket that wait, sorted by rank."""

    model: str
    bucket: Bucket
    rows: list[Row]


class Planner:
    """The queue. Not safe from several threads at once; its shell holds the lock.

    `buckets` by model, sorted by length; the last takes the model's longest row. `queue_tokens`
    bounds the tokens that wait. After `bulk_age` seconds a bulk row is as urgent as an interactive
    one that arrives then. `rate` is padded tokens per second of the whole machine, as measured.
    """

    def __init__(
        self,
        buckets: Mapping[str, Sequence[Bucket]],
        *,
        queue_tokens: int,
        bulk_age: float,
        rate: float,
    ) -> None:
        self._lanes: dict[str, tuple[_Lane, ...]] = {}
        self._all: tuple[_Lane, ...] = ()
        for model, plan in buckets.items():
            self.add(model, plan)
        self._bulk_age = bulk_age
        self._rate = rate
        self._room = queue_tokens
        self._waiting: dict[int, dict[int, tuple[_Lane, Row]]] = {}
        self._starts: list[tuple[float, int]] = []
        self._count = 0
        self.queue_tokens = queue_tokens
        self.tokens = 0
        """Tokens that wait."""

    def add(self, model: str, plan: Sequence[Bucket]) -> None:
        """Take rows of a model from now on."""
        self._lanes[model] = tuple(_Lane(model, bucket, []) for bucket in plan)
        self._all += self._lanes[model]

    def refuse(self, model: str) -> None:
        """Take no more rows of a model; those that wait will run."""
        self._lanes.pop(model, None)

    def forget(self, model: str) -> None:
        """Drop a model that is refused and of which no row waits."""
        self._all = tuple(lane for lane in self._all if lane.model != model)

    def push(
        self,
        ticket: int,
        model: str,
        rows: Sequence[list[int]],
        *,
        priority: Priority,
        deadline: float,
        now: float,
    ) -> None:
        """Queue all rows of a call, or none.

        Raises ModelUnknown; NoteExceedsModel for a row longer than the model or a call larger than
        the whole queue; Overloaded with `retry_after` where the queue has no room at the moment.
        """
        lanes = self._lanes.get(model)
        if lanes is None:
            raise ModelUnknown
        placed = [_lane_of(lanes, len(ids)) for ids in rows]
        tokens = sum(map(len, rows))
        if tokens > self.queue_tokens:
            raise NoteExceedsModel("The note has more tokens than the engine's queue holds.")
        if self.tokens + tokens > self._room:
            raise Overloaded(reason="queue-full", retry_after=self.retry_after())
        rank = self._rank(priority, deadline, now)
        mine = {}
        for index, (lane, ids) in enumerate(zip(placed, rows, strict=True)):
            self._count += 1
            row = Row(ticket, index, ids, priority, now, rank, self._count)
            insort(lane.rows, row, key=_rank_of)
            mine[row.row] = (lane, row)
        self._waiting[ticket] = mine
        self.tokens += tokens
        # The slowest row decides until when the call can still be met.
        heappush(self._starts, (deadline - max(lane.bucket.seconds for lane in placed), ticket))
        if len(self._starts) > 2 * len(self._waiting) + 64:  # most calls ran: forget them
            self._starts = [entry for entry in self._starts if entry[1] in self._waiting]
            heapify(self._starts)

    def cancel(self, ticket: int) -> bool:
        """Drop the rows of a call that still wait; False where none did."""
        rows = self._waiting.pop(ticket, None)
        if rows is None:
            return False
        for lane, row in rows.values():
            del lane.rows[bisect_left(lane.rows, _rank_of(row), key=_rank_of)]
            self.tokens -= len(row.ids)
        return True

    def expire(self, now: float) -> list[int]:
        """Drop the calls whose deadline can no longer be met; return their tickets."""
        gone = []
        while self._starts and self._starts[0][0] <= now:
            _, ticket = heappop(self._starts)
            if self.cancel(ticket):
                gone.append(ticket)
        return gone

    def next_batch(self, free: int = 1) -> Batch | None:
        """Take the most urgent row and those of its model and bucket that come next after it.

        `free` sessions, at least the caller's own, have nothing to run: they share what waits, for
        company is no gain while another session idles. None where nothing waits. Call `expire`
        first, so that nothing runs in vain.
        """
        lane = min((lane for lane in self._all if lane.rows), key=_head, default=None)
        if lane is None:
            return None
        rows = tuple(lane.rows[: min(lane.bucket.rows, -(-len(lane.rows) // free))])
        del lane.rows[: len(rows)]
        for row in rows:
            self.tokens -= len(row.ids)
            self._left(row)
        return Batch(lane.model, rows)

    def ran(self, batch: Batch, seconds: float, share: int) -> None:
        """Learn the speed from a batch that took `seconds` while `share` batches ran at a time."""
        measured = batch.longest * len(batch.rows) * share / max(seconds, 1e-6)
        # An average over tens of batches: one slow run must not turn callers away for long.
        self._rate += 0.05 * (measured - self._rate)

    def retry_after(self) -> float:
        """Seconds after which the queue as it stands will have been worked off."""
        return min(max(self.tokens / self._rate, RETRY_LEAST), RETRY_MOST)

    def _rank(self, priority: Priority, deadline: float, now: float) -> float:
        """Return the rank, in seconds of the same clock as `now`: the lower the sooner."""
        age = self._bulk_age if priority is Priority.BULK else 0.0
        return now + age - max(0.0, URGENT_SECONDS - max(0.0, deadline - now))

    def _left(self, row: Row) -> None:
        """Take a row that leaves for a batch out of the rows that wait for its call."""
        rows = self._waiting[row.ticket]
        del rows[row.row]
        if not rows:
            del self._waiting[row.ticket]


def _lane_of(lanes: Sequence[_Lane], length: int) -> _Lane:
    for lane in lanes:
        if length <= lane.bucket.length:
            return lane
    raise NoteExceedsModel


def _head(lane: _Lane) -> tuple[float, int]:
    first = lane.rows[0]
    return first.rank, first.row


def edges(max_length: int) -> Iterator[int]:
    """Yield the lengths at which buckets end: steps of a third to a half, the last `max_length`.

    Padding within a bucket stays under a third, and there are few enough to fill.
    """
    base = 8
    while base < max_length:
        yield base
        if base >= 16 and base + base // 2 < max_length:  # noqa: PLR2004 -- 8, 16, 24, 32, 48, 64...
            yield base + base // 2
        base *= 2
    yield max_length
