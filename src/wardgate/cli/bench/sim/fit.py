"""Finds what the gateway itself costs, from two measurements of a running one. Pure.

The engine's and the texts' times were measured apart (`timing.py`). What is left is found so that
the simulation does as much as the gateway under its most callers, and takes as long for a caller
alone: processor time on the event loop, and waiting that takes none. Nothing else is fitted: how
latency grows with load between the two is what the simulation predicts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from wardgate.cli.bench.sim import summary
from wardgate.cli.bench.sim.balance import picker
from wardgate.cli.bench.sim.cell import Cell
from wardgate.cli.bench.sim.plan import Tenants
from wardgate.cli.bench.sim.replica import Replica
from wardgate.cli.bench.sim.service import Service
from wardgate.cli.bench.sim.traffic import Callers
from wardgate.setting_groups import Admission

FRONT = 0.5
"""Share of the gateway's own time that is spent before the engine; which side it falls on hardly
moves a latency, as both are on one event loop."""
STEPS = 12
"""Halvings of a range: to a four-thousandth of it."""
LIMITS = Admission(rate=1e6, burst=1_000_000)
"""Those of `systems/wardgate.toml`: the benchmark is one principal."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What a closed loop of `callers` measured on the gateway, seconds."""

    callers: int
    requests_per_second: float
    mean: float
    client: float
    """Processor time of the load generator for each request."""


def simulate(
    service: Service,
    *,
    warm: float,
    seconds: float,
    timeout: float = 30.0,
    workers: int = 1,
    due: Sequence[float] | None = None,
    callers: int = 0,
) -> dict[str, Any]:
    """Return what one gateway does under a load that `bench run` also makes, notes in its order.

    `due`: an open loop with these times, else a closed one of so many callers.
    """
    rng = random.Random(1)  # noqa: S311 -- a draw that must come out the same again
    end = warm + seconds
    made = Callers(service.notes, Tenants(), timeout=timeout, rng=rng)
    replica = Replica(service, workers=workers, limits=LIMITS)
    cell = Cell([replica], picker("random", rng), begin=warm, end=end)
    record = cell.closed(made, callers) if due is None else cell.open(made.at(due))
    return summary.of([record], warm, seconds)


def fit(service: Service, alone: Observed, busy: Observed) -> Service:
    """Return the service with the overhead that makes both come out as observed.

    What a lone caller waits beyond the engine and its text is shared out: to processor time as far
    as it takes to slow the busy loop to what was observed, the rest to waiting.
    """
    found = _closed(service, alone, 0.0, 0.0)
    gap = max(0.0, alone.mean - found["mean_ms"] / 1000)
    low, high = 0.0, gap
    for _ in range(STEPS):
        own = (low + high) / 2
        found = _closed(service, busy, own, gap - own)
        if found["requests_per_second"] > busy.requests_per_second:
            low = own
        else:
            high = own
    own = (low + high) / 2
    return _with(service, own, gap - own, busy.client)


def _closed(service: Service, like: Observed, own: float, wait: float) -> dict[str, Any]:
    made = _with(service, own, wait, like.client)
    return simulate(made, warm=0.5, seconds=4.0, callers=like.callers)


def _with(service: Service, own: float, wait: float, client: float) -> Service:
    overhead = replace(
        service.overhead,
        front=own * FRONT,
        back=own * (1 - FRONT),
        wait=wait,
        client=client,
    )
    return replace(service, overhead=overhead)
