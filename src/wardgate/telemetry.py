"""Every metric and hop name, once, with its unit and labels. No label ever holds PHI.

Labels take values from closed sets alone (routes, error reasons, entity types, hop names), so that
a caller cannot make series. With several workers the supervisor adds up the values of all processes
(`web/metrics.py`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable

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
REQUEST_SECONDS = Histogram(
    "wardgate_request_seconds",
    "Time from the first byte of a request to its reply, seconds.",
    ("route",),
    buckets=_SECONDS,
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


class _HopSeconds(Collector):
    """The histogram of all hops, counted by the hundred.

    Ten observations a request would cost more than the audit record's bytes; here a request costs
    one append.
    """

    name = "wardgate_hop_seconds"
    documentation = "Time of one step of a request, seconds."
    labels = ("hop",)

    def __init__(self) -> None:
        self._waiting: list[dict[str, float]] = []
        self._counts = {hop: np.zeros(len(_SECONDS) + 1, np.int64) for hop in HOPS}
        self._sums = dict.fromkeys(HOPS, 0.0)
        REGISTRY.register(self)

    def observe(self, seconds: dict[str, float]) -> None:
        """Add the hops of one request."""
        self._waiting.append(seconds)
        if len(self._waiting) >= _FOLD:
            self._fold()

    def collect(self) -> Iterable[Metric]:
        """Return the histogram."""
        self._fold()
        family = HistogramMetricFamily(self.name, self.documentation, labels=self.labels)
        for hop in HOPS:
            below = np.cumsum(self._counts[hop]).tolist()
            buckets = [(str(bound), below[i]) for i, bound in enumerate((*_SECONDS, "+Inf"))]
            family.add_metric([hop], buckets, self._sums[hop])
        yield family

    def _fold(self) -> None:
        waiting, self._waiting = self._waiting, []
        for hop in HOPS:
            values = [seconds[hop] for seconds in waiting if hop in seconds]
            if values:
                places = np.searchsorted(_SECONDS, values)
                self._counts[hop] += np.bincount(places, minlength=len(_SECONDS) + 1)
                self._sums[hop] += sum(values)


_FOLD = 256
"""Requests whose hops are counted together."""
HOP_SECONDS = _HopSeconds()


class Hops:
    """A stopwatch over the steps of one request; `mark(name)` ends the step that ran until now."""

    __slots__ = ("_last", "seconds", "started")

    def __init__(self) -> None:
        self.started = self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def mark(self, hop: str) -> None:
        """Book the time since the last mark to `hop`, seconds."""
        now = time.perf_counter()
        self.seconds[hop] = self.seconds.get(hop, 0.0) + now - self._last
        self._last = now

    def microseconds(self) -> dict[str, int]:
        """Return whole microseconds by hop."""
        return {hop: int(seconds * 1e6) for hop, seconds in self.seconds.items()}

    def observe(self) -> None:
        """Add the hops to the metrics."""
        HOP_SECONDS.observe(self.seconds)
