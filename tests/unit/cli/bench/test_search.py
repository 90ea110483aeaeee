from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardgate.cli.bench.search import DEEPEST, Bounds, majority, replicas, search


@settings(deadline=None, max_examples=50)
@given(st.floats(0.01, 1e5), st.floats(0.1, 1e4), st.floats(0.001, 0.5))
def test_it_finds_the_edge_to_the_precision(edge, start, precision) -> None:
    tried = []

    def holds(rate):
        tried.append(rate)
        return rate <= edge

    found = search(holds, start, precision, 1e9)
    if found.low:
        assert found.low <= edge < found.high
        assert found.high <= found.low * (1 + precision)
    else:
        assert edge < start / 2 ** (DEEPEST - 1)
    assert len(tried) == len(set(tried))
    assert len(tried) < 2 * DEEPEST + 60


def test_what_holds_everything_is_told_so() -> None:
    assert search(lambda rate: True, 10.0, 0.1, 100.0) == Bounds(100.0, math.inf)


def test_what_holds_nothing_is_told_so() -> None:
    assert search(lambda rate: False, 10.0, 0.1, 100.0).low == 0.0


@pytest.mark.parametrize(
    ("says", "verdict", "made"),
    [("YY", True, 2), ("NN", False, 2), ("YNY", True, 3), ("NYN", False, 3)],
)
def test_most_of_three_decide(says, verdict, made) -> None:
    left = list(says)
    assert majority(lambda: left.pop(0) == "Y", 3) is verdict
    assert len(says) - len(left) == made


def test_one_try_decides_alone() -> None:
    assert majority(lambda: True, 1)
    assert not majority(lambda: False, 1)


@settings(deadline=None, max_examples=50)
@given(st.floats(1, 1e6), st.floats(1, 1e4), st.floats(0, 0.9))
def test_replicas_carry_the_load_with_headroom_and_one_fewer_does_not(target, rate, free) -> None:
    count = replicas(target, rate, free)
    assert count * rate * (1 - free) >= target * (1 - 1e-6)
    assert count == 1 or (count - 1) * rate * (1 - free) < target


def test_a_round_number_is_not_rounded_up() -> None:
    assert replicas(700, 100, 0.3) == 10
