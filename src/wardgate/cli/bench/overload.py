"""`wardgate bench overload`: ten times the capacity, in an open loop, and what is still done.

Goodput against the capacity, how soon the others are told that there is no room, and memory.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from wardgate.cli.bench import results
from wardgate.cli.bench.measure import capacity, first, line, measure
from wardgate.cli.bench.prepare import Say
from wardgate.cli.bench.scenario import POISSON, Load, Scenario
from wardgate.cli.bench.watch import Watch

FORMAT = "wardgate-overload/1"
LANES = 1500
"""Connections: more than one principal may have in flight, fewer than the gateway takes."""


def overload(scenario: Scenario, times: float, out: Path, say: Say) -> Path:
    """Run it in each round; return the file of the result. Raises Failed, Invalid."""
    path = out / f"{scenario.name}-overload.json"
    with first(scenario, say) as (content, there, job):
        content |= {"times": times, "rounds": []}
        for number in range(scenario.rounds):
            one = replace(job, seed=job.seed + number)
            most = capacity(scenario, there, one, say)
            rate = round(times * most["requests_per_second"], 3)
            with Watch(there.tree, max(0.2, job.seconds / 20)) as watch:
                found = measure(there, one, Load(POISSON, rate, lanes=LANES))
            content["rounds"].append(_round(most, found, watch.readings))
            say(f"{rate:.0f}/s: {line(found)}")
            say("  " + told(content["rounds"][-1]))
            results.write(path, content, FORMAT)
    return path


def _round(
    most: dict[str, Any], found: dict[str, Any], readings: list[dict[str, float]]
) -> dict[str, Any]:
    refused = found.get("refused", {"requests": 0, "p99_ms": 0.0})
    memory = [each["memory_mib"] for each in readings]
    return {
        "capacity": most,
        "overload": found,
        "goodput_share": round(found["requests_per_second"] / most["requests_per_second"], 4),
        "refused_share": round(refused["requests"] / max(1, found["requests"]), 4),
        "refused_p99_ms": refused["p99_ms"],
        "memory_mib": {"first": memory[0], "most": max(memory), "last": memory[-1]},
        "readings": readings,
    }


def told(one: dict[str, Any]) -> str:
    """Return a round in a sentence."""
    memory = one["memory_mib"]
    return (
        f"goodput {one['goodput_share']:.1%} of the capacity; {one['refused_share']:.1%} refused, "
        f"in {one['refused_p99_ms']:.1f} ms at p99; memory {memory['first']:.0f} MiB, "
        f"at most {memory['most']:.0f}"
    )
