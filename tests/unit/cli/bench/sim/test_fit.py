from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.cli.bench.sim.conftest import made

from wardgate.cli.bench.sim.fit import Observed, fit, simulate
from wardgate.cli.bench.sim.service import Overhead


def observed(service, callers):
    found = simulate(service, warm=0.5, seconds=4.0, callers=callers)
    return Observed(callers, found["requests_per_second"], found["mean_ms"] / 1000, 0.0)


@pytest.mark.parametrize(("own", "wait"), [(0.0005, 0.0), (0.003, 0.001), (0.004, 0.005)])
def test_it_finds_what_was_put_in(own, wait) -> None:
    true = replace(made(), overhead=Overhead(front=own / 2, back=own / 2, wait=wait))
    found = fit(replace(made(), overhead=Overhead()), observed(true, 1), observed(true, 16))
    again = observed(found, 16)
    assert again.requests_per_second == pytest.approx(
        observed(true, 16).requests_per_second, rel=0.01
    )
    assert observed(found, 1).mean == pytest.approx(observed(true, 1).mean, rel=0.05)


def test_where_the_engine_alone_is_slower_than_what_was_seen_nothing_is_added() -> None:
    found = fit(made(), Observed(1, 1e5, 1e-5, 0.0), Observed(8, 1e6, 1e-5, 0.0))
    assert found.overhead.front == pytest.approx(0.0, abs=1e-6)
    assert found.overhead.wait == 0.0


def test_an_open_load_has_the_given_times() -> None:
    found = simulate(made(), warm=0.0, seconds=1.0, due=[0.1, 0.2, 0.3])
    assert found["requests"] == 3
    assert found["statuses"] == {"200": 3}
