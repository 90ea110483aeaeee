"""Is a difference between two series of rounds real? Pure, by seed.

Rounds are drawn anew with replacement, as pairs where both sides were measured in turns in one run,
and the ratio of the means is taken each time. With few rounds such intervals are too short; their
ends are moved out as Hesterberg (2015, "What Teachers Should Know About the Bootstrap", 5.4) does:
to the share of a normal distribution below -sqrt(n / (n - 1)) times Student's t.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

LEAST_ROUNDS = 3
"""With fewer rounds nothing is said."""
DRAWS = 10_000
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
      2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086)  # fmt: skip
"""Student's t at 97.5 % for 1 to 20 degrees of freedom; 1.96 and 10 % more serve beyond."""
_T_BEYOND = 2.08


@dataclass(frozen=True, slots=True)
class Ratio:
    """B over A with its 95 % interval; `low` and `high` are None where rounds are too few."""

    value: float
    low: float | None
    high: float | None

    @property
    def real(self) -> bool | None:
        """Whether 1 lies outside the interval; None where that cannot be said."""
        if self.low is None or self.high is None:
            return None
        return not self.low <= 1 <= self.high


def ratio(
    a: Sequence[float], b: Sequence[float], *, paired: bool, seed: int = 0, draws: int = DRAWS
) -> Ratio:
    """Return the ratio of the means of B and A, each a figure above 0 for each round.

    `paired` says that round n of A and round n of B were measured beside each other.
    """
    value = _ratio(a, b)
    least = min(len(a), len(b))
    if least < LEAST_ROUNDS or value == 0 or not math.isfinite(value):
        return Ratio(value, None, None)
    rng = random.Random(seed)  # noqa: S311 -- draws that must come out the same again
    found = []
    for _ in range(draws):
        if paired and len(a) == len(b):
            places = rng.choices(range(len(a)), k=len(a))
            drawn = [a[place] for place in places], [b[place] for place in places]
        else:
            drawn = rng.choices(a, k=len(a)), rng.choices(b, k=len(b))
        found.append(_ratio(*drawn))
    found.sort()
    tail = _tail(least)
    return Ratio(value, _quantile(found, tail), _quantile(found, 1 - tail))


def _ratio(a: Sequence[float], b: Sequence[float]) -> float:
    over, under = math.fsum(b) / len(b), math.fsum(a) / len(a)
    return over / under if under else math.inf


def _tail(rounds: int) -> float:
    freedom = rounds - 1
    t = _T[freedom - 1] if freedom <= len(_T) else _T_BEYOND
    return NormalDist().cdf(-math.sqrt(rounds / freedom) * t)


def _quantile(ordered: Sequence[float], share: float) -> float:
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)
