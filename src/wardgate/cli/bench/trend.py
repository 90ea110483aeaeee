"""Does a figure grow over a long run? The last quarter of its readings against the first. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import erfc, sqrt
from statistics import median
from typing import Any

ENOUGH = 8
"""Readings below which nothing is said."""
CHANCE = 0.01
"""A rise that chance alone would make more often than this is none."""
TOLERATED = {"memory_mib": 0.02, "descriptors": 0.0, "p99_ms": 0.10}
"""Share by which the median may be higher at the end; a rise must be above it and above chance.
Memory settles while caches fill; p99 moves with the neighbours of the machine."""


@dataclass(frozen=True, slots=True)
class Trend:
    """`grows` is None where there are too few readings."""

    figure: str
    first: float
    last: float
    growth: float
    """Share by which the median of the last quarter is above that of the first."""
    chance: float
    """How often chance alone would make the last quarter so much higher (Mann and Whitney)."""
    grows: bool | None

    def told(self) -> dict[str, Any]:
        """Return it for a result."""
        return asdict(self)


def trend(figure: str, readings: Sequence[float]) -> Trend:
    """Judge the readings of a figure, in order of time."""
    quarter = max(1, len(readings) // 4)
    first, last = readings[:quarter], readings[-quarter:]
    low, high = median(first), median(last)
    growth = high / low - 1 if low else 0.0
    chance = _chance(first, last)
    grows = growth > TOLERATED[figure] and chance < CHANCE if len(readings) >= ENOUGH else None
    return Trend(figure, low, high, round(growth, 5), round(chance, 5), grows)


def trends(readings: Sequence[Mapping[str, float]]) -> list[Trend]:
    """Judge every figure that readings hold."""
    return [
        trend(figure, [each[figure] for each in readings])
        for figure in TOLERATED
        if readings and all(figure in each for each in readings)
    ]


def _chance(first: Sequence[float], last: Sequence[float]) -> float:
    """Return the one-sided p of Mann and Whitney's U, by the normal approximation with ties."""
    n, m = len(first), len(last)
    wins = sum((b > a) + 0.5 * (b == a) for a in first for b in last)
    both = [*first, *last]
    ties = sum(count**3 - count for count in (both.count(value) for value in set(both)))
    total = n + m
    spread = n * m / 12 * (total + 1 - ties / (total * (total - 1))) if total > 1 else 0.0
    if spread <= 0:
        return 1.0
    return erfc((wins - n * m / 2 - 0.5) / sqrt(2 * spread)) / 2
