"""`wardgate bench soak`: an hour at a share of the capacity; memory, descriptors and p99 over time.

The load comes in windows, each from a new generator with connections of its own: what a connection
leaves behind shows too. Memory and descriptors are read between windows, with no request in flight.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from wardgate.cli.bench import results, watch
from wardgate.cli.bench.launch import Failed
from wardgate.cli.bench.measure import capacity, first, line, measure
from wardgate.cli.bench.prepare import Say
from wardgate.cli.bench.scenario import POISSON, Load, Scenario
from wardgate.cli.bench.trend import trends

FORMAT = "wardgate-soak/1"
WINDOWS = 60
"""Windows of a run; each a second at least."""


def soak(
    scenario: Scenario, seconds: float, share: float, out: Path, say: Say
) -> tuple[Path, bool]:
    """Run it; return the file of the result and whether nothing grew. Raises Failed, Invalid."""
    path = out / f"soak-{time.strftime('%Y-%m-%d', time.gmtime())}.json"
    length = max(1.0, seconds / WINDOWS)
    count = max(1, round(seconds / length))
    with first(scenario, say) as (content, there, job):
        most = capacity(scenario, there, job, say)
        rate = share * most["requests_per_second"]
        load = Load(POISSON, round(rate, 3))
        windows: list[dict[str, Any]] = []
        content |= {"share": share, "capacity": most, "load": str(load), "windows": windows}
        one = replace(job, seconds=length, warm=min(job.warm, length / 4))
        measure(there, one, load)  # caches fill before the first reading
        errors = 0
        for number in range(count):
            found = measure(there, replace(one, seed=job.seed + number), load)
            windows.append({**found, **watch.take(there.tree())})
            errors += sum(found["errors"].values())
            if not windows[-1]["processes"]:
                raise Failed("the system ended")
            say(f"{number + 1} of {count}: {line(found)}; {windows[-1]['memory_mib']:.0f} MiB, "
                f"{windows[-1]['descriptors']} descriptors")  # fmt: skip
            content["trends"] = [each.told() for each in trends(windows)]
            content["errors"] = errors
            results.write(path, content, FORMAT)
    found_trends = trends(windows)
    for each in found_trends:
        verdict = {None: "too few windows to say", True: "GROWS", False: "does not grow"}
        say(f"{each.figure}: {each.first:.1f} to {each.last:.1f}, {verdict[each.grows]}")
    return path, not errors and not any(each.grows for each in found_trends)
