"""Finds the highest rate that holds: doubles until one does not, then halves what is between. Pure.

It takes it that whoever holds a rate holds all below. Where the machine is noisy that is true only
of most probes, so each rate is decided by the majority of up to `tries`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

DEEPEST = 12
"""How often the first rate is halved before it is said that none holds."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """`low` held and `high` did not, requests per second; `low` of 0: none held."""

    low: float
    high: float


def search(holds: Callable[[float], bool], start: float, precision: float, most: float) -> Bounds:
    """Return rates that differ by at most the share `precision`, one held and one not.

    No rate above `most` is tried: where that holds, `high` is infinity.
    """
    low, high = 0.0, math.inf
    rate = min(start, most)
    for _ in range(DEEPEST):
        if holds(rate):
            low = rate
            break
        high, rate = rate, rate / 2
    while low and high == math.inf:
        if low >= most:
            return Bounds(low, high)
        rate = min(2 * low, most)
        if holds(rate):
            low = rate
        else:
            high = rate
    while low and high > low * (1 + precision):
        rate = (low + high) / 2
        if not low < rate < high:
            break  # as near as numbers go
        if holds(rate):
            low = rate
        else:
            high = rate
    return Bounds(low, high)


def majority(probe: Callable[[], bool], tries: int) -> bool:
    """Return what most of `tries` probes say; no more are made than it takes."""
    yes = no = 0
    while 2 * yes <= tries and 2 * no <= tries and yes + no < tries:
        if probe():
            yes += 1
        else:
            no += 1
    return yes > no


def replicas(target: float, rate: float, headroom: float) -> int:
    """Return how many replicas a load needs where each keeps the share `headroom` free."""
    return max(1, math.ceil(round(target / (rate * (1 - headroom)), 9)))
