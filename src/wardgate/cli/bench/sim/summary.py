"""What a simulation came to: latencies, refusals, batches, and how tenants fared. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wardgate.cli.bench.sim.cell import Record
from wardgate.cli.bench.sim.plan import Failure
from wardgate.cli.bench.sim.replica import GOOD, LOST
from wardgate.errors import DeadlineExceeded

_SHARES = (50, 95, 99, 99.9)
_FEW = 50
"""Calls of a tenant below which its share of answers is chance."""
Column = NDArray[Any]


def of(
    records: Sequence[Record], begin: float, seconds: float, failure: Failure | None = None
) -> dict[str, Any]:
    """Return the figures of all cells together; calls were due from `begin`, for `seconds`."""
    due, took = _column(records, "due"), _column(records, "seconds")
    status, tenant = _column(records, "status"), _column(records, "tenant")
    bulk, tries = _column(records, "bulk"), _column(records, "tries")
    good = status == GOOD
    late, lost = status == DeadlineExceeded.status, status == LOST
    count = max(1, len(status))
    statuses = Counter(map(int, status.tolist()))
    found: dict[str, Any] = {
        "requests": len(status),
        "requests_per_second": round(float(good.sum()) / seconds, 3),
        "statuses": {str(key): number for key, number in sorted(statuses.items())},
        "refused_share": round(float((~good & ~late & ~lost).sum()) / count, 6),
        "late_share": round(float(late.sum()) / count, 6),
        "lost_share": round(float(lost.sum()) / count, 6),
        "retried_share": round(float((tries > 1).sum()) / count, 6),
        **_percentiles(took[good]),
        "mean_ms": _mean(took[good]),
        "interactive": _percentiles(took[good & (bulk == 0)]),
        "batches": _batches(records),
        "tenants": _tenants(tenant, good, took),
    }
    if bulk.any():
        found["bulk"] = _percentiles(took[good & (bulk == 1)])
    if failure is not None:
        found["failure"] = _around(due - begin - failure.at, good, took, seconds - failure.at)
    return found


def _column(records: Sequence[Record], name: str) -> Column:
    parts = [np.asarray(getattr(record, name)) for record in records]
    return np.concatenate(parts) if parts else np.empty(0)


def _percentiles(seconds: Column) -> dict[str, float]:
    """Return percentiles, milliseconds; 0 where nothing was answered."""
    values = np.percentile(seconds, _SHARES) * 1000 if len(seconds) else np.zeros(len(_SHARES))
    return {f"p{share:g}_ms": round(float(v), 4) for share, v in zip(_SHARES, values, strict=True)}


def _mean(seconds: Column) -> float:
    return round(float(seconds.mean()) * 1000, 4) if len(seconds) else 0.0


def _batches(records: Sequence[Record]) -> dict[str, Any]:
    sizes: Counter[int] = Counter()
    for record in records:
        sizes += record.sizes
    runs, rows = sum(sizes.values()), sum(size * number for size, number in sizes.items())
    padded = sum(record.padded for record in records)
    tokens = sum(record.tokens for record in records)
    return {
        "runs": runs,
        "rows_a_batch": round(rows / max(1, runs), 3),
        "padding_share": round(1 - tokens / padded, 4) if padded else 0.0,
        "sizes": {str(size): number for size, number in sorted(sizes.items())},
    }


def _tenants(tenant: Column, good: Column, took: Column) -> dict[str, Any]:
    """Return how evenly tenants were served.

    `fairness` is Jain's index over each tenant's share of its own calls that were answered: 1 where
    all have the same share, 1/n where one of n has all.
    """
    if not len(tenant):
        return {"count": 0, "fairness": 1.0}
    sent = np.bincount(tenant.astype(np.int64))
    answered = np.bincount(tenant[good].astype(np.int64), minlength=len(sent))
    many = sent >= _FEW
    shares = answered[many] / sent[many]
    heaviest = int(sent.argmax())
    its = tenant == heaviest
    return {
        "count": int((sent > 0).sum()),
        "fairness": round(jain(shares), 6),
        "least_share_answered": round(float(shares.min()), 6) if len(shares) else 0.0,
        "heaviest": {
            "share_of_calls": round(float(sent[heaviest] / sent.sum()), 6),
            "share_answered": round(float(answered[heaviest] / sent[heaviest]), 6),
            "p95_ms": _percentiles(took[good & its])["p95_ms"],
        },
        "others": {
            "share_answered": round(float((good & ~its).sum()) / max(1, int((~its).sum())), 6),
            "p95_ms": _percentiles(took[good & ~its])["p95_ms"],
        },
    }


def jain(shares: Sequence[float] | Column) -> float:
    """Return Jain's index of fairness (Jain, Chiu, Hawe 1984); 1 where nothing is shared."""
    values = np.asarray(shares, float)
    squares = float((values**2).sum())
    return float(values.sum()) ** 2 / (len(values) * squares) if squares else 1.0


def _around(since: Column, good: Column, took: Column, left: float) -> dict[str, Any]:
    """Return the figures before the failure and after it, `left` seconds."""
    found = {}
    spans = {"before": since < 0, "after": since >= 0}
    for name, mask in spans.items():
        count = int(mask.sum())
        found[name] = {
            "requests": count,
            "answered_share": round(float((good & mask).sum()) / max(1, count), 6),
            **_percentiles(took[good & mask]),
        }
    found["after"]["requests_per_second"] = round(
        float((good & spans["after"]).sum()) / max(left, 1e-9), 3
    )
    return found
