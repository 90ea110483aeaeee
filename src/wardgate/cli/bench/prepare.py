"""Makes the systems of a scenario ready to be started: environment, model, right answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wardgate.cli.bench import golden, system
from wardgate.cli.bench.environment import Absent, Model, model, python, versions
from wardgate.cli.bench.forms import Answer
from wardgate.cli.bench.scenario import Entry, Scenario
from wardgate.cli.bench.system import System

Say = Callable[[str], None]
_TOLD = frozenset({
    "bentoml", "fastapi", "grpcio", "litserve", "mlserver", "numpy", "nvidia-pytriton",
    "onnxruntime", "orjson", "pydantic", "ray", "starlette", "tokenizers", "uvicorn", "uvloop",
    "wardgate",
})  # fmt: skip
"""Packages whose versions a result tells."""


@dataclass
class Ready:
    """One system of the run with all that it needs."""

    entry: Entry
    system: System
    model: Model
    python: Path
    golden: list[Answer]
    told: dict[str, Any] = field(default_factory=dict)


def prepare(
    scenario: Scenario, asked: Sequence[str], told: dict[str, Any], say: Say
) -> list[Ready]:
    """Return the systems that can run; `told` gets what a result says of each. Raises Invalid."""
    folder = system.folder_of(scenario.path)
    answers: dict[str, list[Answer]] = {}
    ready = []
    for entry in scenario.systems:
        found = system.read(folder, entry.name)
        found.call(entry.protocol)
        of = model(scenario.model, entry.precision, folder)
        digest = hashlib.sha256((of.entry / "model.onnx").read_bytes()).hexdigest()
        said: dict[str, Any] = {
            "title": found.title,
            "about": found.about,
            "model": of.name,
            "precision": of.precision,
            "model_sha256": digest,
            "command": " ".join(
                [*found.command, *found.call(entry.protocol).arguments, *entry.arguments]
            ),
            "protocol": entry.protocol + (" over TLS 1.3" if entry.tls else ""),
        }
        told[entry.label] = said
        try:
            interpreter = python(found)
        except Absent as reason:
            say(f"{entry.label} is not in the run: {reason}")
            said["absent"] = str(reason)
            continue
        if digest not in answers:
            answers[digest] = golden.expected(of, asked)
        packages = versions(interpreter)
        said["versions"] = {
            name: version for name, version in packages.items() if name.lower() in _TOLD
        }
        ready.append(Ready(entry, found, of, interpreter, answers[digest], said))
    return ready


def lengths(texts: Sequence[str]) -> dict[str, float]:
    """Return what the notes are like; no text."""
    ordered = sorted(map(len, texts))
    return {
        "count": len(ordered),
        "characters_mean": round(sum(ordered) / len(ordered), 1),
        "characters_p50": ordered[len(ordered) // 2],
        "characters_p95": ordered[int(len(ordered) * 0.95)],
        "characters_max": ordered[-1],
    }
