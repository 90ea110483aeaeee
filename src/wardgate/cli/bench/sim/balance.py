"""Which replica a call goes to. Pure; draws come from a generator that is given."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from wardgate.cli.bench.sim.replica import Replica

Pick = Callable[[Sequence[Replica]], int]
"""Returns the place of a replica among those that the balancer takes to be alive."""
POLICIES = ("random", "round-robin", "two-choices", "least-in-flight")


def picker(policy: str, rng: random.Random) -> Pick:
    """Return a balancer. `two-choices` draws two and takes the one with fewer calls in flight."""
    found: dict[str, Pick] = {
        "random": lambda replicas: rng.randrange(len(replicas)),
        "round-robin": _RoundRobin(),
        "two-choices": lambda replicas: _of_two(replicas, rng),
        "least-in-flight": lambda replicas: _least(replicas, rng),
    }
    return found[policy]


class _RoundRobin:
    def __init__(self) -> None:
        self._turn = -1

    def __call__(self, replicas: Sequence[Replica]) -> int:
        self._turn = (self._turn + 1) % len(replicas)
        return self._turn


def _of_two(replicas: Sequence[Replica], rng: random.Random) -> int:
    count = len(replicas)
    first, second = int(rng.random() * count), int(rng.random() * count)
    return second if replicas[second].in_flight < replicas[first].in_flight else first


def _least(replicas: Sequence[Replica], rng: random.Random) -> int:
    """Return the first with the fewest, from a place drawn at random: equals take turns."""
    count = len(replicas)
    start = int(rng.random() * count)
    return (
        min(range(count), key=lambda n: replicas[(start + n) % count].in_flight) + start
    ) % count
