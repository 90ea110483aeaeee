"""Resident memory over 200,000 requests: how much a worker holds, and whether it grows.

    python benchmarks/growth.py [--requests 200000]

An engine that answers at once; the mixed notes of benchmarks/notes.jsonl; memory is read every
tenth of the run. `growth` is the last reading against the first.
"""

from __future__ import annotations

import argparse
import asyncio
import json

import gateway_alone
import load
import servers


def main() -> None:
    """Run and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    given = parser.parse_args()
    with servers.wardgate(state=servers.memory(), program=gateway_alone.INSTANT) as ours:
        sent = [
            load.post(
                ours.url, json.dumps({"model": "sentiment", "text": n}).encode(), token=ours.token
            )
            for n in servers.notes()
        ]
        asyncio.run(load.closed_loop(ours.url, sent, callers=1, requests_each=len(sent)))
        readings, done, errors = [], 0, 0
        while done < given.requests:
            step = given.requests // 10
            taken = asyncio.run(
                load.closed_loop(ours.url, sent, callers=16, requests_each=step // 16)
            )
            done += taken.requests
            errors += taken.errors
            readings.append(
                {"requests": done, "resident_mib": round(load.resident_mib(ours.pid), 1)}
            )
            print(readings[-1], flush=True)
    servers.write(
        "growth",
        {
            "what": __doc__,
            "requests": done,
            "errors": errors,
            "growth": round(readings[-1]["resident_mib"] / readings[0]["resident_mib"] - 1, 4),
            "readings": readings,
        },
    )


if __name__ == "__main__":
    main()
