"""Replicas behind one balancer, from the first call to the last answer, on simulated time. Pure.

Cells share no queue and no balancer: each may be simulated in a process of its own.
"""

from __future__ import annotations

import math
import random
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

from wardgate.cli.bench.sim.balance import Pick
from wardgate.cli.bench.sim.plan import Failure
from wardgate.cli.bench.sim.replica import LOST, Call, Replica
from wardgate.cli.bench.sim.traffic import Callers
from wardgate.types import Priority


@dataclass(slots=True)
class Record:
    """What became of each call that was due in the window; columns of one length."""

    due: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("d"))
    """From due to answered."""
    status: array[int] = field(default_factory=lambda: array("H"))
    tenant: array[int] = field(default_factory=lambda: array("L"))
    bulk: array[int] = field(default_factory=lambda: array("B"))
    tries: array[int] = field(default_factory=lambda: array("B"))
    sizes: Counter[int] = field(default_factory=Counter)
    """Batches by rows, those outside the window too."""
    tokens: int = 0
    padded: int = 0

    def add(self, call: Call, end: float) -> None:
        """Write down an answer."""
        self.due.append(call.due)
        self.seconds.append(end - call.due)
        self.status.append(call.status)
        self.tenant.append(call.tenant)
        self.bulk.append(call.priority is Priority.BULK)
        self.tries.append(call.tries)


class Cell:
    """Replicas behind one balancer. Only calls due from `begin` to `end` are recorded."""

    def __init__(
        self,
        replicas: list[Replica],
        pick: Pick,
        *,
        begin: float,
        end: float,
        retries: int = 0,
        failure: Failure | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """`failure.at` counts from `begin`; which replicas fail is drawn from `rng`."""
        self.record = Record()
        self._begin, self._end = begin, end
        self._pick, self._retries = pick, retries
        self._replicas = replicas
        self._known = list(range(len(replicas)))
        """Replicas that the balancer takes to be alive."""
        self._view = list(replicas)
        self._gone: set[int] = set()
        self._failure = failure
        self._rng = rng or random.Random(0)  # noqa: S311 -- a draw that must come out the same
        self._events: list[tuple[float, int, int]] = []
        self._versions = [0] * len(replicas)

    def open(self, calls: Iterator[Call]) -> Record:
        """Let calls come when they are due, whatever was answered."""
        waiting = next(calls, None)
        while True:
            due = math.inf if waiting is None else waiting.due
            event = self._next()
            if waiting is not None and due <= event:
                self._turn(due)
                self._send(due, waiting)
                waiting = next(calls, None)
            elif event < math.inf:
                for now, call in self._step():
                    self._answered(now, call)
            else:
                return self._done()

    def closed(self, callers: Callers, count: int) -> Record:
        """Let `count` callers each send again once they are answered."""
        notes = [caller % count for caller in range(count)]
        places = {}
        for caller in range(count):
            places[caller] = caller
            self._send(0.0, callers.call(caller, 0.0, notes[caller]))
        sent = count
        while self._next() < math.inf:
            for now, call in self._step():
                self._answered(now, call, by=now)
                caller = places.pop(call.number)
                if now < self._end:
                    notes[caller] += count
                    places[sent] = caller
                    self._send(now, callers.call(sent, now, notes[caller]))
                    sent += 1
        return self._done()

    def _next(self) -> float:
        events = self._events
        while events and events[0][1] != self._versions[events[0][2]]:
            heappop(events)  # something has changed since: another event stands for it
        return events[0][0] if events else math.inf

    def _step(self) -> list[tuple[float, Call]]:
        now, _, place = self._events[0]
        self._turn(now)
        if place in self._gone:
            return []
        ended = self._replicas[place].step()
        self._plan(place)
        return ended

    def _plan(self, place: int) -> None:
        """Put a replica's next event among those of all."""
        self._versions[place] += 1
        when = self._replicas[place].next()
        if when < math.inf:
            heappush(self._events, (when, self._versions[place], place))

    def _send(self, now: float, call: Call) -> None:
        """Send a call; one that finds its replica gone is sent again while it has tries left."""
        while True:
            place = self._known[self._pick(self._view)]
            if place not in self._gone:
                self._replicas[place].arrive(now, call)
                self._plan(place)
                return
            if call.tries > self._retries:
                call.status = LOST
                self._answered(now, call)
                return
            call.tries += 1

    def _answered(self, now: float, call: Call, *, by: float | None = None) -> None:
        if self._begin <= (call.due if by is None else by) < self._end:
            self.record.add(call, now)

    def _turn(self, now: float) -> None:
        """Let the zone fail, and let the balancer notice, when it is time."""
        failure = self._failure
        if failure is None or now < self._begin + failure.at:
            return
        if not self._gone:
            count = max(1, round(failure.share * len(self._replicas)))
            count = min(count, len(self._replicas) - 1)
            self._gone = set(self._rng.sample(range(len(self._replicas)), count))
            lost = [call for place in sorted(self._gone) for call in self._replicas[place].fail()]
            for place in self._gone:
                self._versions[place] += 1
            for call in lost:
                self._again(self._begin + failure.at, call)
        if now >= self._begin + failure.at + failure.notice:
            self._known = [n for n in range(len(self._replicas)) if n not in self._gone]
            self._view = [self._replicas[n] for n in self._known]
            self._failure = None

    def _again(self, now: float, call: Call) -> None:
        if call.tries > self._retries:
            self._answered(now, call)
        else:
            call.tries += 1
            self._send(now, call)

    def _done(self) -> Record:
        for replica in self._replicas:
            self.record.sizes += replica.batches.sizes
            self.record.tokens += replica.batches.tokens
            self.record.padded += replica.batches.padded
        return self.record
