"""Who calls when, with which note: an open load of many tenants, or given times. Pure, by seed."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from wardgate.cli.bench.sim.plan import Tenants
from wardgate.cli.bench.sim.replica import Call
from wardgate.cli.bench.sim.service import Note
from wardgate.types import Principal, Priority


class Callers:
    """Makes calls: tenants by their shares, notes in order or at random."""

    def __init__(
        self, notes: Sequence[Note], tenants: Tenants, *, timeout: float, rng: random.Random
    ) -> None:
        # Rows of one length share one list: the planner asks for lengths alone.
        ids = {length: [0] * length for note in notes for length in note.rows}
        self._notes = [([ids[length] for length in note.rows], note.seconds) for note in notes]
        self._principals = [
            Principal("simulated", f"tenant-{n}", "", f"tenant-{n}", frozenset(), "", math.inf)
            for n in range(tenants.count)
        ]
        self._ends = list(accumulate((n + 1) ** -tenants.zipf for n in range(tenants.count)))
        self._bulk, self._timeout, self._rng = tenants.bulk, timeout, rng

    def call(self, number: int, due: float, note: int | None = None) -> Call:
        """Return a call that is due; of a note by number, or of one drawn."""
        rng = self._rng
        if note is None:
            note = int(rng.random() * len(self._notes))
        rows, reading = self._notes[note % len(self._notes)]
        tenant = 0
        if len(self._ends) > 1:
            tenant = bisect_right(self._ends, rng.random() * self._ends[-1])
            tenant = min(tenant, len(self._ends) - 1)
        bulk = self._bulk and rng.random() < self._bulk
        return Call(
            number,
            due,
            self._principals[tenant],
            tenant,
            Priority.BULK if bulk else Priority.INTERACTIVE,
            rows,
            reading,
            due + self._timeout,
        )

    def poisson(self, rate: float, seconds: float) -> Iterator[Call]:
        """Yield calls of a Poisson process, in order, up to `seconds`."""
        number, now = 0, self._rng.expovariate(rate)
        while now < seconds:
            yield self.call(number, now)
            number, now = number + 1, now + self._rng.expovariate(rate)

    def at(self, times: Sequence[float]) -> Iterator[Call]:
        """Yield calls at given times with the notes in order, as `bench run` sends them."""
        for number, due in enumerate(times):
            yield self.call(number, due, number)
