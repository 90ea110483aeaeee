"""Where a model stands: what serves, what may take its place, and what was seen of it. Pure values.

A `Standing` is all that is known of one model. `registry/rollout.py` decides how one follows from
another; here is what they hold, and their form as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

BOUNDS = tuple(0.0005 * 2 ** (step / 4) for step in range(64))
"""Upper bounds of the latency counts, seconds: 0.5 ms to 27 s, a fifth apart."""


class Stage(StrEnum):
    """Where a change is."""

    VERIFYING = "verifying"
    LOADING = "loading"
    PROVING = "proving"
    SHIFTING = "shifting"
    SERVING = "serving"


class Goal(StrEnum):
    """What the candidate is for."""

    PROMOTE = "promote"
    CANARY = "canary"
    SHADOW = "shadow"


class State(StrEnum):
    """What became of a change that was asked for."""

    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"
    ROLLED_BACK = "rolled-back"


@dataclass(frozen=True, slots=True)
class Version:
    """A version, and the SHA-256 of its manifest once the registry has vouched for it (hex)."""

    version: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a canary is taken back by itself."""

    max_error_rate: float = 0.01
    """Share of its requests that the candidate may fail."""
    max_latency_ratio: float = 2.0
    """Its 95th percentile, as a multiple of that of the version that serves."""
    min_requests: int = 100
    """Requests of each before latency is compared; errors count at once."""


@dataclass(frozen=True, slots=True)
class Change:
    """The last change that was asked for, and what became of it."""

    id: str
    action: str
    """`promote`, `canary`, `shadow`, `rollback` or `retire`."""
    version: str
    by: str
    """Subject of who asked."""
    at: float
    """Unix seconds."""
    state: State = State.RUNNING
    reason: str = ""
    """Why it was refused or rolled back, in our own words."""


@dataclass(frozen=True, slots=True)
class Standing:
    """All that is known of one model: what serves, what may take its place."""

    name: str
    stable: Version
    """Serves whatever the candidate does not."""
    previous: Version | None = None
    """Served before, and is what a rollback goes back to."""
    candidate: Version | None = None
    goal: Goal = Goal.PROMOTE
    percent: int = 0
    """Share of requests that a canary answers."""
    limits: Limits = field(default_factory=Limits)
    stage: Stage = Stage.SERVING
    since: float = 0.0
    """When the stage began, Unix seconds."""
    leaving: tuple[Version, ...] = ()
    """No longer serve, but may still hold requests."""
    retired: tuple[str, ...] = ()
    """Versions taken out for good."""
    change: Change | None = None

    @property
    def shared(self) -> bool:
        """Whether the candidate sees requests now, as a canary or as a shadow."""
        return (
            self.candidate is not None
            and self.goal is not Goal.PROMOTE
            and self.stage in (Stage.SHIFTING, Stage.SERVING)
        )

    @property
    def prepared(self) -> tuple[Version, ...]:
        """The versions that a worker must be able to answer with."""
        found = [self.stable]
        if self.candidate is not None and self.stage not in (Stage.VERIFYING, Stage.LOADING):
            found.append(self.candidate)
        return tuple(found)

    @property
    def wanted(self) -> tuple[Version, ...]:
        """The versions that the engine must hold."""
        found = [self.stable, *self.leaving]
        if self.candidate is not None and self.stage is not Stage.VERIFYING:
            found.append(self.candidate)
        return tuple(dict.fromkeys(found))


# -- what the workers saw -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arm:
    """Counts of the requests that one version was given."""

    requests: int = 0
    errors: int = 0
    slow: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    """Requests by latency: those up to each of `BOUNDS`, and those above."""

    def quantile(self, share: float) -> float:
        """Return the latency that `share` of the requests kept to, seconds; 0.0 for none."""
        total, seen = sum(self.slow), 0
        for bound, count in zip((*BOUNDS, float("inf")), self.slow, strict=True):
            seen += count
            if total and seen >= share * total:
                return bound
        return 0.0

    def __add__(self, other: Arm) -> Arm:
        slow = tuple(a + b for a, b in zip(self.slow, other.slow, strict=True))
        return Arm(self.requests + other.requests, self.errors + other.errors, slow)


@dataclass(frozen=True, slots=True)
class Tally:
    """What the workers saw of one canary or shadow."""

    stable: Arm = field(default_factory=Arm)
    candidate: Arm = field(default_factory=Arm)
    agreed: int = 0
    differed: int = 0
    dropped: int = 0
    """Requests that a shadow did not see: the engine was busy."""
    before: Arm = field(default_factory=Arm)
    """The version that serves, in the time before the candidate saw requests."""

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Tally:
        """Return the tally whose fields `tree` holds as JSON values."""
        arms = {
            name: Arm(tree[name]["requests"], tree[name]["errors"], tuple(tree[name]["slow"]))
            for name in ("stable", "candidate", "before")
        }
        return cls(**{**tree, **arms})

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.stable + other.stable,
            self.candidate + other.candidate,
            self.agreed + other.agreed,
            self.differed + other.differed,
            self.dropped + other.dropped,
            self.before + other.before,
        )


# -- as stored ------------------------------------------------------------------------------------


def to_tree(standing: Standing) -> dict[str, Any]:
    """Return a standing as JSON values."""
    return asdict(standing)


def from_tree(tree: Mapping[str, Any]) -> Standing:
    """Return the standing of `to_tree`. Raises TypeError, KeyError or ValueError for another."""
    given = dict(tree)
    change = given["change"]
    if change is not None:
        change = Change(**{**change, "state": State(change["state"])})
    return Standing(
        **{
            **given,
            "stable": Version(**given["stable"]),
            "previous": _version(given["previous"]),
            "candidate": _version(given["candidate"]),
            "goal": Goal(given["goal"]),
            "limits": Limits(**given["limits"]),
            "stage": Stage(given["stage"]),
            "leaving": tuple(Version(**each) for each in given["leaving"]),
            "retired": tuple(given["retired"]),
            "change": change,
        }
    )


def _version(tree: Mapping[str, str] | None) -> Version | None:
    return None if tree is None else Version(**tree)
