from __future__ import annotations

import pytest

from wardgate.cli.bench.verdict import bottleneck


def measured(cpu=0.2, waited=0.0, lag=0.1, p50=10.0):
    own = {"cpu_share": cpu, "waited_for_cpu_share": waited, "lag": {"p99_ms": lag}}
    return {"p50_ms": p50, "generator": own}


@pytest.mark.parametrize(
    "fine", [{}, {"cpu": 0.9}, {"lag": 2.0, "p50": 0.5}, {"lag": 20, "p50": 100}, {"waited": 0.2}]
)
def test_a_generator_that_kept_up(fine) -> None:
    assert bottleneck(measured(**fine)) == []


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"cpu": 0.97}, "used 97% of a processor"),
        ({"waited": 0.4}, "without a processor 40% of the time"),
        ({"lag": 5.0}, "5.0 ms late at p99"),
    ],
)
def test_a_generator_that_did_not(bad, said) -> None:
    (reason,) = bottleneck(measured(**bad))
    assert said in reason
