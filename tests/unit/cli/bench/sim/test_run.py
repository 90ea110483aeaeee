from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.bench.sim.conftest import made

from wardgate.cli.bench.sim import run
from wardgate.cli.bench.sim.plan import Failure, Plan, Replicas, Tenants


def plan(**changes):
    given = {
        "title": "t", "about": "", "service": Path("s.json"), "seed": 3, "seconds": 0.5,
        "warm": 0.1, "timeout": 10.0, "rates": (2000.0,),
        "replicas": Replicas(10, 3, "two-choices", 2, 4, 6),
        "tenants": Tenants(20, 1.1, 0.2, 1), "failure": Failure(0.25, 0.333, 0.05),
    }  # fmt: skip
    return Plan(**given | changes)


def without_time(found):
    return [{key: value for key, value in one.items() if key != "took_seconds"} for one in found]


def test_the_same_comes_out_of_one_process_and_of_two() -> None:
    said = []
    one = run.run(plan(), made(), said.append, processes=1)
    two = run.run(plan(), made(), said.append, processes=2)
    assert without_time(one) == without_time(two)
    assert said[0].startswith("2000/s: ")


def test_all_that_came_is_told_and_most_is_answered() -> None:
    (found,) = run.run(plan(), made(), lambda line: None)
    assert found["requests"] == pytest.approx(1000, rel=0.15)
    assert found["tenants"]["count"] == 20
    assert found["failure"]["after"]["answered_share"] > 0.9
    assert sum(found["statuses"].values()) == found["requests"]


def test_replicas_and_rate_are_shared_out_over_cells() -> None:
    tasks = run._tasks(plan(), made(), 1000.0)
    assert sorted(task.replicas for task in tasks) == [3, 3, 4]
    assert sum(task.rate for task in tasks) == pytest.approx(1000)
    assert len({task.seed for task in tasks}) == 3


def test_beyond_its_capacity_it_refuses() -> None:
    small = plan(rates=(20_000.0,), replicas=Replicas(2, 1), failure=None, tenants=Tenants())
    (found,) = run.run(small, made(), lambda line: None)
    assert found["refused_share"] > 0.5
    assert found["requests_per_second"] > 500
