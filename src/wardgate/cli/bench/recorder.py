"""What a generator writes down: latencies in the window, errors by status, hops, its own lag."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from pathlib import Path

from wardgate.cli.bench.histogram import Latencies

GOOD = 200
TIMEOUT = "timeout"
REFUSED = frozenset({429, 503})
"""Statuses of a system that has no room at the moment."""
_EVERY = 8
"""Each which reply's `Server-Timing` is read: reading costs the generator time."""


class Recorder:
    """Counts what falls between `begin` and `end`, seconds of `time.perf_counter`."""

    def __init__(self, begin: float, end: float) -> None:
        self.begin, self.end = begin, end
        self.latencies = array("d")
        self.errors: Counter[str] = Counter()
        self.good = array("d")
        self.refused = array("d")
        self.lags = array("d")
        self._hops: dict[str, array[float]] = {}
        self._cpu = self._waited = 0.0

    def start(self) -> None:
        """Begin to count the generator's own processor time; call it at `begin`."""
        self._cpu, self._waited = time.process_time(), _waited()

    def stop(self) -> None:
        """End counting; call it at `end`."""
        self._cpu, self._waited = time.process_time() - self._cpu, _waited() - self._waited

    def answered(self, seconds: float, status: int, head: bytes) -> None:
        """Count one answer that took `seconds`."""
        self.latencies.append(seconds * 1000)
        if status in REFUSED:
            self.refused.append(seconds * 1000)
        if status != GOOD:
            self.errors[str(status)] += 1
            return
        self.good.append(seconds * 1000)
        if len(self.latencies) % _EVERY == 0:
            self._timing(head)

    def timed_out(self, seconds: float) -> None:
        """Count a request that has waited `seconds` for nothing; the latency is at least that."""
        self.latencies.append(seconds * 1000)
        self.errors[TIMEOUT] += 1

    def lag(self, seconds: float) -> None:
        """Count how late the generator was with something that it had set out to do."""
        self.lags.append(seconds * 1000)

    def measured(self) -> dict[str, object]:
        """Return all of it for a result; times in milliseconds."""
        latencies, seconds = Latencies.of(self.latencies), self.end - self.begin
        good = len(self.latencies) - sum(self.errors.values())
        return {
            "requests": len(self.latencies),
            "errors": dict(self.errors),
            "seconds": round(seconds, 4),
            "requests_per_second": round(good / seconds, 3),
            **latencies.summary(),
            "mean_ms": round(sum(self.latencies) / max(1, len(self.latencies)), 4),
            "histogram": latencies.encode(),
            "hops_ms": {
                hop: round(sum(values) / len(values), 4) for hop, values in self._hops.items()
            },
            **(self._apart() if self.refused else {}),
            "generator": {
                "cpu_share": round(self._cpu / seconds, 4),
                "waited_for_cpu_share": round(self._waited / seconds, 4),
                "lag": Latencies.of(self.lags).summary(),
            },
        }

    def _apart(self) -> dict[str, object]:
        """Return answers and refusals apart: a quick refusal must not pass for a quick answer."""
        return {
            "good": Latencies.of(self.good).summary(),
            "refused": {"requests": len(self.refused), **Latencies.of(self.refused).summary()},
        }

    def _timing(self, head: bytes) -> None:
        at = head.lower().find(b"server-timing:")
        if at < 0:
            return
        for part in head[at + 14 :].split(b"\r\n", 1)[0].split(b","):
            name, _, value = part.strip().partition(b";dur=")
            if value:
                self._hops.setdefault(name.decode(), array("d")).append(float(value))


def _waited() -> float:
    """Return how long this thread stood ready without a processor, seconds (proc(5), schedstat)."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
