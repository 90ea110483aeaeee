"""The embedded engine alone: requests a second with 32 callers, and the wait of one caller.

    python benchmarks/engine.py [--notes FILE] [--seconds S] [--rounds N] [--layouts 2x1,1x2,auto]
                                [--registry FOLDER --model NAME]

A layout is sessions x threads; `auto` lets the warm-up choose. `count` is `auto` with batches by
count: up to 16 rows in order of arrival, padded to the longest. All are started first and then take
turns over the same notes, so that a noisy machine is as noisy for each; the figure of each is the
median of its rounds. Tokenizing is outside the timing. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import resource
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import onnxruntime
import uvloop

from wardgate.engine.calibrate import Calibration
from wardgate.engine.onnx import OnnxEngine
from wardgate.nlp.tokenize import Tokenizer
from wardgate.registry.store import SHIPPED, Store
from wardgate.types import CleanText, Encoding, Priority

CALLERS = 32
COUNT = 16
"""Rows of a batch by count."""


class ByCount(OnnxEngine):
    """The same engine with one lane: batches by count, whatever the lengths."""

    def _warm(self) -> Calibration:
        found = super()._warm()
        lanes = {model: (replace(plan[-1], rows=COUNT),) for model, plan in found.buckets.items()}
        return replace(found, buckets=lanes)


async def load(
    engine: OnnxEngine, model: str, encodings: list[Encoding], callers: int, seconds: float
) -> tuple[float, list[float]]:
    """Return requests a second, and each request's wait in seconds."""
    waits: list[float] = []
    notes = itertools.cycle(encodings)
    started = time.monotonic()
    end = started + seconds

    async def caller() -> None:
        while (now := time.monotonic()) < end:
            await engine.infer(model, next(notes), deadline=now + 60, priority=Priority.INTERACTIVE)
            waits.append(time.monotonic() - now)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return len(waits) / (time.monotonic() - started), waits


def summary(rounds: list[tuple[float, list[float]]]) -> dict[str, float]:
    """Return the medians over the rounds: requests a second; p50 and p95 in milliseconds."""
    cuts = [statistics.quantiles(waits, n=20, method="inclusive") for _, waits in rounds]
    return {
        "requests_per_second": round(statistics.median(rate for rate, _ in rounds), 1),
        "p50_ms": round(1e3 * statistics.median(cut[9] for cut in cuts), 2),
        "p95_ms": round(1e3 * statistics.median(cut[18] for cut in cuts), 2),
    }


async def measure(options: argparse.Namespace) -> dict[str, object]:
    model = Store([options.registry], allow_unsigned=True).load(options.model)
    key = model.id.digest
    windows = model.manifest.windows
    tokenizer = Tokenizer(model.tokenizer, model.max_length, windows.overlap if windows else None)
    with options.notes.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    encodings = [tokenizer.encode(CleanText(text)) for text in texts]
    engines, plans = {}, {}
    for layout in options.layouts.split(","):
        chosen = layout in ("auto", "count")
        sessions, threads = (0, 0) if chosen else map(int, layout.split("x"))
        kind = ByCount if layout == "count" else OnnxEngine
        engines[layout] = kind({key: model}, sessions=sessions, threads=threads)
        calibration = await engines[layout].start()
        plans[layout] = {"plan": str(calibration), "warm_up_s": round(calibration.seconds, 2)}
    many: dict[str, list[tuple[float, list[float]]]] = {layout: [] for layout in engines}
    one: dict[str, list[tuple[float, list[float]]]] = {layout: [] for layout in engines}
    for _ in range(options.rounds):
        for layout, engine in engines.items():
            many[layout].append(await load(engine, key, encodings, CALLERS, options.seconds))
            one[layout].append(await load(engine, key, encodings, 1, options.seconds / 2))
    for engine in engines.values():
        await engine.close()
    return {
        "benchmark": "engine",
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "model": f"{model.id.name} {model.id.version} {model.id.digest[:12]}",
        "notes": len(texts),
        "mean_tokens": round(
            statistics.mean(sum(map(len, encoding.rows)) for encoding in encodings), 1
        ),
        "layouts": {
            layout: plans[layout]
            | {f"callers_{CALLERS}": summary(many[layout]), "callers_1": summary(one[layout])}
            for layout in engines
        },
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--notes", type=Path, default=Path(__file__).with_name("notes.jsonl"))
    parser.add_argument("--registry", type=Path, default=SHIPPED)
    parser.add_argument("--model", default="sentiment")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layouts", default="2x1,1x2,auto")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        json.dump(runner.run(measure(options)), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
