from __future__ import annotations

import random
import sys

import pytest

from wardgate.cli.bench.histogram import SHARES, Latencies
from wardgate.cli.bench.table import Invalid


def exact(values, share):
    """The smallest value that at least this share of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1e6) * len(ordered) // 10**6) - 1)]


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_percentiles_are_within_a_tenth_of_a_percent_of_the_exact_ones(spread) -> None:
    rng = random.Random(spread)
    values = [rng.lognormvariate(2, spread) for _ in range(20_000)]
    found = Latencies.of(values)
    assert len(found) == 20_000
    for share in (*SHARES, 1.0):
        # 0.1 %, and half a microsecond of rounding
        wanted = exact(values, share)
        assert found.percentile(share) == pytest.approx(wanted, rel=1.1e-3, abs=1e-3)


def test_two_together_are_as_one() -> None:
    rng = random.Random(1)
    values = [rng.uniform(1, 100) for _ in range(2_000)]
    first = Latencies.of(values[:700])
    first.add(Latencies.of(values[700:]))
    assert first.summary() == Latencies.of(values).summary()


def test_it_comes_back_from_text() -> None:
    found = Latencies.of([1.0, 2.0, 30.0])
    again = Latencies.decode(found.encode())
    assert again.summary() == found.summary()
    assert found.encode().startswith("HIST")


def test_nothing_is_nothing() -> None:
    assert set(Latencies().summary().values()) == {0.0}


def test_what_is_beyond_its_range_stays_at_the_ends() -> None:
    found = Latencies.of([0.0, 1e9])
    assert found.percentile(0.5) == pytest.approx(0.001)
    assert found.percentile(1.0) == pytest.approx(3.6e6, rel=1e-3)


def test_a_curve_ends_near_the_slowest() -> None:
    curve = Latencies.of(range(1, 1001)).curve()
    shares, values = zip(*curve, strict=True)
    assert list(shares) == sorted(shares)
    assert list(values) == sorted(values)
    assert values[-1] == pytest.approx(1000, rel=2e-3)


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "hdrh.histogram", None)
    monkeypatch.setitem(sys.modules, "hdrh", None)
    with pytest.raises(Invalid, match=r"wardgate\[bench\]"):
        Latencies()
