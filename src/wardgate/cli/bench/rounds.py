"""Runs a scenario: in each round each system is started, checked, loaded and ended, one at a time.

Systems take turns in another order each round, so that what drifts on the machine (heat,
neighbours) falls on none more than on another. What each round gave is in the file before the next
begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wardgate.cli.bench import golden, machine, notes, results
from wardgate.cli.bench.launch import Failed
from wardgate.cli.bench.measure import line, measure, started
from wardgate.cli.bench.prepare import Ready, Say, lengths, prepare
from wardgate.cli.bench.scenario import Scenario


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
        "notes": lengths(texts),
        "systems": {},
        "rounds": [],
    }
    ready = prepare(scenario, asked, content["systems"], say)
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


def _round(
    scenario: Scenario,
    each: Ready,
    texts: Sequence[str],
    asked: Sequence[str],
    *,
    number: int,
    say: Say,
) -> list[dict[str, Any]]:
    """Start a system, check it, put each load on it, and end it. Raises Failed."""
    measured = []
    with started(scenario, each, texts, asked, scenario.seed + number) as (there, job):
        for load in scenario.loads:
            found = measure(there, job, load)
            measured.append({"system": each.entry.label, **found})
            say(f"  {load}: {line(found)}")
    return measured
