"""Measures the service times of a model: its batches, and the reading of its notes.

Each shape that a running gateway's engine may make is timed alone, in a session with the engine's
options, and so is what all processors do at once. The gateway's own part is found in `fit.py`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import onnxruntime

from wardgate.cli.bench.environment import Model
from wardgate.cli.bench.sim.service import Note, Service, Shot
from wardgate.deid.deidentify import Deidentifier
from wardgate.engine import calibrate
from wardgate.engine.batch import Bucket
from wardgate.engine.cpus import available
from wardgate.nlp.tokenize import Tokenizer

REPEATS = 7
"""Runs of each shape; the median counts."""
TOGETHER_SECONDS = 0.5
"""For each look at how much runs at once slow each other; the median of three counts."""
_LINE = re.compile(
    r"engine: (\d+) sessions of (\d+) threads(?:, (\d+) threads for a lone caller)? on \d+ "
    r"processors, (\d+) tokens/s, batches \(length x rows\) \S+: ((?:\d+x\d+ ?)+)"
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What an engine chose for its machine at its start."""

    sessions: int
    threads: int
    wide: int
    rate: float
    rows: Mapping[int, int]
    """Most rows of a batch, by the bucket's length."""


def chosen(log: str) -> Chosen | None:
    """Read it from a gateway's log of one model; None where it says nothing of it."""
    found = _LINE.search(log)
    if found is None:
        return None
    pairs = (pair.split("x") for pair in found[5].split())
    return Chosen(
        int(found[1]),
        int(found[2]),
        int(found[3] or 0),
        float(found[4]),
        {int(length): int(rows) for length, rows in pairs},
    )


def measure(model: Model, texts: Sequence[str], engine: Chosen) -> Service:
    """Time a model and notes on this machine, for an engine as a gateway has chosen it."""
    widths = sorted({engine.threads, engine.wide} - {0})
    times = {threads: _shots(_session(model, threads), engine.rows) for threads in widths}
    lone = {length: seconds for rows, length, seconds in times[engine.threads] if rows == 1}
    return Service(
        model=model.name,
        sessions=engine.sessions,
        threads=engine.threads,
        wide=engine.wide,
        buckets=tuple(Bucket(length, rows, lone[length]) for length, rows in engine.rows.items()),
        rate=engine.rate,
        speed=_speed(_session(model, 1)),
        times=times,
        notes=read_notes(model, texts),
    )


def read_notes(model: Model, texts: Sequence[str]) -> tuple[Note, ...]:
    """Return the notes as rows of tokens, with how long de-identifying and tokenizing took."""
    windows = model.manifest.get("windows")
    tokenizer = Tokenizer(
        (model.entry / "tokenizer.json").read_bytes(),
        model.manifest["max_length"],
        windows["overlap"] if windows else None,
    )
    deidentifier = Deidentifier()
    found = []
    for text in texts:
        taken = []
        for _ in range(2):  # the first reading fills the processor's caches
            began = time.thread_time()
            rows = tokenizer.encode(deidentifier.deidentify(text).text).rows
            taken.append(time.thread_time() - began)
        found.append(Note(tuple(map(len, rows)), round(min(taken), 7)))
    return tuple(found)


def _session(model: Model, threads: int) -> calibrate.Shot:
    """Return a function that runs a batch of a shape, as `engine/onnx.py` runs it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        str(model.entry / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )

    def shot(rows: int, length: int) -> None:
        ids = np.ones((rows, length), np.int64)
        session.run(("logits",), {"input_ids": ids, "attention_mask": ids})

    return shot


def _shots(shot: calibrate.Shot, most: Mapping[int, int]) -> tuple[Shot, ...]:
    """Time each bucket's batches of 1, 2, 4, ... rows, and its largest."""
    found: list[Shot] = []
    for length, largest in most.items():
        sizes = {2**power for power in range(largest.bit_length())} | {largest}
        for rows in sorted(size for size in sizes if size <= largest):
            shot(rows, length)
            found.append((rows, length, round(median(_times(shot, rows, length)), 7)))
    return tuple(found)


def _times(shot: calibrate.Shot, rows: int, length: int) -> list[float]:
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        shot(rows, length)
        taken.append(time.perf_counter() - began)
    return taken


def _speed(shot: calibrate.Shot) -> tuple[float, ...]:
    """Return the work done a second by 1, 2, ... threads at once, up to all processors.

    Timed are one and all; what is between is taken to lie on a straight line.
    """
    processors = available()
    ratios = []
    for _ in range(3):
        one = calibrate.throughput([shot], TOGETHER_SECONDS)
        ratios.append(calibrate.throughput([shot] * processors, TOGETHER_SECONDS) / one)
    whole = max(1.0, median(ratios))
    steps = max(1, processors - 1)
    return tuple(round(1 + (whole - 1) * n / steps, 4) for n in range(processors))
