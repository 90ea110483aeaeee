"""The deployments of arXiv 2602.00053, each by one command, and a first look at all of them.

    python benchmarks/deployments.py fastapi            plain FastAPI with ONNX Runtime
    python benchmarks/deployments.py triton             plain Triton with dynamic batching
    python benchmarks/deployments.py triton-unbatched   plain Triton without
    python benchmarks/deployments.py hybrid             Wardgate with Triton behind it
    python benchmarks/deployments.py compare            each of them under the same callers

The first four serve until Ctrl-C and print how to call them. All run the shipped model. The plain
ones have no security at all, and Triton's callers tokenise for themselves: that is what is compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import hybrid
import load
import servers

CALLERS = 32


def fastapi() -> AbstractContextManager[servers.System]:
    """Run the usual FastAPI service on the shipped model."""
    files = {
        "MODEL": str(servers.SHIPPED / "model.onnx"),
        "TOKENIZER": str(servers.SHIPPED / "tokenizer.json"),
    }
    return servers.uvicorn("fastapi_plain:app", "/predict", files)


START: dict[str, Callable[[], AbstractContextManager[servers.System]]] = {
    "fastapi": fastapi,
    "triton": lambda: servers.plain_triton(dynamic_batching=True),
    "triton-unbatched": lambda: servers.plain_triton(dynamic_batching=False),
    "hybrid": lambda: servers.wardgate("--engine", "triton"),
}


def example(name: str, system: servers.System) -> str:
    """Return a command that calls the system."""
    if name.startswith("triton"):
        return (
            f"gRPC at {system.url}, model `sentiment`: input_ids and attention_mask, INT64 "
            "[rows, length], to logits, FP32 [rows, 2]"
        )
    body = {"text": "Pt John Smith feels much better."}
    token = ""
    if system.token is not None:
        body["model"] = "sentiment"
        token = f"-H 'Authorization: Bearer {system.token}' "
    return f"curl {token}-H 'Content-Type: application/json' -d '{json.dumps(body)}' {system.url}"


def serve(name: str) -> None:
    """Run one deployment until SIGINT or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with START[name]() as system:
        print(f"{name} is ready. Try:\n\n  {example(name, system)}\n\nCtrl-C ends it.", flush=True)
        stopped.wait()


def measure(name: str, system: servers.System, seconds: float) -> load.Load:
    """Keep the callers busy for `seconds`."""
    if name.startswith("triton"):
        return asyncio.run(hybrid.plain(system.url, CALLERS, seconds))
    bodies = [{"text": text} for text in servers.notes()]
    if system.token is not None:
        bodies = [{"model": "sentiment", **body} for body in bodies]
    posts = [load.post(system.url, json.dumps(b).encode(), token=system.token) for b in bodies]
    return asyncio.run(
        load.closed_loop(system.url, posts, callers=CALLERS, seconds=seconds, warm=1.0)
    )


def compare(rounds: int, seconds: float) -> None:
    """Measure all deployments, one after the other in each round, and write the result."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in START}
    for _ in range(rounds):
        for name, start in START.items():
            with start() as system:
                found[name].append(measure(name, system, seconds).summary())
    servers.write(
        "deployments",
        {
            "what": __doc__,
            "callers": CALLERS,
            "medians": {
                name: {
                    figure: load.median([each[figure] for each in taken])
                    for figure in ("requests_per_second", "p50_ms", "p95_ms")
                }
                for name, taken in found.items()
            },
            "rounds": found,
        },
    )


def main() -> None:
    """Serve one deployment, or compare all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=[*START, "compare"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    if given.what == "compare":
        compare(given.rounds, given.seconds)
    else:
        serve(given.what)


if __name__ == "__main__":
    main()
