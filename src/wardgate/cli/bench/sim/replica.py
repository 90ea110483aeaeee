"""One gateway on simulated time: the real admission and planner between made-up processors. Pure.

A call goes the way of `flow.py`: a worker's event loop admits and reads it, the planner batches its
rows, a session runs them, the event loop makes the reply, and the record is durable before the
caller has it. Each worker's loop does one thing at a time; loops, sessions and a load generator on
the same machine share its processors.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heappop, heappush

from wardgate.auth.admit import Admission, Permit
from wardgate.cli.bench.sim.processors import Processors
from wardgate.cli.bench.sim.service import Clock, Service
from wardgate.engine.batch import Batch, Planner
from wardgate.errors import DeadlineExceeded, WardgateError
from wardgate.setting_groups import Admission as Limits
from wardgate.setting_groups import Engine
from wardgate.types import Principal, Priority

GOOD = 200
LOST = 0
"""The status of a call whose replica is gone."""


class _Stage(IntEnum):
    SEND, FRONT, REFUSE, BATCH, BACK, TAKE = range(6)


@dataclass(slots=True, eq=False)
class Call:
    """One request. `due` is when its caller meant to send it, seconds of the simulation."""

    number: int
    due: float
    principal: Principal
    tenant: int
    priority: Priority
    rows: list[list[int]]
    """Token ids; their number alone matters."""
    reading: float
    """Processor time that its text takes, seconds."""
    deadline: float
    tries: int = 1
    status: int = 0
    left: int = 0
    permit: Permit | None = None
    worker: int = 0


@dataclass(slots=True)
class Batches:
    """What ran."""

    sizes: Counter[int] = field(default_factory=Counter)
    tokens: int = 0
    padded: int = 0


class Replica:
    """One gateway with `workers` event loops."""

    def __init__(
        self, service: Service, *, workers: int, limits: Limits, queue_tokens: int = 0
    ) -> None:
        self.in_flight = 0
        self.batches = Batches()
        self._overhead = service.overhead
        self._model = service.model
        self._slots, self._width, self._wide = service.sessions, service.threads, service.wide
        self._clocks = {width: Clock(shots) for width, shots in service.times.items()}
        settings = Engine()
        self._planner = Planner(
            {service.model: service.buckets},
            queue_tokens=queue_tokens or settings.queue_tokens,
            bulk_age=settings.bulk_age_seconds,
            rate=service.rate,
        )
        self._processors: Processors[tuple[_Stage, int, Call | None, Batch | None, float]] = (
            Processors(service.speed)
        )
        self._admissions = [
            Admission(
                rate=limits.rate,
                burst=limits.burst,
                concurrency=limits.concurrency,
                in_flight=limits.in_flight,
                quota=limits.quota,
            )
            for _ in range(workers)
        ]
        # One queue for each event loop, the last that of a load generator on the same machine.
        self._queues: list[deque[tuple[_Stage, Call]]] = [deque() for _ in range(workers + 1)]
        self._busy = [False] * (workers + 1)
        self._turn = 0
        self._running = 0
        self._calls: dict[int, Call] = {}
        self._waits: list[tuple[float, int, Call]] = []
        self._ended: list[tuple[float, Call]] = []

    def arrive(self, now: float, call: Call) -> None:
        """Take a call."""
        self.in_flight += 1
        call.worker = self._turn = (self._turn + 1) % len(self._admissions)
        self._calls[call.number] = call
        if self._overhead.client:
            self._queue(now, -1, _Stage.SEND, call)
        else:
            self._queue(now, call.worker, _Stage.FRONT, call)

    def next(self) -> float:
        """Return when something happens next; infinity where nothing will."""
        wait = self._waits[0][0] if self._waits else math.inf
        return min(wait, self._processors.next_end())

    def step(self) -> list[tuple[float, Call]]:
        """Let the next thing happen; return the calls that were answered by it, with the times."""
        end = self._processors.next_end()
        if self._waits and self._waits[0][0] <= end:
            now, _, call = heappop(self._waits)
            self._answer(now, call)
        else:
            now, (stage, queue, call_, batch, began) = self._processors.finish()
            if batch is not None:
                self._ran(now, batch, began, queue)
            elif call_ is not None:
                self._busy[queue] = False
                self._after(now, stage, call_)
                self._pump(now, queue)
        ended, self._ended = self._ended, []
        return ended

    def fail(self) -> list[Call]:
        """End at once; return the calls that are lost with it."""
        lost = list(self._calls.values())
        for call in lost:
            call.permit, call.status = None, LOST
        self._calls.clear()
        self.in_flight = 0
        return lost

    # -- event loops ------------------------------------------------------------------------------

    def _queue(self, now: float, queue: int, stage: _Stage, call: Call) -> None:
        self._queues[queue].append((stage, call))
        self._pump(now, queue % len(self._queues))

    def _pump(self, now: float, queue: int) -> None:
        """Let an event loop begin what waits, where it does nothing."""
        if self._busy[queue] or not self._queues[queue]:
            return
        stage, call = self._queues[queue].popleft()
        self._busy[queue] = True
        cost = self._overhead
        if stage is _Stage.FRONT:
            try:
                call.permit = self._admissions[queue].admit(call.principal, now)
                work = cost.front + call.reading
            except WardgateError as refused:
                stage, call.status, work = _Stage.REFUSE, refused.status, cost.refuse
        elif stage is _Stage.BACK:
            work = cost.back
        else:
            work = cost.client / 2
        self._processors.start(now, work, (stage, queue, call, None, now))

    def _after(self, now: float, stage: _Stage, call: Call) -> None:
        if stage is _Stage.SEND:
            self._queue(now, call.worker, _Stage.FRONT, call)
        elif stage is _Stage.FRONT:
            self._push(now, call)
        elif stage is _Stage.BACK:
            call.status = GOOD if now <= call.deadline else DeadlineExceeded.status
            self._leave(now, call, self._overhead.wait)
        elif stage is _Stage.REFUSE:
            self._leave(now, call, 0.0)
        else:
            self._end(now, call)

    def _leave(self, now: float, call: Call, wait: float) -> None:
        if wait:
            heappush(self._waits, (now + wait, call.number, call))
        else:
            self._answer(now, call)

    def _answer(self, now: float, call: Call) -> None:
        if call.permit is not None:
            call.permit.release()
            call.permit = None
        if self._overhead.client:
            self._queue(now, -1, _Stage.TAKE, call)
        else:
            self._end(now, call)

    def _end(self, now: float, call: Call) -> None:
        del self._calls[call.number]
        self.in_flight -= 1
        self._ended.append((now, call))

    # -- the engine, as `engine/batcher.py` drives the planner ------------------------------------

    def _push(self, now: float, call: Call) -> None:
        try:
            if call.deadline <= now:
                raise DeadlineExceeded
            self._planner.push(
                call.number,
                self._model,
                call.rows,
                priority=call.priority,
                deadline=call.deadline,
                now=now,
            )
        except WardgateError as refused:
            call.status = refused.status
            self._leave(now, call, 0.0)
            return
        call.left = len(call.rows)
        self._fill(now)

    def _fill(self, now: float) -> None:
        """Let free sessions take batches."""
        planner = self._planner
        while self._running < self._slots:
            for ticket in planner.expire(now):
                late = self._calls[ticket]
                late.status = DeadlineExceeded.status
                self._leave(now, late, 0.0)
            batch = planner.next_batch(self._slots - self._running)
            if batch is None:
                return
            self._running += 1
            alone = self._running == 1 and planner.tokens == 0
            width = self._wide if alone and self._wide else self._width
            longest, rows = batch.longest, len(batch.rows)
            work = self._clocks[width].seconds(rows, longest) * self._processors.alone(width)
            self._processors.start(
                now, work, (_Stage.BATCH, self._running, None, batch, now), threads=width
            )
            self.batches.sizes[rows] += 1
            self.batches.tokens += batch.tokens
            self.batches.padded += longest * rows

    def _ran(self, now: float, batch: Batch, began: float, share: int) -> None:
        self._running -= 1
        self._planner.ran(batch, now - began, share)
        self._fill(now)
        for row in batch.rows:
            call = self._calls.get(row.ticket)
            if call is None:
                continue
            call.left -= 1
            if not call.left:
                self._queue(now, call.worker, _Stage.BACK, call)
