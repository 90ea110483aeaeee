from __future__ import annotations

import random
from collections import Counter

import pytest
from tests.unit.cli.bench.sim.conftest import made

from wardgate.cli.bench.sim.plan import Tenants
from wardgate.cli.bench.sim.traffic import Callers
from wardgate.types import Priority


def callers(tenants=None, seed=1):
    return Callers(made().notes, tenants or Tenants(), timeout=10.0, rng=random.Random(seed))


def test_a_poisson_load_has_its_rate_and_order() -> None:
    found = list(callers().poisson(500.0, 4.0))
    assert 1800 < len(found) < 2200
    assert [each.due for each in found] == sorted(each.due for each in found)
    assert [each.number for each in found] == list(range(len(found)))
    assert all(each.deadline == each.due + 10 for each in found)


def test_tenants_send_by_rank_and_some_of_it_is_bulk() -> None:
    found = list(callers(Tenants(4, zipf=1.0, bulk=0.25)).poisson(5000.0, 2.0))
    by_tenant = Counter(each.tenant for each in found)
    total = 1 + 1 / 2 + 1 / 3 + 1 / 4
    for tenant in range(4):
        share = 1 / (tenant + 1) / total
        assert by_tenant[tenant] / len(found) == pytest.approx(share, abs=0.03)
    bulk = sum(each.priority is Priority.BULK for each in found)
    assert bulk / len(found) == pytest.approx(0.25, abs=0.03)
    assert {each.principal.subject for each in found} == {f"tenant-{n}" for n in range(4)}


def test_at_given_times_notes_come_in_their_order() -> None:
    found = list(callers().at([0.1, 0.2, 0.3, 0.4]))
    assert [[len(ids) for ids in each.rows] for each in found] == [[10], [16], [50, 50], [10]]


def test_the_same_seed_gives_the_same() -> None:
    a, b = (
        [(c.due, c.tenant, c.rows) for c in callers(Tenants(5, 1.0), seed=7).poisson(100.0, 1.0)]
        for _ in range(2)
    )
    assert a == b
