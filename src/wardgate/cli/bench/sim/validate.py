"""`wardgate bench validate`: the simulation against the real gateway, at shares of its capacity.

One gateway, one start. Two closed loops give what the gateway itself costs (`fit.py`) and its
capacity; then open loops at each share, with the same arrivals and notes in the simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wardgate.cli.bench import arrivals, results
from wardgate.cli.bench.environment import model
from wardgate.cli.bench.generator import Job
from wardgate.cli.bench.histogram import Latencies
from wardgate.cli.bench.launch import Failed, Running
from wardgate.cli.bench.measure import first, line, measure
from wardgate.cli.bench.prepare import Say
from wardgate.cli.bench.scenario import POISSON, Load, Scenario
from wardgate.cli.bench.sim import timing
from wardgate.cli.bench.sim.fit import Observed, fit, simulate
from wardgate.cli.bench.sim.service import Service
from wardgate.cli.bench.system import folder_of
from wardgate.cli.bench.table import Invalid

FORMAT = "wardgate-validation/1"
ALLOWED = {"requests_per_second": 0.10, "p95_ms": 0.20}
"""How far a figure of the simulation may be off."""


def service(scenario: Scenario, out: Path, say: Say) -> Path:
    """Measure the service times of a scenario's first system; return their file."""
    path = out / f"{scenario.name}-service.json"
    with first(scenario, say) as (content, there, job):
        found, observed = _service(scenario, there, job, say)
    results.write(path, {**content, **observed, **found.to_json()}, found.to_json()["format"])
    return path


def validate(scenario: Scenario, shares: Sequence[float], out: Path, say: Say) -> tuple[Path, bool]:
    """Run it; return the file of the result, and whether all is within what is allowed."""
    path = out / f"{scenario.name}-validation.json"
    with first(scenario, say) as (content, there, job):
        found, observed = _service(scenario, there, job, say)
        capacity = observed["busy"]["requests_per_second"]
        loads = [Load(POISSON, round(share * capacity, 3)) for share in shares]
        rounds: list[list[dict[str, Any]]] = [[] for _ in loads]
        for number in range(scenario.rounds):
            for load, measured in zip(loads, rounds, strict=True):
                measured.append(measure(there, replace(job, seed=job.seed + number), load))
                say(f"{load}: {line(measured[-1])}")
    content |= {**observed, "service": found.to_json(), "loads": []}
    for share, load, measured in zip(shares, loads, rounds, strict=True):
        simulated = [
            simulate(
                found,
                warm=job.warm,
                seconds=job.seconds,
                timeout=10.0,
                due=arrivals.due(load, job.warm + job.seconds, job.seed + number),
            )
            for number in range(scenario.rounds)
        ]
        one = {"share": share, **compared(measured, simulated)}
        content["loads"].append({**one, "measured": measured, "simulated": simulated})
        say(told(one))
    content["within"] = all(each["within"] for each in content["loads"])
    results.write(path, content, FORMAT)
    return path, content["within"]


def compared(
    measured: Sequence[dict[str, Any]], simulated: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return how far the simulation is off: throughput by its mean, p95 of all rounds together."""
    together = Latencies()
    for each in measured:
        together.add(Latencies.decode(each["histogram"]))
    real = {
        "requests_per_second": _mean(measured, "requests_per_second"),
        "p95_ms": together.percentile(0.95),
    }
    made = {name: _mean(simulated, name) for name in ALLOWED}
    off = {name: round(made[name] / real[name] - 1, 4) if real[name] else 1.0 for name in ALLOWED}
    return {
        "real": {name: round(value, 3) for name, value in real.items()},
        "simulation": {name: round(value, 3) for name, value in made.items()},
        "off": off,
        "within": all(abs(off[name]) <= ALLOWED[name] for name in ALLOWED),
    }


def told(one: dict[str, Any]) -> str:
    """Return a comparison in a sentence."""
    real, made, off = one["real"], one["simulation"], one["off"]
    return (
        f"{one['share']:.0%} of the capacity: {real['requests_per_second']:.1f} requests/s and "
        f"p95 {real['p95_ms']:.1f} ms; simulated {made['requests_per_second']:.1f} "
        f"({off['requests_per_second']:+.1%}) and {made['p95_ms']:.1f} ms ({off['p95_ms']:+.1%}), "
        + ("within" if one["within"] else "OUTSIDE")
        + " 10 % and 20 %"
    )


def _service(
    scenario: Scenario, there: Running, job: Job, say: Say
) -> tuple[Service, dict[str, Any]]:
    """Measure a running gateway's service times; return them with the two loops that they fit."""
    closed = sorted((each for each in scenario.loads if not each.open), key=lambda x: x.level)
    if len(closed) < 2:  # noqa: PLR2004 -- one alone, and the most
        raise Invalid(f"{scenario.path.name}: give a closed load of one caller and one of many.")
    observed = {"alone": measure(there, job, closed[0]), "busy": measure(there, job, closed[-1])}
    for each in observed.values():
        say(f"{each['load']['level']:.0f} callers: {line(each)}")
    entry = scenario.systems[0]
    of = model(scenario.model, entry.precision, folder_of(scenario.path))
    chosen = timing.chosen(there.log.read_text("utf-8", "replace"))
    if chosen is None:
        raise Failed(f"{entry.label} does not say in its log what its engine chose")
    say("timing the engine and the notes")
    timed = timing.measure(of, job.texts, chosen)
    found = fit(timed, seen(observed["alone"]), seen(observed["busy"]))
    cost = found.overhead
    say(
        f"the gateway itself: {(cost.front + cost.back) * 1000:.3f} ms of its event loop and "
        f"{cost.wait * 1000:.3f} ms of waiting a request; the generator {cost.client * 1000:.3f} ms"
    )
    return found, observed


def seen(found: dict[str, Any]) -> Observed:
    """Return what a measurement of `measure` says, for `fit`."""
    rate = found["requests_per_second"]
    return Observed(
        callers=int(found["load"]["level"]),
        requests_per_second=rate,
        mean=found["mean_ms"] / 1000,
        client=found["generator"]["cpu_share"] / rate if rate else 0.0,
    )


def _mean(rounds: Sequence[dict[str, Any]], name: str) -> float:
    return float(sum(each[name] for each in rounds) / len(rounds))
