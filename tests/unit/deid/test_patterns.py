"""Every pattern of the detector takes linear time."""

from __future__ import annotations

import importlib
import importlib.util
import re
import time
from pathlib import Path

import pytest

MODULES = (
    "patterns",
    "numbers",
    "net",
    "dates",
    "names",
    "fullnames",
    "places",
    "context",
    "transform",
)
SIZE = 32_768
RATIO = 2.3


def _adversarial():
    path = Path(__file__).parents[3] / "benchmarks" / "deid" / "adversarial.py"
    spec = importlib.util.spec_from_file_location("adversarial", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ADVERSARIAL = _adversarial()
PATTERNS = {
    f"{name}.{key}": value
    for name in MODULES
    for key, value in vars(importlib.import_module(f"wardgate.deid.{name}")).items()
    if isinstance(value, re.Pattern)
}


def _seconds(pattern: re.Pattern[str], text: str, repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        for _ in pattern.finditer(text):
            pass
        best = min(best, time.process_time() - start)
    return best


def test_there_are_patterns():
    assert len(PATTERNS) > 30


@pytest.mark.parametrize("name", PATTERNS)
def test_twice_the_input_takes_twice_the_time(name):
    pattern = PATTERNS[name]
    worst = max(
        ADVERSARIAL.PIECES,
        key=lambda piece: _seconds(pattern, ADVERSARIAL.of_size(piece, 4096), 1),
    )
    for piece in {worst, "caps_letters", "digits", "underscores"}:
        once = ADVERSARIAL.of_size(piece, SIZE)
        twice = ADVERSARIAL.of_size(piece, 2 * SIZE)
        ratio = 0.0
        for attempt in range(8):
            ratio = _seconds(pattern, twice, 3 + attempt) / max(
                _seconds(pattern, once, 3 + attempt), 1e-6
            )
            if ratio <= RATIO:
                break
        assert ratio <= RATIO, (piece, ratio)


def test_a_quadratic_pattern_would_be_caught():
    quadratic = re.compile(r"A+B")
    once, twice = "A" * 2000, "A" * 4000
    ratios = (_seconds(quadratic, twice, 3) / _seconds(quadratic, once, 3) for _ in range(8))
    assert any(ratio > RATIO for ratio in ratios)
