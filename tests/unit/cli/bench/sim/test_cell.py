from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.cli.bench.sim.conftest import FREE, call, fixed, made, replica

from wardgate.cli.bench.sim.balance import POLICIES, picker
from wardgate.cli.bench.sim.cell import Cell
from wardgate.cli.bench.sim.plan import Failure, Tenants
from wardgate.cli.bench.sim.replica import GOOD, LOST, Replica
from wardgate.cli.bench.sim.traffic import Callers


def callers(service, seed=1, **tenants):
    return Callers(service.notes, Tenants(**tenants), timeout=100.0, rng=random.Random(seed))


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_server_with_fixed_times_waits_as_theory_says(cell, load) -> None:
    """M/D/1: the mean time is s + load * s / (2 * (1 - load)) (Pollaczek and Khinchine)."""
    service = fixed(0.01)
    made_calls = callers(service).poisson(load / 0.01, 60.0)
    record = cell([replica(service)], begin=5.0).open(made_calls)
    expected = 0.01 + load * 0.01 / (2 * (1 - load))
    assert np.mean(record.seconds) == pytest.approx(expected, rel=0.15)
    assert set(record.status) == {GOOD}


@pytest.mark.parametrize("count", [1, 8])
def test_in_a_closed_loop_callers_are_rate_times_latency(cell, count) -> None:
    """Little's law, and no more than the machine can do."""
    service = fixed(0.01)
    record = cell([replica(service)], begin=1.0, end=6.0).closed(callers(service), count)
    rate = len(record.status) / 5
    assert rate == pytest.approx(100, rel=0.02)
    assert rate * np.mean(record.seconds) == pytest.approx(count, rel=0.02)


def test_only_the_window_is_recorded(cell) -> None:
    record = cell([replica()], begin=1.0, end=2.0).open(
        iter([call(0.5), call(1.0), call(1.5), call(2.0)])
    )
    assert list(record.due) == [1.0, 1.5]


def test_a_zone_that_fails_loses_what_it_had_and_is_left_out(cell) -> None:
    service = fixed(0.1)
    replicas = [replica(service) for _ in range(3)]
    calls = [call(n / 100, rows=(16,)) for n in range(200)]
    failure = Failure(at=1.0, share=1 / 3, notice=0.2)
    record = cell(replicas, failure=failure, rng=random.Random(3)).open(iter(calls))
    assert len(record.status) == 200
    lost = [due for due, status in zip(record.due, record.status, strict=True) if status == LOST]
    assert lost
    assert all(due < 1.2 for due in lost)  # noticed: nobody is sent there any more


def test_whoever_may_try_again_is_answered_elsewhere(cell) -> None:
    service = fixed(0.001)
    replicas = [replica(service) for _ in range(4)]
    calls = [call(n / 1000, rows=(16,)) for n in range(2000)]
    failure = Failure(at=1.0, share=0.25, notice=0.1)
    record = cell(replicas, failure=failure, retries=3, rng=random.Random(3)).open(iter(calls))
    assert set(record.status) == {GOOD}
    assert max(record.tries) > 1


def test_a_balancer_that_looks_is_better_than_chance() -> None:
    service = fixed(0.01)
    slow = {}
    for policy in POLICIES:
        rng = random.Random(5)
        replicas = [Replica(service, workers=1, limits=FREE) for _ in range(10)]
        cell = Cell(replicas, picker(policy, rng), begin=0.3, end=1.5)
        record = cell.open(callers(service).poisson(850.0, 1.5))
        slow[policy] = float(np.percentile(record.seconds, 95))
    assert slow["least-in-flight"] < slow["two-choices"] < slow["random"]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.floats(0, 0.5), min_size=1, max_size=60),
    st.integers(1, 5),
    st.integers(0, 2),
    st.floats(0, 0.5),
    st.sampled_from(POLICIES),
)
def test_every_call_has_one_outcome(dues, count, retries, at, policy) -> None:
    rng = random.Random(1)
    replicas = [replica(made()) for _ in range(count)]
    cell = Cell(
        replicas, picker(policy, rng), begin=0.0, end=1.0, retries=retries,
        failure=Failure(at, 0.4, 0.05), rng=rng,
    )  # fmt: skip
    record = cell.open(iter([call(due, tenant=n) for n, due in enumerate(sorted(dues))]))
    assert Counter(record.tenant) == Counter(range(len(dues)))
    assert all(tries <= 1 + retries for tries in record.tries)
    assert all(seconds >= 0 for seconds in record.seconds)
    assert len(record.due) == len(record.status) == len(record.bulk)
