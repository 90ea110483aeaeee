"""Metrics of several processes as one: nothing falls that may only rise."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.conftest import ORIGIN

from wardgate.web.metrics import Summed, application, snapshot


class Process:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("wardgate_r_total", "R.", ("route",), registry=self.registry)
        self.flying = Gauge("wardgate_flying", "F.", registry=self.registry)
        self.ready = Gauge("wardgate_ready", "Y.", ("check",), registry=self.registry)
        self.seconds = Histogram("wardgate_s_seconds", "S.", buckets=(1, 2), registry=self.registry)
        Counter("other_total", "O.", registry=self.registry)

    @property
    def taken(self):
        return snapshot(self.registry)


def sums(summed: Summed) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read the sum as Prometheus would."""
    registry = CollectorRegistry()
    registry.register(summed)
    return {
        (s.name, tuple(s.labels.items())): s.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for s in family.samples
    }


def test_a_snapshot_holds_our_own_metrics_alone() -> None:
    assert {family[0] for family in Process().taken} == {
        "wardgate_r", "wardgate_flying", "wardgate_ready", "wardgate_s_seconds",
    }  # fmt: skip


def test_counters_gauges_and_histograms_add_up() -> None:
    one, two, summed = Process(), Process(), Summed()
    one.requests.labels("/a").inc(2)
    two.requests.labels("/a").inc(3)
    two.requests.labels("/b").inc()
    one.flying.set(4)
    two.flying.set(1)
    one.seconds.observe(0.5)
    two.seconds.observe(1.5)
    summed.update("one", one.taken)
    summed.update("two", two.taken)
    found = sums(summed)
    assert found["wardgate_r_total", (("route", "/a"),)] == 5
    assert found["wardgate_r_total", (("route", "/b"),)] == 1
    assert found["wardgate_flying", ()] == 5
    assert found["wardgate_s_seconds_bucket", (("le", "1.0"),)] == 1
    assert found["wardgate_s_seconds_bucket", (("le", "2.0"),)] == 2
    assert found["wardgate_s_seconds_count", ()] == 2
    assert found["wardgate_s_seconds_sum", ()] == 2


def test_ready_is_the_least_of_all() -> None:
    one, two, summed = Process(), Process(), Summed()
    one.ready.labels("audit").set(1)
    two.ready.labels("audit").set(0)
    summed.update("one", one.taken)
    summed.update("two", two.taken)
    assert sums(summed)["wardgate_ready", (("check", "audit"),)] == 0


def test_the_counters_of_a_process_that_ended_stay_and_its_gauges_go() -> None:
    first, second, summed = Process(), Process(), Summed()
    first.requests.labels("/a").inc(7)
    first.flying.set(3)
    first.ready.labels("audit").set(0)
    summed.update("worker-0", first.taken)
    summed.ended("worker-0")
    found = sums(summed)
    assert found["wardgate_r_total", (("route", "/a"),)] == 7
    assert ("wardgate_flying", ()) not in found
    second.requests.labels("/a").inc(1)
    second.ready.labels("audit").set(1)
    summed.update("worker-0", second.taken)
    found = sums(summed)
    assert found["wardgate_r_total", (("route", "/a"),)] == 8
    assert found["wardgate_ready", (("check", "audit"),)] == 1
    summed.ended("worker-0")
    summed.ended("worker-0")
    assert sums(summed)["wardgate_r_total", (("route", "/a"),)] == 8


@given(
    st.lists(
        st.tuples(st.sampled_from(["w0", "w1", "w2"]), st.integers(0, 50), st.booleans()),
        max_size=20,
    )
)
def test_no_counter_ever_falls(steps) -> None:
    live: dict[str, Process] = {}
    summed, last, expected = Summed(), 0.0, 0.0
    for name, more, ends in steps:
        process = live.setdefault(name, Process())
        process.requests.labels("/a").inc(more)
        expected += more
        summed.update(name, process.taken)
        if ends:
            summed.ended(name)
            del live[name]
        now = sums(summed)["wardgate_r_total", (("route", "/a"),)]
        assert now == expected >= last
        last = now


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics", 200),
        ("HEAD", "/metrics", 200),
        ("POST", "/metrics", 404),
        ("GET", "/", 404),
    ],
)
async def test_the_metrics_port_serves_metrics_and_nothing_else(method, path, status) -> None:
    process = Process()
    process.requests.labels("/a").inc()
    transport = httpx.ASGITransport(app=application(process.registry))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        reply = await client.request(method, path)
    assert reply.status_code == status
    if status == 200 and method == "GET":
        assert 'wardgate_r_total{route="/a"} 1.0' in reply.text
        assert reply.headers["content-type"].startswith("text/plain")
