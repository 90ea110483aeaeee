"""Metric names and labels, and the stopwatch of a request."""

from __future__ import annotations

import re

import pytest
from prometheus_client.metrics import MetricWrapperBase

from wardgate import telemetry
from wardgate.telemetry import HOPS, Hops

METRICS = {
    name: value for name, value in vars(telemetry).items() if isinstance(value, MetricWrapperBase)
}
LABELS = {
    "route",
    "status",
    "reason",
    "result",
    "hop",
    "type",
    "model",
    "priority",
    "kind",
    "arm",
    "check",
    "process",
}
"""Each takes its values from a closed set of ours; a caller cannot make a series."""


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_metric_has_a_unit_a_sentence_and_closed_labels(metric) -> None:
    assert re.fullmatch(r"wardgate_[a-z_]+", metric._name)
    assert metric._documentation.endswith(".")
    assert set(metric._labelnames) <= LABELS
    if metric._type == "histogram":
        assert metric._name.rpartition("_")[2] in {"seconds", "rows", "ratio"}


def test_metric_names_are_unique() -> None:
    names = [metric._name for metric in METRICS.values()]
    assert len(set(names)) == len(names) >= 10


def test_no_series_of_creation_times_is_made() -> None:
    samples = [s.name for m in METRICS.values() for f in m.collect() for s in f.samples]
    assert not [name for name in samples if name.endswith("_created")]


def test_hops_are_the_steps_in_order() -> None:
    assert HOPS == (
        "auth", "admit", "read", "authorize", "deid", "tokenize", "intent", "infer", "post",
        "outcome",
    )  # fmt: skip


def test_a_stopwatch_books_all_time_since_it_was_made(monkeypatch) -> None:
    times = iter([100.0, 100.25, 100.5, 101.5])
    monkeypatch.setattr(telemetry.time, "perf_counter", lambda: next(times))
    hops = Hops()
    hops.mark("auth")
    hops.mark("intent")
    hops.mark("auth")
    assert hops.started == 100.0
    assert hops.seconds == {"auth": 1.25, "intent": 0.25}
    assert hops.microseconds() == {"auth": 1_250_000, "intent": 250_000}


def test_hops_counted_together_are_counted_right() -> None:
    before = _hop("deid")
    for milliseconds in range(1, 301):  # more than are counted together
        hops = Hops()
        hops.seconds = {"deid": milliseconds / 1000}
        hops.observe()
    after = _hop("deid")
    gained = {key: after[key] - before.get(key, 0.0) for key in after}
    assert gained["count"] == 300
    assert gained["sum"] == pytest.approx(sum(range(1, 301)) / 1000)
    assert gained["0.001"] == 1
    assert gained["0.1"] == 100
    assert gained["0.25"] == 250
    assert gained["+Inf"] == 300


def _hop(hop: str) -> dict[str, float]:
    """Return count, sum and buckets of one hop."""
    (family,) = telemetry.HOP_SECONDS.collect()
    found = {}
    for sample in family.samples:
        if sample.labels["hop"] == hop:
            found[sample.labels.get("le") or sample.name.rpartition("_")[2]] = sample.value
    return found


def test_requests_are_counted_by_route_and_timed() -> None:
    def counted() -> tuple[float, float]:
        requests = telemetry.REQUESTS.labels("/v1/test", 200)._value.get()
        (family,) = telemetry.REQUEST_SECONDS.collect()
        timed = [s.value for s in family.samples if s.name.endswith("_count")
                 and s.labels["route"] == "/v1/test"]  # fmt: skip
        return requests, sum(timed)

    requests, timed = counted()
    for _ in range(300):  # more than are counted together
        Hops().answered("/v1/test", 200)
    assert counted() == (requests + 300, timed + 300)
