"""The table of arXiv 2602.00053, and what may be held against it.

Its figures are of DistilBERT on Kubernetes: FastAPI on a CPU, Triton on an NVIDIA T4. It does not
say how many requests were in flight; by Little's law it is throughput times latency, and differs
from row to row.
"""

from __future__ import annotations

from dataclasses import dataclass

MAY = (
    (
        "Ratios between systems on this page, under one load: the same machine, notes, model file "
        "and generator, in alternating rounds, each checked for right answers first."
    ),
    (
        "Whether dynamic batching raises throughput here, and what it does to p50 and p95: that is "
        "a question about one machine, and the paper asks it of its own."
    ),
)
MAY_NOT = (
    (
        "Milliseconds or requests per second here against those of the paper: it ran Triton on a "
        "T4 and FastAPI on a CPU, through Kubernetes, with notes and lengths that it does not give."
    ),
    (
        "The paper's rows against each other as if under one load: throughput times p50 gives "
        "about 10, 12 and 27 requests in flight."
    ),
    "Two results of different machines or days; 'wardgate bench compare' says where they differ.",
    "A row whose generator was the bottleneck, or with errors; both are marked.",
    "Security: the plain systems authenticate nobody, remove no PHI and keep no record.",
)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the paper. Milliseconds, requests per second; None where it gives no figure."""

    system: str
    words: str
    p50_ms: float
    p95_ms: float | None
    requests_per_second: float

    @property
    def in_flight(self) -> float:
        """Requests in flight by Little's law, p50 standing for the mean."""
        return self.requests_per_second * self.p50_ms / 1000


ROWS = (
    Row("fastapi", "FastAPI, CPU", 22, 45, 450),
    Row("triton-unbatched", "Triton, T4, no batching", 28, None, 420),
    Row("triton-dynamic", "Triton, T4, dynamic batching (16)", 34, 60, 780),
)


def row(system: str) -> Row | None:
    """Return the paper's row for a system of `systems/`, if it has one."""
    return next((each for each in ROWS if each.system == system), None)
