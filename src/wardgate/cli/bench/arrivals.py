"""When requests are due in an open loop: seconds from its start, in order. Pure, by seed."""

from __future__ import annotations

import random

from wardgate.cli.bench.scenario import BURSTY, Load


def due(load: Load, seconds: float, seed: int) -> list[float]:
    """Return the times of a Poisson process of `load.level` a second, up to `seconds`.

    A bursty load comes in groups: the groups are a Poisson process, their sizes are geometric with
    the mean `load.burst`, and all requests of a group are due at once. Its rate is the same.
    """
    rng = random.Random(seed)  # noqa: S311 -- a draw that must come out the same again
    mean = load.burst if load.kind == BURSTY else 1.0
    times: list[float] = []
    now = rng.expovariate(load.level / mean)
    while now < seconds:
        times.append(now)
        while rng.random() < 1 - 1 / mean:
            times.append(now)
        now += rng.expovariate(load.level / mean)
    return times
