"""Jobs that share processors evenly, on simulated time: what the kernel's fair scheduler comes to.

All threads that are ready go forward at one speed, so one sum of work done says of each job when it
ends, and a job that comes or goes changes that sum's speed alone. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Generic, TypeVar

_Job = TypeVar("_Job")


class Processors(Generic[_Job]):
    """`speed[n - 1]`: work that n threads at once do in a second; more do as much as the last."""

    def __init__(self, speed: Sequence[float]) -> None:
        self._each = [total / (n + 1) for n, total in enumerate(speed)]
        self._all = speed[-1]
        self._now = self._done = self._pace = 0.0
        self._threads = 0
        self._jobs: list[tuple[float, int, int, _Job]] = []
        self._count = 0

    def alone(self, threads: int) -> float:
        """Return how fast each of `threads` threads goes where there is nothing else."""
        return self._each[threads - 1] if threads <= len(self._each) else self._all / threads

    def start(self, now: float, work: float, job: _Job, threads: int = 1) -> None:
        """Begin a job: `work` seconds of each of its threads on a processor of its own."""
        self._advance(now)
        self._count += 1
        heappush(self._jobs, (self._done + work, self._count, threads, job))
        self._change(threads)

    def next_end(self) -> float:
        """Return when the next job ends if none comes before that; infinity where none runs."""
        if not self._jobs:
            return math.inf
        return self._now + (self._jobs[0][0] - self._done) / self._pace

    def finish(self) -> tuple[float, _Job]:
        """Take the job that ends next, with the time at which it does."""
        now = max(self._now, self.next_end())
        end, _, threads, job = heappop(self._jobs)
        self._done, self._now = max(end, self._done), now
        self._change(-threads)
        return now, job

    def _advance(self, now: float) -> None:
        self._done += (now - self._now) * self._pace
        self._now = now

    def _change(self, threads: int) -> None:
        self._threads += threads
        self._pace = self.alone(self._threads) if self._threads else 0.0
