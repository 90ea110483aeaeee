"""Every step of a change, and what may never happen whatever comes in between."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.errors import ChangeRefused, ModelUnknown
from wardgate.registry import rollout
from wardgate.registry.rollout import Facts, ask, step, verdict
from wardgate.registry.standing import (
    BOUNDS,
    Arm,
    Goal,
    Limits,
    Stage,
    Standing,
    State,
    Tally,
    Version,
    from_tree,
    to_tree,
)

ONE, TWO = Version("1", "a" * 64), Version("2", "b" * 64)
FIRST = Standing("tiny", ONE)
KNOWN = ("1", "2", "3")


def asked(standing=FIRST, action="promote", version="2", **options):
    return ask(standing, action, version, known=KNOWN, id="i", by="who", now=100.0, **options)


def walk(standing, *facts, now=101.0):
    """Take one step for each of `facts`."""
    for each in facts:
        standing = step(standing, each, now)
    return standing


VERIFIED = Facts(digest=TWO.digest)
LOADED = Facts(digest=TWO.digest, loaded=frozenset({TWO.digest, ONE.digest}))
APPLIED = replace(LOADED, applied=True)
DRAINED = replace(APPLIED, drained=True)
SLOW = tuple(int(place == 30) * 200 for place in range(len(BOUNDS) + 1))
QUICK = tuple(int(place == 4) * 200 for place in range(len(BOUNDS) + 1))


def test_a_promotion_goes_through_every_stage():
    standing = asked()
    assert (standing.stage, standing.stable) == (Stage.VERIFYING, ONE)
    stages = []
    for facts in (VERIFIED, LOADED, APPLIED, APPLIED, DRAINED):
        standing = step(standing, facts, 101.0)
        stages.append((standing.stage, standing.stable.version, standing.leaving))
    assert stages == [
        (Stage.LOADING, "1", ()),
        (Stage.PROVING, "1", ()),
        (Stage.SHIFTING, "2", (ONE,)),
        (Stage.SERVING, "2", (ONE,)),
        (Stage.SERVING, "2", ()),
    ]
    assert standing.previous == ONE
    assert standing.change.state is State.DONE
    assert step(standing, DRAINED, 102.0) == standing


def test_a_candidate_gets_no_request_before_every_worker_has_proven_it():
    standing = walk(asked(action="canary", percent=5), VERIFIED)
    assert not standing.shared
    assert standing.prepared == (ONE,)
    standing = walk(standing, LOADED)
    assert standing.prepared == (ONE, TWO)
    assert not standing.shared
    standing = walk(standing, LOADED)
    assert standing.stage is Stage.PROVING
    standing = walk(standing, APPLIED)
    assert standing.shared
    assert standing.change.state is State.RUNNING
    standing = walk(standing, APPLIED)
    assert (standing.change.state, standing.stable) == (State.DONE, ONE)


@pytest.mark.parametrize(
    ("before", "facts", "why"),
    [
        ((), Facts(fault="not trusted"), "not trusted"),
        ((VERIFIED,), Facts(fault="no graph"), "no graph"),
        ((VERIFIED, LOADED), replace(LOADED, refusals=["golden"]), "golden"),
    ],
)
def test_what_is_wrong_with_a_candidate_ends_the_change_and_the_old_serves_on(before, facts, why):
    standing = walk(asked(), *before, facts)
    assert (standing.stable, standing.candidate, standing.stage) == (ONE, None, Stage.SERVING)
    assert (standing.change.state, standing.change.reason) == (State.REFUSED, why)
    assert walk(standing, DRAINED).leaving == ()


@pytest.mark.parametrize("before", [(), (VERIFIED,), (VERIFIED, LOADED)])
def test_no_stage_lasts_for_ever(before):
    standing = walk(asked(), *before)
    late = 101.0 + rollout.LOADING_SECONDS + 1
    facts = LOADED if len(before) == 2 else Facts()
    ended = step(standing, facts, late)
    assert ended.change.state is State.REFUSED
    assert "in time" in ended.change.reason


def test_an_engine_that_begins_anew_loads_the_candidate_again():
    standing = walk(asked(), VERIFIED, LOADED)
    again = step(standing, Facts(loaded=frozenset({ONE.digest}), applied=True), 102.0)
    assert again.stage is Stage.LOADING


def test_a_canary_that_fails_is_rolled_back_and_drained():
    standing = walk(asked(action="canary", percent=5), VERIFIED, LOADED, APPLIED, APPLIED)
    failing = Tally(candidate=Arm(10, 2))
    taken = step(standing, replace(APPLIED, tally=failing), 103.0)
    assert (taken.candidate, taken.leaving, taken.stage) == (None, (TWO,), Stage.SHIFTING)
    assert taken.change.state is State.ROLLED_BACK
    assert "failed 2 of 10" in taken.change.reason
    rest = walk(taken, APPLIED, DRAINED)
    assert (rest.stage, rest.leaving, rest.change) == (Stage.SERVING, (), taken.change)


def test_a_canary_is_promoted_without_another_proof():
    standing = walk(asked(action="canary", percent=5), VERIFIED, LOADED, APPLIED, APPLIED)
    promoted = asked(standing)
    assert (promoted.stage, promoted.stable, promoted.candidate) == (Stage.SHIFTING, TWO, None)
    more = asked(standing, "canary", percent=50)
    assert (more.stage, more.percent, more.stable) == (Stage.SHIFTING, 50, ONE)


def test_a_rollback_takes_a_candidate_away_or_goes_back():
    shared = walk(asked(action="shadow"), VERIFIED, LOADED, APPLIED, APPLIED)
    back = asked(shared, "rollback", "")
    assert (back.candidate, back.leaving, back.change.state) == (None, (TWO,), State.RUNNING)
    assert walk(back, APPLIED).change.state is State.DONE
    promoted = walk(asked(), VERIFIED, LOADED, APPLIED, APPLIED)
    back = asked(promoted, "rollback", "")
    assert (back.candidate, back.goal, back.stage) == (ONE, Goal.PROMOTE, Stage.VERIFYING)
    other = step(back, Facts(digest="f" * 64), 102.0)
    assert "not those that served" in other.change.reason
    early = asked(asked(), "rollback", "")
    assert (early.candidate, early.stage, early.change.state) == (None, Stage.SERVING, State.DONE)
    with pytest.raises(ChangeRefused):
        asked(FIRST, "rollback", "")


def test_a_retired_version_never_serves_again():
    promoted = walk(asked(), VERIFIED, LOADED, APPLIED, APPLIED)
    with pytest.raises(ChangeRefused):  # it is leaving, and may still answer
        asked(promoted, "retire", "1")
    rest = walk(promoted, DRAINED)
    with pytest.raises(ChangeRefused):
        asked(rest, "retire", "2")
    retired = asked(rest, "retire", "1")
    assert (retired.retired, retired.previous) == (("1",), None)
    for action in ("promote", "canary", "shadow"):
        with pytest.raises(ChangeRefused):
            asked(retired, action, "1")
    with pytest.raises(ChangeRefused):
        asked(retired, "rollback", "")


@pytest.mark.parametrize(
    ("standing", "version", "error"),
    [
        (FIRST, "1", ChangeRefused),
        (FIRST, "9", ModelUnknown),
        (asked(), "3", ChangeRefused),
        (walk(asked(action="shadow"), VERIFIED, LOADED, APPLIED, APPLIED), "3", ChangeRefused),
    ],
)
def test_what_cannot_be_asked_for(standing, version, error):
    with pytest.raises(error):
        asked(standing, "promote", version)


@pytest.mark.parametrize(
    ("tally", "limits", "expected"),
    [
        (Tally(), Limits(), ""),
        (Tally(candidate=Arm(5, 1)), Limits(), ""),  # 1 of the first 100 is allowed
        (Tally(candidate=Arm(5, 2)), Limits(), "failed 2 of 5"),
        (Tally(candidate=Arm(1000, 10)), Limits(), ""),
        (Tally(candidate=Arm(1000, 11)), Limits(), "failed 11 of 1000"),
        (Tally(Arm(200, 0, QUICK), Arm(200, 0, QUICK)), Limits(), ""),
        (Tally(Arm(200, 0, QUICK), Arm(200, 0, SLOW)), Limits(), "95th percentile"),
        (Tally(Arm(200, 0, QUICK), Arm(200, 0, SLOW)), Limits(max_latency_ratio=100.0), ""),
        (Tally(Arm(99, 0, QUICK), Arm(200, 0, SLOW)), Limits(), ""),
        (Tally(Arm(200, 0, QUICK), Arm(99, 0, SLOW)), Limits(), ""),
        # it slows the other too: what counts is how that was before
        (
            Tally(Arm(200, 0, SLOW), Arm(200, 0, SLOW), before=Arm(200, 0, QUICK)),
            Limits(),
            "before",
        ),
    ],
)
def test_when_a_canary_is_taken_back(tally, limits, expected):
    found = verdict(tally, limits)
    assert expected in found
    assert bool(found) == bool(expected)


FACTS = st.builds(
    Facts,
    digest=st.sampled_from([None, TWO.digest, TWO.digest]),
    fault=st.sampled_from([None, None, None, "a fault"]),
    loaded=st.frozensets(st.sampled_from([ONE.digest, TWO.digest])),
    applied=st.booleans(),
    drained=st.booleans(),
    refusals=st.sampled_from([[], [], [], ["wrong"]]),
    tally=st.sampled_from([Tally(), Tally(), Tally(candidate=Arm(9, 9))]),
)
ASKS = st.tuples(
    st.sampled_from(["promote", "canary", "shadow", "rollback", "retire"]),
    st.sampled_from(KNOWN[:2]),
)


@given(st.lists(st.one_of(FACTS, ASKS), max_size=40))
def test_whatever_happens_only_what_is_proven_sees_requests(events):
    """And nothing that may hold a request is let go, and every standing can be stored."""
    standing = FIRST
    proven = {ONE.digest}
    for number, event in enumerate(events):
        before = standing
        if isinstance(event, Facts):
            standing = step(standing, event, 100.0 + number)
            if before.stage is Stage.PROVING and standing.stage is Stage.SHIFTING:
                assert event.applied
                assert not event.refusals
                assert before.candidate.digest in event.loaded
                proven.add(before.candidate.digest)
            if before.leaving and not standing.leaving:
                assert event.drained
        else:
            try:
                standing = ask(
                    standing, event[0], event[1] if event[0] != "rollback" else "",
                    known=KNOWN, id=str(number), by="who", now=100.0 + number, percent=5,
                )  # fmt: skip
            except ChangeRefused:
                continue
        assert standing.stable.digest in proven
        assert standing.stable.version not in standing.retired
        if standing.shared:
            assert standing.candidate.digest in proven
        gone = {*before.wanted} - {*standing.wanted}
        for version in gone:  # only what no rule of before could route to, or what was drained
            assert version not in (before.stable, before.candidate)
        assert from_tree(to_tree(standing)) == standing
