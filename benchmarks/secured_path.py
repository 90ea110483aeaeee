"""The whole secured path with the shipped int8 model against plain FastAPI with the fp32 model.

    python benchmarks/secured_path.py --fp32 .training/sentiment/float32.onnx

Alternating rounds in one run on the same notes; 32 callers, then one alone. The audit record is on
the disk of the temporary folder. What the ratios mean: wardgate / fastapi of the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

import load
import servers
from load import Load


def requests(system: servers.System) -> list[bytes]:
    """Return the requests of all notes for a system."""
    made = []
    for text in servers.notes():
        body = {"text": text} if system.token is None else {"model": "sentiment", "text": text}
        made.append(load.post(system.url, json.dumps(body).encode(), token=system.token))
    return made


def measure(system: servers.System, callers: int, seconds: float) -> Load:
    """Run one closed loop against a system."""
    return asyncio.run(
        load.closed_loop(system.url, requests(system), callers=callers, seconds=seconds, warm=1.0)
    )


def main() -> None:
    """Run the rounds and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fp32", type=Path, default=Path(".training/sentiment/float32.onnx"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    plain = {
        "MODEL": str(given.fp32.resolve()),
        "TOKENIZER": str(servers.SHIPPED / "tokenizer.json"),
    }
    rounds: list[dict[str, dict[str, dict[str, float]]]] = []
    with (
        servers.uvicorn("fastapi_plain:app", "/predict", plain) as fastapi,
        servers.wardgate() as ours,
    ):
        for _ in range(given.rounds):
            found: dict[str, dict[str, dict[str, float]]] = {}
            for callers in (32, 1):
                for name, system in (("fastapi", fastapi), ("wardgate", ours)):
                    taken = measure(system, callers, given.seconds if callers > 1 else 4.0)
                    found.setdefault(f"{callers}_callers", {})[name] = taken.summary()
            rounds.append(found)
        memory = {
            "fastapi": load.resident_mib(fastapi.pid),
            "wardgate": load.resident_mib(ours.pid),
        }

    def ratio(callers: str, figure: str) -> float:
        return load.median([r[callers]["wardgate"][figure] / r[callers]["fastapi"][figure]
                            for r in rounds])  # fmt: skip

    servers.write(
        "secured-path",
        {
            "what": __doc__,
            "ratio_requests_per_second_32_callers": ratio("32_callers", "requests_per_second"),
            "ratio_p95_32_callers": ratio("32_callers", "p95_ms"),
            "ratio_p50_1_caller": ratio("1_callers", "p50_ms"),
            "ratio_p95_1_caller": ratio("1_callers", "p95_ms"),
            "resident_mib": memory,
            "rounds": rounds,
        },
    )


if __name__ == "__main__":
    main()
