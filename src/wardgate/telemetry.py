"""Every metric and hop name, once, with its unit and labels. No label ever holds PHI.

Labels take values from closed sets alone (routes, error reasons, entity types, hop names), so that
a caller cannot make series. With several workers the supervisor adds up the values of all processes
(`web/metrics.py`).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable
from itertools import chain

import numpy as np
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

disable_created_metrics()  # type: ignore[no-untyped-call]

HOPS = (
    "auth",
    "admit",
    "read",
    "authorize",
    "deid",
    "tokenize",
    "intent",
    "infer",
    "post",
    "outcome",
)
"""The steps of a request in order; the names in `Server-Timing` and in audit records."""

_SECONDS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
)  # fmt: skip

REQUESTS = Counter(
    "wardgate_requests_total", "Requests answered, by route and status.", ("route", "status")
)
REFUSALS = Counter(
    "wardgate_refusals_total", "Requests refused, by route and reason.", ("route", "reason")
)
IN_FLIGHT = Gauge("wardgate_in_flight", "Requests admitted and not yet answered.")
PHI_SPANS = Counter("wardgate_phi_spans_total", "Spans of PHI found, by type.", ("type",))
SECOND_LOOK = Counter(
    "wardgate_second_look_total",
    "Values that the second look found in de-identified text, by type and what became of them.",
    ("type", "result"),
)
BATCH_ROWS = Histogram(
    "wardgate_batch_rows", "Rows in a batch.", ("model",), buckets=(1, 2, 4, 8, 16, 32, 64)
)
BATCH_PADDING = Histogram(
    "wardgate_batch_padding_ratio",
    "Share of a batch's tokens that are padding.",
    ("model",),
    buckets=(0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9),
)
QUEUE_SECONDS = Histogram(
    "wardgate_queue_seconds",
    "Time a row waited for its batch, seconds, by priority.",
    ("priority",),
    buckets=_SECONDS,
)
QUEUE_TOKENS = Gauge("wardgate_queue_tokens", "Tokens waiting for a batch.")
BREAKER_OPEN = Gauge(
    "wardgate_engine_breaker_open", "1 where calls to Triton are refused but for probes."
)
RECONNECTS = Counter(
    "wardgate_engine_starts_total", "Times that Triton was found and all models served there."
)
AUDIT_RECORDS = Counter("wardgate_audit_records_total", "Audit records made durable.", ("kind",))
AUDIT_COMMIT_SECONDS = Histogram(
    "wardgate_audit_commit_seconds", "Time of one audit group commit, seconds.", buckets=_SECONDS
)
VAULT_CODES = Counter(
    "wardgate_vault_codes_total", "Values in replies that a vault code stands for."
)
VAULT_RELEASED = Counter(
    "wardgate_vault_released_total", "Vault codes turned back into values, by type.", ("type",)
)
POLICY_RELOADS = Counter(
    "wardgate_policy_reloads_total",
    "Changes of the policy files, by what came of them.",
    ("result",),
)
POLICIES_REFUSED = Gauge(
    "wardgate_policies_refused",
    "Processes whose newest policy files were refused; those before stay in force.",
)
READY = Gauge("wardgate_ready", "1 where a readiness check holds.", ("check",))
CONTROL_GENERATION = Gauge(
    "wardgate_control_generation",
    "Generation of the control store that a process goes by.",
    ("process",),
)
CANARY = Counter(
    "wardgate_canary_requests_total",
    "Requests while a canary serves, by who was asked and how it went.",
    ("model", "arm", "result"),
)
SHADOW = Counter(
    "wardgate_shadow_rows_total", "Rows shown to a shadow, by result.", ("model", "result")
)
WORKER_RESTARTS = Counter(
    "wardgate_process_restarts_total", "Processes replaced by the supervisor.", ("process",)
)


class Seconds(Collector):
    """A histogram of seconds by one label, counted by the hundred.

    Ten observations a request would cost more than the audit record's bytes; here a request costs
    one append.
    """

    def __init__(self, name: str, documentation: str, label: str, values: Iterable[str]) -> None:
        """Show `values` of the label from the start; others as they come."""
        self.name = name
        self.documentation = documentation
        self.labels = (label,)
        self._waiting: list[dict[str, float]] = []
        self._counts = {value: np.zeros(len(_SECONDS) + 1, np.int64) for value in values}
        self._sums = dict.fromkeys(self._counts, 0.0)
        REGISTRY.register(self)

    def observe(self, seconds: dict[str, float]) -> None:
        """Add the seconds of one request by the label's value."""
        self._waiting.append(seconds)
        if len(self._waiting) >= _FOLD:
            self._fold()

    def collect(self) -> Iterable[Metric]:
        """Return the histogram."""
        self._fold()
        family = HistogramMetricFamily(self.name, self.documentation, labels=self.labels)
        for value, counts in self._counts.items():
            below = np.cumsum(counts).tolist()
            buckets = [(str(bound), below[i]) for i, bound in enumerate((*_SECONDS, "+Inf"))]
            family.add_metric([value], buckets, self._sums[value])
        yield family

    def _fold(self) -> None:
        waiting, self._waiting = self._waiting, []
        found = dict.fromkeys(chain.from_iterable(waiting))
        # a column for each value of the label; NaN where a request has none
        table = np.array([[*map(seconds.get, found)] for seconds in waiting], np.float64)
        for place, value in enumerate(found):
            taken = table[:, place]
            taken = taken[~np.isnan(taken)]
            places = np.bincount(np.searchsorted(_SECONDS, taken), minlength=len(_SECONDS) + 1)
            self._counts[value] = self._counts.get(value, 0) + places
            self._sums[value] = self._sums.get(value, 0.0) + float(taken.sum())


_FOLD = 256
"""Requests that are counted together."""
HOP_SECONDS = Seconds(
    "wardgate_hop_seconds", "Time of one step of a request, seconds.", "hop", HOPS
)
REQUEST_SECONDS = Seconds(
    "wardgate_request_seconds",
    "Time from the first byte of a request to its reply, seconds.",
    "route",
    (),
)


class Hops:
    """A stopwatch over the steps of one request; `mark(name)` ends the step that ran until now."""

    __slots__ = ("_last", "seconds", "started")

    def __init__(self) -> None:
        self.started = self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def mark(self, hop: str) -> None:
        """Book the time since the last mark to `hop`, seconds."""
        now = time.perf_counter()
        seconds, took = self.seconds, now - self._last
        seconds[hop] = seconds[hop] + took if hop in seconds else took
        self._last = now

    def microseconds(self) -> dict[str, int]:
        """Return whole microseconds by hop."""
        return {hop: int(seconds * 1e6) for hop, seconds in self.seconds.items()}

    def observe(self) -> None:
        """Add the hops to the metrics."""
        HOP_SECONDS.observe(self.seconds)

    def answered(self, route: str, status: int) -> None:
        """Count the request as answered now."""
        _answered(route, status).inc()
        REQUEST_SECONDS.observe({route: time.perf_counter() - self.started})


@functools.cache
def _answered(route: str, status: int) -> Counter:
    """Find the counter of a declared route: to look it up takes longer than to count."""
    return REQUESTS.labels(route, status)
