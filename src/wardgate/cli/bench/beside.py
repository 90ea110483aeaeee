"""`wardgate bench beside`: interactive requests while bulk work saturates the engine.

Two scenarios give notes and load of each kind; the system is the first one's. In each round: the
interactive load alone, bulk alone, and both at once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from wardgate.cli.bench import notes, results
from wardgate.cli.bench.measure import first, generate, line
from wardgate.cli.bench.prepare import Say, lengths
from wardgate.cli.bench.scenario import Scenario
from wardgate.cli.bench.verdict import bottleneck

FORMAT = "wardgate-beside/1"


def beside(interactive: Scenario, bulk: Scenario, out: Path, say: Say) -> Path:
    """Run it; return the file of the result. Raises Failed, Invalid."""
    path = out / f"{interactive.name}-beside-{bulk.name}.json"
    passages = notes.texts(bulk.notes, bulk.seed)
    with first(interactive, say) as (content, _, job):
        content |= {"bulk": bulk.settings(), "bulk_notes": lengths(passages), "rounds": []}
        few = replace(job, priority="interactive")
        many = replace(job, priority="bulk", texts=passages, load=bulk.loads[0])
        for number in range(interactive.rounds):
            seed = job.seed + number
            one, other = replace(few, seed=seed), replace(many, seed=seed)
            (idle,) = generate(one)
            (alone,) = generate(other)
            busy, shared = generate(one, other)
            for found in (idle, alone, busy, shared):
                found["bottleneck"] = bottleneck(found)
            content["rounds"].append(
                {
                    "interactive_alone": idle,
                    "bulk_alone": alone,
                    "interactive_beside": busy,
                    "bulk_beside": shared,
                    "interactive_p95_ratio": _ratio(busy, idle, "p95_ms"),
                    "bulk_share_kept": _ratio(shared, alone, "requests_per_second"),
                }
            )
            say(f"round {number + 1} of {interactive.rounds}")
            for name, found in (
                ("interactive alone", idle), ("bulk alone", alone),
                ("interactive beside bulk", busy), ("bulk beside interactive", shared),
            ):  # fmt: skip
                say(f"  {name}: {line(found)}")
            say("  " + told(content["rounds"][-1]))
            results.write(path, content, FORMAT)
    return path


def told(one: dict[str, Any]) -> str:
    """Return a round in a sentence."""
    return (
        f"interactive p95 is {one['interactive_p95_ratio']:.2f} times that of an idle engine; "
        f"bulk keeps {one['bulk_share_kept']:.1%} of its throughput"
    )


def _ratio(a: dict[str, Any], b: dict[str, Any], name: str) -> float:
    return round(a[name] / b[name], 4) if b[name] else 0.0
