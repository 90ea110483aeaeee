"""What the gateway itself costs: an engine that answers at once, against a bare `async def` route.

    python benchmarks/gateway_alone.py

The server has one processor, the load generator another. CPU is processor time of the server's
process for each request, all its threads included; `added` is wardgate minus bare, of the same
round. The audit record lies on a memory file system, then on disk with the disk's fdatasync beside.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time

import load
import servers

SERVER, GENERATOR = 0, 1
CASES = (("150_chars", 150, 8), ("1_kB", 1000, 1))
INSTANT = (str(servers.HERE / "systems" / "instant.py"),)


def texts(length: int) -> list[str]:
    """Return 200 texts of `length` characters cut from the notes."""
    joined = " ".join(servers.notes())
    return [
        joined[n * length : (n + 1) * length].strip()
        for n in range(min(200, len(joined) // length))
    ]


def requests(system: servers.System, length: int) -> list[bytes]:
    """Return the requests of all texts."""
    return [
        load.post(
            system.url,
            json.dumps({"model": "sentiment", "text": text}).encode(),
            token=system.token,
        )
        for text in texts(length)
    ]


def measure(system: servers.System, length: int, callers: int, seconds: float) -> dict[str, float]:
    """Run one closed loop; CPU a request in milliseconds."""
    sent = requests(system, length)
    asyncio.run(load.closed_loop(system.url, sent, callers=1, requests_each=len(sent)))
    before = load.cpu_seconds(system.pid)
    taken = asyncio.run(
        load.closed_loop(system.url, sent, callers=callers, seconds=seconds, warm=0.0)
    )
    spent = load.cpu_seconds(system.pid) - before
    return {**taken.summary(), "cpu_ms_a_request": round(spent / taken.requests * 1000, 4)}


def fdatasync_ms(folder: str) -> float:
    """Return the median time of an fdatasync of 4 KiB, milliseconds."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(50):
            file.write(os.urandom(4096))
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return load.median(times)


def main() -> None:
    """Run the rounds and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    os.sched_setaffinity(0, {GENERATOR})
    rounds = []
    flags = {"program": INSTANT, "core": SERVER}
    with (
        servers.bare(SERVER) as bare,
        servers.wardgate(state=servers.memory(), **flags) as ours,  # type: ignore[arg-type]
        servers.wardgate(**flags) as on_disk,  # type: ignore[arg-type]
    ):
        systems = {"bare": bare, "wardgate": ours, "wardgate_on_disk": on_disk}
        for _ in range(given.rounds):
            found: dict[str, dict[str, dict[str, float]]] = {}
            for case, length, callers in CASES:
                for name, system in systems.items():
                    figures = measure(system, length, callers, given.seconds)
                    found.setdefault(case, {})[name] = figures
            rounds.append(found)
        resident = {name: round(load.resident_mib(s.pid), 1) for name, s in systems.items()}

    def added(case: str, figure: str, system: str = "wardgate") -> float:
        return load.median([r[case][system][figure] - r[case]["bare"][figure] for r in rounds])

    servers.write(
        "gateway-alone",
        {
            "what": __doc__,
            "added_cpu_ms_150_chars": added("150_chars", "cpu_ms_a_request"),
            "added_p50_ms_1_kB": added("1_kB", "p50_ms"),
            "added_p99_ms_1_kB": added("1_kB", "p99_ms"),
            "added_p50_ms_1_kB_on_disk": added("1_kB", "p50_ms", "wardgate_on_disk"),
            "added_p99_ms_1_kB_on_disk": added("1_kB", "p99_ms", "wardgate_on_disk"),
            "fdatasync_ms": fdatasync_ms(tempfile.gettempdir()),
            "resident_mib": resident,
            "rounds": rounds,
        },
    )


if __name__ == "__main__":
    main()
