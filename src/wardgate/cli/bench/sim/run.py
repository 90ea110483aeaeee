"""Runs a simulation: its cells one by one, in as many processes as there are processors."""

from __future__ import annotations

import gc
import multiprocessing
import random
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from wardgate.cli.bench.sim import summary
from wardgate.cli.bench.sim.balance import picker
from wardgate.cli.bench.sim.cell import Cell, Record
from wardgate.cli.bench.sim.plan import Plan
from wardgate.cli.bench.sim.replica import Replica
from wardgate.cli.bench.sim.service import Service
from wardgate.cli.bench.sim.traffic import Callers

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Task:
    plan: Plan
    service: Service
    rate: float
    """Of this cell."""
    replicas: int
    seed: int


def run(plan: Plan, service: Service, say: Say, processes: int = 1) -> list[dict[str, Any]]:
    """Return what each rate came to. The same plan and seed give the same, whatever `processes`."""
    sized = service.resized(sessions=plan.replicas.sessions, processors=plan.replicas.processors)
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = []
        for rate in plan.rates:
            began = time.perf_counter()
            tasks = _tasks(plan, sized, rate)
            records = list(pool.map(_simulate, tasks) if processes > 1 else map(_simulate, tasks))
            one = {
                "rate": rate,
                **summary.of(records, plan.warm, plan.seconds, plan.failure),
                "took_seconds": round(time.perf_counter() - began, 2),
            }
            say(line(one))
            found.append(one)
    return found


def line(one: dict[str, Any]) -> str:
    """Return a rate's outcome in a line."""
    return (
        f"{one['rate']:.0f}/s: {one['requests_per_second']:.0f} answered/s, "
        f"p50 {one['p50_ms']:.1f} ms, p95 {one['p95_ms']:.1f} ms, p99 {one['p99_ms']:.1f} ms, "
        f"refused {one['refused_share']:.2%}, lost {one['lost_share']:.2%}, "
        f"{one['batches']['rows_a_batch']:.2f} rows a batch, "
        f"padding {one['batches']['padding_share']:.1%}, "
        f"fairness {one['tenants']['fairness']:.4f} (simulated in {one['took_seconds']:.0f} s)"
    )


def _tasks(plan: Plan, service: Service, rate: float) -> list[_Task]:
    count, cells = plan.replicas.count, plan.replicas.cells
    sizes = [(n + 1) * count // cells - n * count // cells for n in range(cells)]
    # Poisson arrivals that are shared out at random are Poisson arrivals in each share.
    return [
        _Task(plan, service, rate * size / count, size, plan.seed * 1_000_003 + n)
        for n, size in enumerate(sizes)
    ]


def _simulate(task: _Task) -> Record:
    plan = task.plan
    rng = random.Random(task.seed)  # noqa: S311 -- a draw that must come out the same again
    replicas = [
        Replica(task.service, workers=plan.replicas.workers, limits=plan.limits)
        for _ in range(task.replicas)
    ]
    callers = Callers(task.service.notes, plan.tenants, timeout=plan.timeout, rng=rng)
    end = plan.warm + plan.seconds
    cell = Cell(
        replicas,
        picker(plan.replicas.balance, rng),
        begin=plan.warm,
        end=end,
        retries=plan.tenants.retries,
        failure=plan.failure,
        rng=rng,
    )
    gc.freeze()
    gc.disable()  # what is made here has no cycles worth looking for
    try:
        return cell.open(callers.poisson(task.rate, end))
    finally:
        gc.enable()
        gc.unfreeze()
