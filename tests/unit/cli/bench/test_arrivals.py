from __future__ import annotations

import itertools
import statistics
from collections import Counter

import pytest

from wardgate.cli.bench.arrivals import due
from wardgate.cli.bench.scenario import Load


@pytest.mark.parametrize("load", [Load("poisson", 200.0), Load("bursty", 200.0, burst=8.0)])
def test_the_rate_is_as_asked_and_the_seed_gives_it_again(load) -> None:
    times = due(load, 100.0, 3)
    assert times == due(load, 100.0, 3)
    assert times != due(load, 100.0, 4)
    assert times == sorted(times)
    assert 0 < times[0] <= times[-1] < 100
    assert len(times) == pytest.approx(20_000, rel=0.06)


def test_gaps_of_a_poisson_process_vary_as_much_as_they_are_long() -> None:
    times = due(Load("poisson", 100.0), 100.0, 1)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert statistics.pstdev(gaps) / statistics.fmean(gaps) == pytest.approx(1, abs=0.05)


def test_bursts_have_the_mean_size() -> None:
    sizes = Counter(due(Load("bursty", 100.0, burst=8.0), 400.0, 1)).values()
    assert statistics.fmean(sizes) == pytest.approx(8, rel=0.06)
    assert max(sizes) > 20
