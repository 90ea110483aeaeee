"""Short notes while another caller sends notes of 100 kB; an engine that answers at once.

    python benchmarks/long_notes.py

p99 of 150-character notes from 4 callers, alternating: alone, then beside one caller of long notes.
"""

from __future__ import annotations

import argparse
import asyncio
import json

import gateway_alone
import load
import servers

LONG = 100_000


def long_notes() -> list[str]:
    """Return 8 notes of 100 kB made of the benchmark's notes."""
    joined = " ".join(servers.notes())
    return [(joined * 3)[n * 500 : n * 500 + LONG] for n in range(8)]


async def measure(
    url: str, short: list[bytes], long: list[bytes] | None, seconds: float
) -> dict[str, dict[str, float]]:
    """Run the short callers, and the long one beside them where there are long notes."""
    runs = [load.closed_loop(url, short, callers=4, seconds=seconds, warm=0.5)]
    if long:
        runs.append(load.closed_loop(url, long, callers=1, seconds=seconds, warm=0.5))
    taken = await asyncio.gather(*runs)
    return {name: each.summary() for name, each in zip(("short", "long"), taken, strict=False)}


def main() -> None:
    """Run the rounds and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    given = parser.parse_args()
    rounds = []
    with servers.wardgate(state=servers.memory(), program=gateway_alone.INSTANT) as ours:
        short = gateway_alone.requests(ours, 150)
        long = [
            load.post(
                ours.url,
                json.dumps({"model": "sentiment", "text": n, "timeout_ms": 60000}).encode(),
                token=ours.token,
            )
            for n in long_notes()
        ]
        for sent in (short, long):
            asyncio.run(load.closed_loop(ours.url, sent, callers=1, requests_each=len(sent)))
        for _ in range(given.rounds):
            alone = asyncio.run(measure(ours.url, short, None, given.seconds))
            beside = asyncio.run(measure(ours.url, short, long, given.seconds))
            rounds.append({"alone": alone, "beside_long_notes": beside})
    servers.write(
        "long-notes",
        {
            "what": __doc__,
            "ratio_p99_short": load.median(
                [
                    r["beside_long_notes"]["short"]["p99_ms"] / r["alone"]["short"]["p99_ms"]
                    for r in rounds
                ]
            ),
            "rounds": rounds,
        },
    )


if __name__ == "__main__":
    main()
