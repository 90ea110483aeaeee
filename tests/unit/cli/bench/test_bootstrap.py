from __future__ import annotations

import math
import random

import pytest

from wardgate.cli.bench.bootstrap import ratio


def test_the_ratio_is_of_the_means() -> None:
    found = ratio([1, 2, 3], [2, 4, 6], paired=True)
    assert found.value == pytest.approx(2)
    assert found.low <= 2 <= found.high


def test_a_clear_difference_is_real_and_none_is_not() -> None:
    a, b = [100, 101, 99, 100, 102], [120, 122, 119, 121, 120]
    assert ratio(a, b, paired=False).real is True
    assert ratio(a, [101, 99, 100, 102, 100], paired=False).real is False


def test_pairs_see_through_a_drift_that_both_share() -> None:
    a = [100.0, 140.0, 90.0, 160.0, 120.0]
    b = [value * 1.05 for value in a]
    assert ratio(a, b, paired=True).real is True
    assert ratio(a, b, paired=False).real is False


@pytest.mark.parametrize(
    ("a", "b"), [([1, 2], [2, 3]), ([1, 2, 3], [2, 3]), ([1, 2, 3], [0, 0, 0])]
)
def test_too_few_rounds_or_nothing_at_all_says_nothing(a, b) -> None:
    found = ratio(a, b, paired=False)
    assert (found.low, found.high, found.real) == (None, None, None)


def test_nothing_below_is_no_fault() -> None:
    assert ratio([0, 0, 0], [1, 1, 1], paired=False).value == math.inf


def test_the_seed_gives_the_same_interval() -> None:
    a, b = [5, 6, 7, 5], [6, 7, 8, 6]
    assert ratio(a, b, paired=False, seed=2) == ratio(a, b, paired=False, seed=2)


def test_of_equal_systems_few_are_told_apart() -> None:
    # 5 % would be right; a plain percentile interval tells 15 to 20 % apart with five rounds
    rng = random.Random(1)
    wrong = 0
    for seed in range(100):
        a, b = ([rng.gauss(100, 5) for _ in range(5)] for _ in range(2))
        wrong += ratio(a, b, paired=False, seed=seed, draws=800).real is True
    assert wrong <= 10
