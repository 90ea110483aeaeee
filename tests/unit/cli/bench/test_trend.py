from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.cli.bench.trend import ENOUGH, trend, trends


def noisy(values, share=0.02):
    rng = random.Random(2)
    return [value * (1 + rng.uniform(-share, share)) for value in values]


@pytest.mark.parametrize(
    ("figure", "readings", "grows"),
    [
        ("memory_mib", noisy([300.0] * 60), False),
        ("memory_mib", noisy([300.0 + n for n in range(60)]), True),
        ("memory_mib", [300.0] * 59 + [900.0], False),  # one peak is no trend
        ("descriptors", [40.0] * 60, False),
        ("descriptors", [40.0 + n // 10 for n in range(60)], True),
        ("p99_ms", noisy([20.0] * 60, 0.3), False),
        ("p99_ms", noisy([20.0 + n / 4 for n in range(60)], 0.2), True),
        ("memory_mib", [300.0, 900.0], None),
    ],
)
def test_what_grows(figure, readings, grows) -> None:
    assert trend(figure, readings).grows is grows


@given(st.lists(st.floats(1, 1e4), min_size=ENOUGH, max_size=80))
def test_what_falls_never_grows(readings) -> None:
    assert trend("descriptors", sorted(readings, reverse=True)).grows is False


@given(st.lists(st.floats(1, 1e4), min_size=1, max_size=80))
def test_the_chance_is_one(readings) -> None:
    assert 0 <= trend("p99_ms", readings).chance <= 1


def test_all_figures_that_readings_hold() -> None:
    readings = [{"memory_mib": 300.0, "descriptors": 4.0, "p50_ms": 1.0}] * 10
    assert [each.figure for each in trends(readings)] == ["memory_mib", "descriptors"]
    assert trends([]) == []
    assert trends(readings)[0].told()["growth"] == 0.0
