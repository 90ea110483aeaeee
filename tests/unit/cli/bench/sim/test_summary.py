from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.cli.bench.sim.conftest import call

from wardgate.cli.bench.sim import summary
from wardgate.cli.bench.sim.cell import Record
from wardgate.cli.bench.sim.plan import Failure
from wardgate.types import Priority


def record(*answers):
    """Of (due, seconds, status, tenant, priority)."""
    made = Record()
    for due, seconds, status, tenant, priority in answers:
        one = call(due, tenant=tenant, priority=priority)
        one.status = status
        made.add(one, due + seconds)
    return made


FAST = [(0.1, 0.010, 200, 0, Priority.INTERACTIVE)] * 60
SLOW = [(1.5, 0.030, 200, 1, Priority.BULK)] * 30
REST = [(1.5, 0.001, 429, 1, Priority.BULK)] * 20 + [
    (1.5, 0.001, 504, 1, Priority.BULK), (1.5, 0.0, 0, 1, Priority.BULK)
]  # fmt: skip


def test_figures_of_all_cells_together() -> None:
    found = summary.of([record(*FAST), record(*SLOW, *REST)], 0.0, 2.0, Failure(1.0, 0.3, 0.1))
    assert found["requests"] == 112
    assert found["requests_per_second"] == 45.0
    assert found["statuses"] == {"0": 1, "200": 90, "429": 20, "504": 1}
    assert found["refused_share"] == pytest.approx(20 / 112, abs=1e-6)
    assert (found["late_share"], found["lost_share"]) == (found["late_share"],) * 2
    assert (found["p50_ms"], found["p95_ms"]) == (10.0, 30.0)
    assert found["interactive"]["p99_ms"] == 10.0
    assert found["bulk"]["p50_ms"] == 30.0
    tenants = found["tenants"]
    assert tenants["heaviest"]["share_answered"] == 1.0
    assert tenants["least_share_answered"] == pytest.approx(30 / 52, abs=1e-6)
    assert tenants["others"]["p95_ms"] == 30.0
    assert tenants["fairness"] == pytest.approx((1 + 30 / 52) ** 2 / 2 / (1 + (30 / 52) ** 2))
    assert found["failure"]["before"]["answered_share"] == 1.0
    assert found["failure"]["after"]["requests_per_second"] == 30.0


def test_where_nothing_came_nothing_is_said() -> None:
    found = summary.of([Record()], 0.0, 1.0)
    assert found["requests"] == 0
    assert found["p95_ms"] == 0.0
    assert found["batches"]["padding_share"] == 0.0


def test_batches_of_all_cells() -> None:
    one, other = Record(), Record()
    one.sizes.update({1: 3}), other.sizes.update({1: 1, 4: 2})
    one.tokens, one.padded, other.tokens, other.padded = 30, 30, 60, 90
    found = summary.of([one, other], 0.0, 1.0)["batches"]
    assert found == {
        "runs": 6,
        "rows_a_batch": 2.0,
        "padding_share": 0.25,
        "sizes": {"1": 4, "4": 2},
    }


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_fairness_is_between_one_of_all_and_all_alike(shares) -> None:
    assert 1 / len(shares) - 1e-9 <= summary.jain(shares) <= 1 + 1e-9


def test_fairness_of_one_who_has_all() -> None:
    assert summary.jain([1.0, 0.0, 0.0, 0.0]) == 0.25
    assert summary.jain([0.4] * 7) == pytest.approx(1.0)
    assert summary.jain([]) == 1.0
