"""Speed of the audit: records a second, processor time of a record, and the verifier.

    python benchmarks/audit.py [--disk FOLDER] [--memory FOLDER] [--requests N] [--callers N]

Each caller writes an intent and awaits its outcome, as a request does, and starts the next. Disk
and memory alternate; the figure of each is the median of its rounds. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

import uvloop

from wardgate.audit.keys import load_public_keys, open_signing_key
from wardgate.audit.record import Recorder
from wardgate.audit.sink import SqliteSink
from wardgate.audit.verify import verify
from wardgate.types import Intent, ModelId, Outcome, Principal

PRINCIPAL = Principal(
    issuer="https://issuer.example/realms/hospital",
    subject="3f0c6f0e-8a44-4f3b-9a3e-0d8c3c0d7a11",
    client="discharge-notes",
    tenant="north-ward",
    scopes=frozenset({"infer:sentiment"}),
    token_id="b1a7e4f2-52ab-4e3e-8b57-6b4b2f1f6a55",
    expires_at=2e9,
)
MODEL = ModelId("sentiment", "1.0.0", "a" * 64)
HOPS = dict.fromkeys(
    ("auth", "admit", "read", "authorize", "deid", "tokenize", "intent", "infer", "post"), 123
)


async def caller(recorder: Recorder, waits: list[float], requests: int) -> None:
    for _ in range(requests):
        request_id = str(uuid.uuid4())
        ticket = recorder.intent(
            Intent(
                request_id, "0" * 32, PRINCIPAL, "/v1/predict", "TREAT", "safe_harbor", "b" * 64,
                MODEL, None, "c" * 64,
            )
        )  # fmt: skip
        await asyncio.sleep(0)
        started = time.perf_counter()
        outcome = Outcome(request_id, PRINCIPAL.tenant, 200, "ok", {"NAME": 2, "DATE": 1}, HOPS)
        await recorder.outcome(outcome, ticket)
        waits.append(time.perf_counter() - started)


async def load(
    folder: Path, name: str, state: Path, callers: int, requests: int
) -> dict[str, float]:
    sink = SqliteSink(folder, name, key=open_signing_key(state), version="benchmark")
    recorder = Recorder(sink)
    recorder.start()
    waits: list[float] = []
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller(recorder, waits, requests // callers) for _ in range(callers)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await recorder.close()
    records = 2 * len(waits)
    waits.sort()
    return {
        "records_per_second": records / wall,
        "cpu_us_per_record": 1e6 * cpu / records,
        "outcome_p50_ms": 1e3 * waits[len(waits) // 2],
        "outcome_p99_ms": 1e3 * waits[len(waits) * 99 // 100],
    }


def fdatasync_ms(folder: Path) -> float:
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(100):
            os.pwrite(file.fileno(), os.urandom(4096), 0)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--disk", type=Path, default=Path.cwd())
    parser.add_argument("--memory", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    places = {"disk": options.disk, "memory": options.memory}
    loads: dict[str, list[dict[str, float]]] = {
        f"{p}_{c}": [] for p in places for c in (options.callers, 1)
    }
    verified, syncs = [], []
    with (
        tempfile.TemporaryDirectory(dir=options.disk) as disk,
        tempfile.TemporaryDirectory(dir=options.memory) as memory,
        uvloop_runner() as runner,
    ):
        folders = {"disk": Path(disk), "memory": Path(memory)}
        state = Path(memory) / "state"
        for turn, (place, folder) in itertools.product(range(options.rounds), folders.items()):
            for callers in (options.callers, 1):
                requests = options.requests if callers > 1 else options.requests // 20
                loads[f"{place}_{callers}"].append(
                    runner.run(
                        load(folder / "audit", f"w{turn}-{callers}", state, callers, requests)
                    )
                )
            if place == "disk":
                syncs.append(fdatasync_ms(folder))
        keys = load_public_keys(state)
        for _ in range(options.rounds):
            cpu, wall = time.process_time(), time.perf_counter()
            report = verify(folders["memory"] / "audit", keys)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if not report.ok:
                sys.exit(f"The chain does not verify: {report}")
            verified.append((report.records / wall, report.records / cpu))
    python = platform.python_version()
    result: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {python}",
        "load": {
            name: {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
            for name, rounds in loads.items()
        },
        "disk_fdatasync_ms": statistics.median(syncs),
        "verify_records_per_second": statistics.median(wall for wall, _ in verified),
        "verify_records_per_cpu_second": max(cpu for _, cpu in verified),
    }
    print(json.dumps(result, indent=2))


def uvloop_runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


if __name__ == "__main__":
    main()
