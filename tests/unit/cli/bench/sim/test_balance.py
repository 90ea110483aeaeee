from __future__ import annotations

import random
from collections import Counter
from types import SimpleNamespace

import pytest

from wardgate.cli.bench.sim.balance import POLICIES, picker


def view(*in_flight):
    return [SimpleNamespace(in_flight=count) for count in in_flight]


@pytest.mark.parametrize("policy", POLICIES)
def test_all_are_taken_where_all_are_alike(policy) -> None:
    pick = picker(policy, random.Random(1))
    replicas = view(*[0] * 5)
    assert set(Counter(pick(replicas) for _ in range(200))) == set(range(5))


def test_least_in_flight_is_taken() -> None:
    pick = picker("least-in-flight", random.Random(1))
    assert {pick(view(3, 1, 2)) for _ in range(50)} == {1}


def test_the_lesser_of_two_is_taken() -> None:
    pick = picker("two-choices", random.Random(1))
    taken = Counter(pick(view(9, 0)) for _ in range(1000))
    assert 200 < taken[0] < 300  # only where both draws are the full one


def test_round_robin_goes_on_where_replicas_are_gone() -> None:
    pick = picker("round-robin", random.Random(1))
    assert [pick(view(0, 0, 0)) for _ in range(3)] == [0, 1, 2]
    assert pick(view(0, 0)) == 1
