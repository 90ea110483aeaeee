"""What knowing a caller costs: one JSON object on standard output, times in microseconds.

`python benchmarks/auth.py [--repeats N]`. Times are processor time of this process, a call, the
least over all repeats (other work on the machine only ever adds) and their median. `cached` is a
token seen before and `new` one that is verified, both with an ES256 key in a file that is looked at
once a second. `flood_*` is the time that a caller with a known token waits, alone and while 64 bad
tokens fill the lane for new ones all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cryptography
import jwt

from wardgate.auth.admit import Admission
from wardgate.auth.authenticate import Authenticator, TrustedIssuer
from wardgate.auth.issuer import ALGORITHM, AUDIENCE, ISSUER, DevelopmentIssuer
from wardgate.auth.keys import FileKeys
from wardgate.auth.permissions import permit
from wardgate.errors import WardgateError
from wardgate.types import Permission

CALLS = 500


def figures(times: list[float]) -> dict[str, float]:
    return {
        "min_us": round(min(times) * 1e6, 2),
        "median_us": round(statistics.median(times) * 1e6, 2),
    }


def measure(call: Callable[[], object], repeats: int, calls: int = CALLS) -> dict[str, float]:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        for _ in range(calls):
            call()
        times.append((time.process_time() - start) / calls)
    return figures(times)


async def measure_new(
    gate: Authenticator, issuer: DevelopmentIssuer, repeats: int
) -> dict[str, float]:
    times = []
    for _ in range(repeats):
        now = time.time()
        headers = [
            [b"Bearer " + issuer.issue(subject="bench", now=now).encode()] for _ in range(100)
        ]
        start = time.process_time()
        for each in headers:
            await gate.authenticate(each, now=now)
        times.append((time.process_time() - start) / len(headers))
    return figures(times)


async def measure_flood(
    gate: Authenticator, known: list[bytes], seconds: float
) -> dict[str, float]:
    """Time a known caller waits for one turn of the loop and its own check, wall clock."""
    head, payload, signature = known[0].split(b".")
    bad = [b".".join((head, payload, b"AAAA" + signature[4:]))]

    async def flooder() -> None:
        while True:
            try:
                await gate.authenticate(bad, now=time.time())
            except WardgateError:
                await asyncio.sleep(0)

    async def caller() -> list[float]:
        times, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            await asyncio.sleep(0)
            await gate.authenticate(known, now=time.time())
            times.append(time.perf_counter() - start)
        return times

    alone = await caller()
    tasks = [asyncio.create_task(flooder()) for _ in range(64)]
    flooded = await caller()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        f"{name}_{label}_us": round(statistics.quantiles(times, n=100)[place] * 1e6, 1)
        for name, times in (("alone", alone), ("flooded", flooded))
        for label, place in (("p50", 49), ("p99", 98))
    }


async def run(repeats: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        issuer = DevelopmentIssuer.open(Path(folder))
        path = Path(folder) / "jwks.json"
        path.write_text(json.dumps(issuer.jwks()))
        keys = FileKeys(path)
        gate = Authenticator([TrustedIssuer(ISSUER, AUDIENCE, keys, frozenset({ALGORITHM}))])
        known = [b"Bearer " + issuer.issue(subject="bench", now=time.time()).encode()]
        principal = await gate.authenticate(known, now=time.time())
        admission = Admission(rate=1e9, burst=10**9, concurrency=256, in_flight=512)

        def cached() -> None:
            assert gate.cached(known, now=time.time())

        new = await measure_new(gate, issuer, max(3, repeats // 5))
        known_again = await gate.authenticate(known, now=time.time())
        assert known_again == principal
        return {
            "benchmark": "auth",
            "python": platform.python_version(),
            "cryptography": cryptography.__version__,
            "pyjwt": jwt.__version__,
            "cpus": len(os.sched_getaffinity(0)),
            "token_bytes": len(known[0]) - 7,
            "cached": measure(cached, repeats),
            "new": new,
            "permit": measure(lambda: permit(principal, Permission.INFER), repeats),
            "admit": measure(lambda: admission.admit(principal, time.time()).release(), repeats),
            "flood": await measure_flood(gate, known, 2.0),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=50)
    print(json.dumps(asyncio.run(run(parser.parse_args().repeats)), indent=2))


if __name__ == "__main__":
    main()
