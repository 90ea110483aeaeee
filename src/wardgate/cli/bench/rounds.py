"""Runs a scenario: in each round each system is started, checked, loaded and ended, one at a time.

Systems take turns in another order each round, so that what drifts on the machine (heat,
neighbours) falls on none more than on another. What each round gave is in the file before the next
begins.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from wardgate.cli.bench import golden, machine, notes, probe, results, system
from wardgate.cli.bench.environment import Absent, Model, model, python, versions
from wardgate.cli.bench.forms import Answer
from wardgate.cli.bench.generator import Job
from wardgate.cli.bench.launch import Failed, Running, running
from wardgate.cli.bench.scenario import Entry, Load, Scenario
from wardgate.cli.bench.system import System
from wardgate.cli.bench.verdict import bottleneck

Say = Callable[[str], None]
_TOLD = frozenset({
    "bentoml", "fastapi", "grpcio", "litserve", "mlserver", "numpy", "nvidia-pytriton",
    "onnxruntime", "orjson", "pydantic", "ray", "starlette", "tokenizers", "uvicorn", "uvloop",
    "wardgate",
})  # fmt: skip
"""Packages whose versions a result tells."""


@dataclass
class _Ready:
    """One system of the run with all that it needs."""

    entry: Entry
    system: System
    model: Model
    python: Path
    golden: list[Answer]
    told: dict[str, Any] = field(default_factory=dict)


def run(scenario: Scenario, out: Path, say: Say) -> Path:
    """Run all rounds and return the file of the result. Raises Invalid.

    A system that does not install or start, or answers wrongly, is told in the result and left out
    of the rounds that follow.
    """
    path = out / f"{scenario.name}.json"
    texts = notes.texts(scenario.notes, scenario.seed)
    asked = golden.clean(texts)
    content: dict[str, Any] = {
        **machine.describe(scenario.path.parent),
        "scenario": scenario.settings(),
        "notes": _lengths(texts),
        "systems": {},
        "rounds": [],
    }
    ready = _prepare(scenario, asked, content["systems"], say)
    for number in range(scenario.rounds):
        turn = number % max(1, len(ready))
        order = [*ready[turn:], *ready[:turn]]
        measured: list[dict[str, Any]] = []
        for each in list(reversed(order) if number % 2 else order):
            say(f"round {number + 1} of {scenario.rounds}: {each.entry.label}")
            try:
                measured += _round(scenario, each, texts, asked, number=number, say=say)
            except Failed as reason:
                say(f"  {each.entry.label} is out: {reason}")
                each.told["failed"] = str(reason)
                ready.remove(each)
        content["rounds"].append({"measured": measured})
        results.write(path, content)
    return path


def _prepare(
    scenario: Scenario, asked: Sequence[str], told: dict[str, Any], say: Say
) -> list[_Ready]:
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
        ready.append(_Ready(entry, found, of, interpreter, answers[digest], said))
    return ready


def _round(
    scenario: Scenario,
    each: _Ready,
    texts: Sequence[str],
    asked: Sequence[str],
    *,
    number: int,
    say: Say,
) -> list[dict[str, Any]]:
    """Start a system, check it, put each load on it, and end it. Raises Failed."""
    measured = []
    with running(each.system, each.entry, each.model, scenario, each.python) as there:
        job = Job(
            target=there.target,
            protocol=each.entry.protocol,
            form=each.system.call(each.entry.protocol).form,
            model=each.model.name,
            texts=texts,
            load=scenario.loads[0],
            seconds=scenario.seconds,
            warm=scenario.warm,
            timeout=scenario.timeout,
            seed=scenario.seed + number,
            processors=scenario.processors.generator,
        )
        each.told["golden"] = golden.check(job, asked, each.golden)
        for load in scenario.loads:
            found = _measure(there, job, load)
            measured.append({"system": each.entry.label, **found})
            say(
                f"  {load}: {found['requests_per_second']:.1f} requests/s, "
                f"p50 {found['p50_ms']:.1f} ms, p95 {found['p95_ms']:.1f} ms"
                + "".join(f"; {reason}" for reason in found["bottleneck"])
                + (f"; {found['errors']} errors" if found["errors"] else "")
            )
    return measured


def _measure(there: Running, job: Job, load: Load) -> dict[str, Any]:
    """Put one load on a system; return what came out with what it took."""
    batches, cpu = there.batches(), probe.cpu_seconds(there.tree())
    found = _generate(replace(job, load=load))
    processes = there.tree()
    if not processes:
        raise Failed(f"the system ended under {load}")
    whole = found["requests"] / job.seconds * (job.warm + job.seconds)
    spent = probe.cpu_seconds(processes) - cpu
    return {
        "load": asdict(load),
        **found,
        "memory_mib": probe.memory_mib(processes),
        "processes": len(processes),
        "cpu_ms_a_request": round(spent / whole * 1000, 4) if whole else 0.0,
        "start_seconds": round(there.started_seconds, 2),
        "system_processors": sorted(os.sched_getaffinity(there.pid)),
        "batches": there.batches().since(batches),
        "bottleneck": bottleneck(found),
    }


def _generate(job: Job) -> dict[str, Any]:
    """Run the generator in a process of its own. Raises Failed where it cannot connect."""
    process = subprocess.Popen(
        [sys.executable, "-m", "wardgate.cli.bench.generator"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, said = process.communicate(job.to_json())
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise Failed(f"the load generator ended: {(said.strip().splitlines() or ['?'])[-1]}")
    found: dict[str, Any] = json.loads(out)
    return found


def _lengths(texts: Sequence[str]) -> dict[str, float]:
    """Return what the notes are like; no text."""
    ordered = sorted(map(len, texts))
    return {
        "count": len(ordered),
        "characters_mean": round(sum(ordered) / len(ordered), 1),
        "characters_p50": ordered[len(ordered) // 2],
        "characters_p95": ordered[int(len(ordered) * 0.95)],
        "characters_max": ordered[-1],
    }
