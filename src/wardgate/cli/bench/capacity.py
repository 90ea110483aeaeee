"""`wardgate bench capacity`: the highest rate that keeps a p95, and the replicas a load needs.

Each probe is an open loop, timed from when requests were due. A rate holds where p95 is within the
limit and all but one in a thousand are answered well. Where the rate above did not hold and the
load generator itself was late, the result says that the system may hold more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wardgate.cli.bench import golden, machine, notes, results
from wardgate.cli.bench.generator import Job
from wardgate.cli.bench.launch import Failed, Running
from wardgate.cli.bench.measure import line, measure, started
from wardgate.cli.bench.prepare import Ready, Say, lengths, prepare
from wardgate.cli.bench.scenario import BURSTY, POISSON, Load, Scenario
from wardgate.cli.bench.search import majority, replicas, search

FORMAT = "wardgate-capacity/1"
ERRORS = 0.001
"""Share of requests that may fail."""
MOST = 1e6
"""Requests per second beyond which no generator of ours goes."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `headroom` is the share of a replica that stays free."""

    p95_ms: float
    workers: tuple[int, ...]
    precision: float
    tries: int
    target: float
    headroom: float


def find(scenario: Scenario, question: Question, out: Path, say: Say) -> Path:
    """Answer it for each system and worker count; return the file of the result. Raises Invalid."""
    path = out / f"{scenario.name}-capacity.json"
    texts = notes.texts(scenario.notes, scenario.seed)
    asked = golden.clean(texts)
    content: dict[str, Any] = {
        **machine.describe(scenario.path.parent),
        "scenario": scenario.settings(),
        "question": asdict(question),
        "notes": lengths(texts),
        "systems": {},
        "found": [],
    }
    for each in prepare(scenario, asked, content["systems"], say):
        for workers in question.workers:
            say(f"{each.entry.label}, {_count(workers)}: the highest rate with "
                f"p95 of at most {question.p95_ms:g} ms")  # fmt: skip
            with_workers = _with(each, workers)
            answer: dict[str, Any]
            try:
                with started(scenario, with_workers, texts, asked, scenario.seed) as (there, job):
                    answer = _answer(there, job, _load(scenario), question, say)
            except Failed as reason:
                answer = {"failed": str(reason)}
            content["found"].append({"system": each.entry.label, "workers": workers, **answer})
            say("  " + told(content["found"][-1], question))
            results.write(path, content, FORMAT)
    return path


def holds(found: Mapping[str, Any], p95_ms: float) -> bool:
    """Whether a measurement keeps the limit."""
    failed = sum(found["errors"].values())
    return bool(found["requests"]) and failed <= ERRORS * found["requests"] and (
        found["p95_ms"] <= p95_ms
    )  # fmt: skip


def told(one: Mapping[str, Any], question: Question) -> str:
    """Return an answer in a sentence."""
    if "failed" in one:
        return f"not measured: {one['failed']}"
    if not one["requests_per_second"]:
        return f"no rate keeps {question.p95_ms:g} ms"
    said = f"{one['requests_per_second']:.1f} requests/s ({one['above']} did not hold)"
    if one["doubts"]:
        said += "; it may hold more: " + "; ".join(one["doubts"])
    if question.target:
        said += (
            f"; {question.target:g} requests/s need {one['replicas']} such replicas, "
            f"with {question.headroom:.0%} of each kept free"
        )
    return said


def _answer(there: Running, job: Job, load: Load, question: Question, say: Say) -> dict[str, Any]:
    probes: list[dict[str, Any]] = []

    def probe(rate: float) -> bool:
        one = replace(job, seed=job.seed + len(probes))
        found = measure(there, one, replace(load, level=round(rate, 3)))
        kept = holds(found, question.p95_ms)
        probes.append({"rate": rate, "holds": kept, **found})
        say(f"  {rate:.1f}/s {'holds' if kept else 'does not hold'}: {line(found)}")
        return kept

    bounds = search(
        lambda rate: majority(lambda: probe(rate), question.tries),
        load.level,
        question.precision,
        MOST,
    )
    missed = [each for each in probes if each["rate"] == bounds.high and not each["holds"]]
    doubts = list(dict.fromkeys(why for each in missed for why in each["bottleneck"]))
    found: dict[str, Any] = {
        "requests_per_second": round(bounds.low, 3),
        "above": f"{bounds.high:.1f}/s",
        "doubts": doubts,
        "probes": probes,
    }
    if question.target and bounds.low:
        found["replicas"] = replicas(question.target, bounds.low, question.headroom)
    return found


def _load(scenario: Scenario) -> Load:
    """Return the open load of the scenario, else a Poisson one; its rate is where to begin."""
    given = scenario.loads[0]
    if given.kind in {POISSON, BURSTY}:
        return given
    return Load(POISSON, 20.0)


def _with(each: Ready, workers: int) -> Ready:
    """Return a system with so many workers; one is what it has without being told."""
    if workers == 1:
        return each
    arguments = (*each.entry.arguments, "--workers", str(workers))
    return replace(each, entry=replace(each.entry, arguments=arguments))


def _count(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"
