"""Times a model on this machine and picks sessions, threads and batch sizes for it.

Sessions and threads: every way to share out the processors is timed under full load, and the most
tokens a second wins, narrow sessions where it is close. A wide session is kept beside narrow ones
where it answers a lone caller clearly sooner. Batch sizes: for each length bucket the smallest
batch that is nearly as cheap a row as the cheapest; a processor is often full with one long row,
and then company only costs latency. All of it is bounded in time: what is not timed is taken from
the nearest bucket that was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from wardgate.engine.batch import Bucket, edges

Shot = Callable[[int, int], None]
"""`shot(rows, length)`: one run of a batch of that shape."""

LOAD_GAIN = 1.25
"""Fewer, wider sessions are taken only where they do this many times the tokens of narrow ones,
which keep a short row from waiting behind a long batch. A busy neighbour on the machine feigns less
within a tenth of a second."""
LONE_GAIN = 0.85
"""A wide session is kept where a lone row takes at most this share of its time on a narrow one."""
NEAR = 1.05
"""A batch is large enough where a row costs at most this times the cheapest."""
BATCH_SECONDS = 0.04
"""Longest batch that is still tried: an urgent row waits for the batch before it."""
BATCH_TOKENS, BATCH_ROWS = 4096, 64
"""Largest batch tried, in padded tokens (bounds the memory of a run) and in rows."""
LOAD_SHAPE = (4, 32)
"""Rows and tokens of the batch that compares ways to share out the processors."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to share out the processors: `sessions` side by side, `threads` in each."""

    sessions: int
    threads: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was chosen for this machine, and what it was seen to do; for a log line and metrics."""

    cpus: int
    layout: Layout
    wide: int
    """Threads of the session for a lone caller; 0 where there is none."""
    buckets: Mapping[str, tuple[Bucket, ...]]
    rate: float
    """Padded tokens per second under full load."""
    seconds: float
    """How long warm-up and timing took."""

    def __str__(self) -> str:
        plans = "; ".join(
            f"{model}: " + " ".join(f"{bucket.length}x{bucket.rows}" for bucket in plan)
            for model, plan in self.buckets.items()
        )
        wide = f", {self.wide} threads for a lone caller" if self.wide else ""
        return (
            f"{self.layout.sessions} sessions of {self.layout.threads} threads{wide} on "
            f"{self.cpus} processors, {self.rate:.0f} tokens/s, batches (length x rows) {plans}"
        )


def layouts(cpus: int, sessions: int, threads: int) -> list[Layout]:
    """Return the ways worth timing; a setting above 0 fixes its part."""
    if sessions and threads:
        return [Layout(sessions, threads)]
    if sessions:
        return [Layout(sessions, max(1, cpus // sessions))]
    if threads:
        return [Layout(max(1, cpus // threads), threads)]
    # Past some 16 threads a small model's run only waits for its slowest thread.
    found = [Layout(cpus, 1), Layout(max(1, cpus // 4), min(cpus, 4)), Layout(1, min(cpus, 16))]
    return list(dict.fromkeys(found))


def choose(rates: Mapping[Layout, float]) -> Layout:
    """Return the best of the layouts, given tokens per second of each, the narrowest first."""
    best, *others = rates
    for layout in others:
        if rates[layout] > LOAD_GAIN * rates[best]:
            best = layout
    return best


def throughput(shots: Sequence[Shot], seconds: float) -> float:
    """Return padded tokens per second with each of `shots` run over and over in its own thread."""
    rows, length = LOAD_SHAPE

    def load(shot: Shot) -> int:
        end = time.perf_counter() + seconds
        runs = 0
        while time.perf_counter() < end:
            shot(rows, length)
            runs += 1
        return runs

    start = time.perf_counter()
    with ThreadPoolExecutor(len(shots)) as pool:
        runs = sum(pool.map(load, shots))
    return runs * rows * length / (time.perf_counter() - start)


def lone(shot: Shot, repeats: int = 5) -> float:
    """Return the time of one row of a common length alone, seconds: the least of `repeats`."""
    return min(_timed(shot, 1, LOAD_SHAPE[1]) for _ in range(repeats))


def plan(
    shot: Shot, max_length: int, until: float, clock: Callable[[], float] | None = None
) -> tuple[Bucket, ...]:
    """Warm and time every bucket up to `max_length`; after `until` (`perf_counter`) only warm.

    `clock` times a run, seconds; by default that of the wall.
    """
    clock = clock or time.perf_counter
    found: list[Bucket] = []
    for length in edges(max_length):
        shot(1, length)
        if time.perf_counter() < until:
            found.append(_bucket(shot, length, clock))
            continue
        seconds = _timed(shot, 1, length, clock)
        tokens = found[-1].rows * found[-1].length if found else length
        rows = max(1, tokens // length)
        shot(rows, length)
        found.append(Bucket(length, rows, seconds))
    return tuple(found)


def _bucket(shot: Shot, length: int, clock: Callable[[], float]) -> Bucket:
    costs: dict[int, float] = {}
    single = min(_timed(shot, 1, length, clock) for _ in range(2))
    costs[1] = single
    rows = 2
    while rows <= BATCH_ROWS and rows * length <= BATCH_TOKENS:
        if rows * min(costs.values()) > BATCH_SECONDS:
            break
        costs[rows] = min(_timed(shot, rows, length, clock) for _ in range(2)) / rows
        rows *= 2
    enough = NEAR * min(costs.values())
    return Bucket(length, min(size for size, cost in costs.items() if cost <= enough), single)


def _timed(shot: Shot, rows: int, length: int, clock: Callable[[], float] | None = None) -> float:
    clock = clock or time.perf_counter
    start = clock()
    shot(rows, length)
    return clock() - start
