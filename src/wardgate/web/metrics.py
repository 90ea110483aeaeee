"""Metrics of one process as text, and of several as one.

Each worker sends the supervisor a snapshot of its samples; the supervisor adds them up. Counters
and histograms of a process that ended stay in the sum, so that no counter falls; its gauges go.
A gauge of readiness is the least of all workers.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import REGISTRY, Collector

from wardgate.web.middleware import App, Receive, Scope, Send, send_reply

Snapshot = list[tuple[str, str, str, list[tuple[str, dict[str, str], float]]]]
"""Metric families: name, type, documentation, and samples of name, labels and value."""

_LEAST = frozenset({"wardgate_ready"})


def snapshot(registry: CollectorRegistry = REGISTRY) -> Snapshot:
    """Return the samples of this process."""
    return [
        (
            family.name,
            family.type,
            family.documentation,
            [(s.name, dict(s.labels), s.value) for s in family.samples],
        )
        for family in registry.collect()
        if family.name.startswith("wardgate")
    ]


class Summed(Collector):
    """The sum over processes; `update` takes the latest snapshot of one, `ended` retires it."""

    def __init__(self) -> None:
        self._live: dict[str, Snapshot] = {}
        self._past: list[Snapshot] = []

    def update(self, process: str, taken: Snapshot) -> None:
        """Keep the latest snapshot of a process."""
        self._live[process] = taken

    def ended(self, process: str) -> None:
        """Keep the counters of a process that ended, drop its gauges."""
        taken = self._live.pop(process, None)
        if taken is not None:
            self._past = [_merge([*self._past, [f for f in taken if f[1] != "gauge"]])]

    def collect(self) -> Iterable[Metric]:
        """Return the families of all processes, added up."""
        for name, kind, documentation, samples in _merge([*self._past, *self._live.values()]):
            family = Metric(name, documentation, kind)
            for sample, labels, value in samples:
                family.add_sample(sample, labels, value)
            yield family


def _merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Add up families by name and samples by name and labels."""
    families: dict[str, tuple[str, str]] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for taken in snapshots:
        for name, kind, documentation, samples in taken:
            families.setdefault(name, (kind, documentation))
            found = values.setdefault(name, {})
            for sample, labels, value in samples:
                key = (sample, tuple(sorted(labels.items())))
                if key not in found:
                    found[key] = value
                elif name in _LEAST:
                    found[key] = min(found[key], value)
                else:
                    found[key] += value
    return [
        (name, *families[name], [(s, dict(labels), v) for (s, labels), v in found.items()])
        for name, found in values.items()
    ]


def application(registry: CollectorRegistry = REGISTRY) -> App:
    """Return the application of the metrics port: `GET /metrics` and nothing else."""

    async def metrics(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        if scope["path"] != "/metrics" or scope["method"] not in ("GET", "HEAD"):
            await send_reply(send, 404, [(b"content-type", b"text/plain")], b"see /metrics\n")
            return
        kind = (b"content-type", CONTENT_TYPE_LATEST.encode())
        await send_reply(send, 200, [kind], generate_latest(registry))

    return metrics
