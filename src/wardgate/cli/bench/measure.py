"""Starts a system, checks its answers, and puts loads on it from a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from wardgate.cli.bench import golden, machine, notes, probe
from wardgate.cli.bench.generator import Job
from wardgate.cli.bench.launch import Failed, Running, running
from wardgate.cli.bench.prepare import Ready, Say, lengths, prepare
from wardgate.cli.bench.scenario import Load, Scenario
from wardgate.cli.bench.table import Invalid
from wardgate.cli.bench.verdict import bottleneck


@contextmanager
def started(
    scenario: Scenario, each: Ready, texts: Sequence[str], asked: Sequence[str], seed: int
) -> Iterator[tuple[Running, Job]]:
    """Run a system whose answers are right, with the job of the scenario's first load.

    Raises Failed.
    """
    with running(each.system, each.entry, each.model, scenario, each.python) as there:
        job = Job(
            target=there.target,
            protocol=each.entry.protocol,
            form=each.system.call(each.entry.protocol).form,
            model=each.model.name,
            texts=texts,
            load=scenario.loads[0],
            seconds=scenario.seconds,
            warm=scenario.warm,
            timeout=scenario.timeout,
            seed=seed,
            processors=scenario.processors.generator,
        )
        each.told["golden"] = golden.check(job, asked, each.golden)
        yield there, job


@contextmanager
def first(scenario: Scenario, say: Say) -> Iterator[tuple[dict[str, Any], Running, Job]]:
    """Run the first system of a scenario; also yield what a result says of it and the machine.

    Raises Invalid where it does not run here, and Failed.
    """
    texts = notes.texts(scenario.notes, scenario.seed)
    asked = golden.clean(texts)
    told: dict[str, Any] = {
        **machine.describe(scenario.path.parent),
        "scenario": scenario.settings(),
        "notes": lengths(texts),
        "systems": {},
    }
    ready = prepare(replace(scenario, systems=scenario.systems[:1]), asked, told["systems"], say)
    if not ready:
        raise Invalid(f"{scenario.systems[0].label} does not run here.")
    say(f"starting {ready[0].entry.label}")
    with started(scenario, ready[0], texts, asked, scenario.seed) as (there, job):
        yield told, there, job


def capacity(scenario: Scenario, there: Running, job: Job, say: Say) -> dict[str, Any]:
    """Return what the most callers of a scenario's closed loops get done. Raises Invalid."""
    load = max((each for each in scenario.loads if not each.open), default=None, key=_level)
    if load is None:
        raise Invalid(f"{scenario.path.name}: a closed load is needed, to find the capacity.")
    found = measure(there, job, load)
    say(f"capacity, {load}: {line(found)}")
    if found["requests_per_second"] <= 0:
        raise Failed("nothing was answered well")
    return found


def _level(load: Load) -> float:
    return load.level


def measure(there: Running, job: Job, load: Load) -> dict[str, Any]:
    """Put one load on a system; return what came out with what it took."""
    batches, cpu = there.batches(), probe.cpu_seconds(there.tree())
    (found,) = generate(replace(job, load=load))
    processes = there.tree()
    if not processes:
        raise Failed(f"the system ended under {load}")
    whole = found["requests"] / job.seconds * (job.warm + job.seconds)
    spent = probe.cpu_seconds(processes) - cpu
    return {
        "load": asdict(load),
        **found,
        "memory_mib": probe.memory_mib(processes),
        "processes": len(processes),
        "cpu_ms_a_request": round(spent / whole * 1000, 4) if whole else 0.0,
        "start_seconds": round(there.started_seconds, 2),
        "system_processors": sorted(os.sched_getaffinity(there.pid)),
        "batches": there.batches().since(batches),
        "bottleneck": bottleneck(found),
    }


def generate(*jobs: Job) -> list[dict[str, Any]]:
    """Run generators side by side, each in a process of its own; return what each measured.

    Raises Failed where one cannot connect.
    """
    processes: list[subprocess.Popen[str]] = []
    try:
        for job in jobs:
            process = subprocess.Popen(
                [sys.executable, "-m", "wardgate.cli.bench.generator"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            processes.append(process)
            assert process.stdin is not None
            process.stdin.write(job.to_json())
            process.stdin.close()
            process.stdin = None
        found: list[dict[str, Any]] = []
        for process in processes:
            out, said = process.communicate()
            if process.returncode:
                last = (said.strip().splitlines() or ["?"])[-1]
                raise Failed(f"the load generator ended: {last}")
            found.append(json.loads(out))
        return found
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def line(found: Mapping[str, Any]) -> str:
    """Return a measurement in a line, with what speaks against it."""
    return (
        f"{found['requests_per_second']:.1f} requests/s, "
        f"p50 {found['p50_ms']:.1f} ms, p95 {found['p95_ms']:.1f} ms"
        + "".join(f"; {reason}" for reason in found["bottleneck"])
        + (f"; {found['errors']} errors" if found["errors"] else "")
    )
