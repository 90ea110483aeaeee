"""How a model changes: what serves, what takes its place, and when. Pure: times are passed in.

    asked -> verifying -> loading -> proving -> shifting -> serving
               |            |          |           |           a canary is watched while it serves
               +------------+----------+-----------+--> refused, rolled back: the old serves on

`verifying`  the registry vouches for the files; the candidate is pinned by its digest from here on
`loading`    the engine loads it beside the others and warms every shape
`proving`    every worker has its golden examples come out right, through the whole path
`shifting`   the traffic rule is changed, and every worker takes it up
`serving`    the rule stands; versions that left are drained, then let go

The standing is stored after every step, so a driver that dies is followed by one that goes on where
it stopped. `ask` is what a person wants, `step` what the driver does next with what it sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from wardgate.errors import ChangeRefused, ModelUnknown
from wardgate.registry.standing import (
    Change,
    Goal,
    Limits,
    Stage,
    Standing,
    State,
    Tally,
    Version,
)

LOADING_SECONDS = 900.0
"""Longest time to verify, load and warm a candidate."""
PROVING_SECONDS = 120.0
"""Longest time for every worker's golden examples."""
SLACK_SECONDS = 0.005
"""A candidate is never too slow by less than this: a ratio of two small times says nothing."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the driver sees when it decides on a step."""

    digest: str | None = None
    """Of the candidate, once the registry has vouched for it."""
    fault: str | None = None
    """Why the candidate could not be verified or loaded."""
    loaded: frozenset[str] = frozenset()
    """Digests that the engine holds."""
    applied: bool = False
    """There are workers, and every one goes by this very standing."""
    drained: bool = False
    """And none has a request in flight that was routed before it."""
    refusals: Sequence[str] = ()
    """Why workers would not take the candidate."""
    tally: Tally = field(default_factory=Tally)


# -- what a person wants --------------------------------------------------------------------------


def ask(
    now_is: Standing,
    action: str,
    version: str,
    *,
    known: Iterable[str],
    id: str,  # noqa: A002 -- the field's name
    by: str,
    now: float,
    percent: int = 0,
    limits: Limits | None = None,
) -> Standing:
    """Return the standing with a change begun. `known` are the versions in the registry.

    `version` is empty for a rollback. Raises ModelUnknown for a version that nobody has, and
    ChangeRefused for what cannot be done from where the model stands.
    """
    change = Change(id, action, version, by, now)
    if action == "rollback":
        return _rollback(now_is, change, now)
    if version not in known:
        raise ModelUnknown("The registry has no such version of this model.")
    if action == "retire":
        return _retire(now_is, change)
    if version in now_is.retired:
        raise ChangeRefused(f"Version {version} is retired.")
    if version == now_is.stable.version:
        raise ChangeRefused(f"Version {version} serves already.")
    if now_is.stage is not Stage.SERVING:
        raise ChangeRefused("Another change of this model is under way; roll it back or wait.")
    given = replace(
        now_is,
        goal=Goal(action),
        percent=percent if action == Goal.CANARY else 0,
        limits=limits or Limits(),
        change=change,
        since=now,
    )
    held = now_is.candidate
    if held is not None and held.version != version:
        raise ChangeRefused(f"Version {held.version} is a {now_is.goal}; roll it back first.")
    if held is not None:  # it is loaded, warm and proven
        return _shift(given, now)
    return replace(given, candidate=Version(version), stage=Stage.VERIFYING)


def _rollback(now_is: Standing, change: Change, now: float) -> Standing:
    if now_is.candidate is not None:
        ended = _without_candidate(now_is, now)
        return replace(
            ended,
            change=replace(
                change,
                version=now_is.stable.version,
                state=State.RUNNING if ended.stage is Stage.SHIFTING else State.DONE,
                reason=f"version {now_is.candidate.version} was taken back",
            ),
        )
    if now_is.stage is not Stage.SERVING:
        raise ChangeRefused("The change before is not in place everywhere yet; wait a moment.")
    if now_is.previous is None:
        raise ChangeRefused("There is no version to go back to.")
    return replace(
        now_is,
        candidate=now_is.previous,
        goal=Goal.PROMOTE,
        percent=0,
        # what is pinned is loaded by its digest again: the files must be the same
        stage=Stage.VERIFYING,
        since=now,
        change=replace(change, version=now_is.previous.version),
    )


def _retire(now_is: Standing, change: Change) -> Standing:
    version = change.version
    serves = [v.version for v in (now_is.stable, now_is.candidate, *now_is.leaving) if v]
    if version in serves:
        raise ChangeRefused(f"Version {version} serves; put another in its place first.")
    previous = now_is.previous
    if previous is not None and previous.version == version:
        previous = None
    return replace(
        now_is,
        previous=previous,
        retired=tuple(sorted({*now_is.retired, version})),
        change=replace(change, state=State.DONE),
    )


# -- what the driver does next --------------------------------------------------------------------


def step(now_is: Standing, facts: Facts, now: float) -> Standing:
    """Return the standing after the next step; the same one where there is nothing to do yet."""
    candidate = now_is.candidate
    if candidate is not None and facts.fault is not None:
        return _give_up(now_is, facts.fault, now)
    return _STEPS[now_is.stage](now_is, facts, now)


def _verifying(now_is: Standing, facts: Facts, now: float) -> Standing:
    candidate = now_is.candidate
    assert candidate is not None
    if facts.digest is None:
        return _within(now_is, LOADING_SECONDS, "it was not verified in time", now)
    if candidate.digest not in {"", facts.digest}:
        return _give_up(now_is, "its files are not those that served before", now)
    pinned = Version(candidate.version, facts.digest)
    return replace(now_is, candidate=pinned, stage=Stage.LOADING, since=now)


def _loading(now_is: Standing, facts: Facts, now: float) -> Standing:
    assert now_is.candidate is not None
    if now_is.candidate.digest in facts.loaded:
        return replace(now_is, stage=Stage.PROVING, since=now)
    return _within(now_is, LOADING_SECONDS, "it was not loaded in time", now)


def _proving(now_is: Standing, facts: Facts, now: float) -> Standing:
    assert now_is.candidate is not None
    if facts.refusals:
        return _give_up(now_is, facts.refusals[0], now)
    if now_is.candidate.digest not in facts.loaded:  # the engine has begun anew
        return replace(now_is, stage=Stage.LOADING, since=now)
    if facts.applied:
        return _shift(now_is, now)
    return _within(now_is, PROVING_SECONDS, "a worker did not answer in time", now)


def _serving(now_is: Standing, facts: Facts, now: float) -> Standing:
    breach = verdict(facts.tally, now_is.limits) if now_is.goal is Goal.CANARY else ""
    if now_is.candidate is not None and breach:
        return _give_up(now_is, breach, now)
    if now_is.stage is Stage.SHIFTING:
        if facts.applied:
            return _end(replace(now_is, stage=Stage.SERVING, since=now), State.DONE)
    elif now_is.leaving and facts.drained:
        return replace(now_is, leaving=())
    return now_is


_STEPS = {
    Stage.VERIFYING: _verifying,
    Stage.LOADING: _loading,
    Stage.PROVING: _proving,
    Stage.SHIFTING: _serving,
    Stage.SERVING: _serving,
}


def verdict(tally: Tally, limits: Limits) -> str:
    """Say why a canary must be taken back; empty where it may go on.

    Its latency is held against that of the version that serves, now and before it came: a slow
    candidate fills the queue that both share, and so slows the other too.
    """
    arm = tally.candidate
    # What could no longer be made good within the first `min_requests` counts at once.
    allowed = limits.max_error_rate * max(arm.requests, limits.min_requests)
    if arm.errors > allowed:
        return f"it failed {arm.errors} of {arm.requests} requests"
    if arm.requests < limits.min_requests:
        return ""
    mine = arm.quantile(0.95)
    for base, when in ((tally.stable, "is"), (tally.before, "was before it came")):
        others = base.quantile(0.95)
        if (
            base.requests >= limits.min_requests
            and mine > limits.max_latency_ratio * others
            and mine - others > SLACK_SECONDS
        ):
            return (
                f"its 95th percentile is {mine * 1e3:.1f} ms, that of the version that serves "
                f"{when} {others * 1e3:.1f} ms"
            )
    return ""


def _shift(now_is: Standing, now: float) -> Standing:
    """Change the traffic rule to what the goal says."""
    shifted = replace(now_is, stage=Stage.SHIFTING, since=now)
    if now_is.goal is not Goal.PROMOTE:
        return shifted
    assert now_is.candidate is not None
    return replace(
        shifted,
        stable=now_is.candidate,
        previous=now_is.stable,
        candidate=None,
        leaving=_leaving(now_is, now_is.stable, without=now_is.candidate),
    )


def _give_up(now_is: Standing, why: str, now: float) -> Standing:
    """Take the candidate away and say why; what serves goes on."""
    seen = now_is.shared
    ended = _without_candidate(now_is, now)
    return _end(ended, State.ROLLED_BACK if seen else State.REFUSED, why)


def _without_candidate(now_is: Standing, now: float) -> Standing:
    assert now_is.candidate is not None
    pinned = now_is.candidate if now_is.candidate.digest else None
    return replace(
        now_is,
        candidate=None,
        goal=Goal.PROMOTE,
        percent=0,
        # Its workers go by the old rule again before it is let go.
        stage=Stage.SHIFTING if now_is.shared else Stage.SERVING,
        since=now,
        leaving=_leaving(now_is, pinned, without=now_is.stable) if pinned else now_is.leaving,
    )


def _leaving(now_is: Standing, version: Version, *, without: Version) -> tuple[Version, ...]:
    return tuple(v for v in dict.fromkeys((*now_is.leaving, version)) if v != without)


def _end(now_is: Standing, state: State, why: str = "") -> Standing:
    if now_is.change is None or (now_is.change.state is not State.RUNNING and not why):
        return now_is
    return replace(
        now_is, change=replace(now_is.change, state=state, reason=why or now_is.change.reason)
    )


def _within(now_is: Standing, seconds: float, why: str, now: float) -> Standing:
    return _give_up(now_is, why, now) if now - now_is.since > seconds else now_is
