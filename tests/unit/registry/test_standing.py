"""Standings and tallies as JSON, and the counts of a tally."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.registry.standing import (
    BOUNDS,
    Arm,
    Change,
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

VERSIONS = st.builds(Version, st.sampled_from("123"), st.sampled_from(["", "a" * 64]))
STANDINGS = st.builds(
    Standing,
    name=st.just("tiny"),
    stable=VERSIONS,
    previous=st.none() | VERSIONS,
    candidate=st.none() | VERSIONS,
    goal=st.sampled_from(Goal),
    percent=st.integers(0, 99),
    limits=st.builds(Limits),
    stage=st.sampled_from(Stage),
    since=st.floats(0, 1e9),
    leaving=st.lists(VERSIONS, max_size=2).map(tuple),
    retired=st.lists(st.sampled_from("123"), max_size=2).map(tuple),
    change=st.none()
    | st.builds(
        Change, st.just("i"), st.just("promote"), st.just("2"), st.text(), st.floats(0, 1e9),
        st.sampled_from(State), st.text(),
    ),
)  # fmt: skip


@given(STANDINGS)
def test_a_standing_comes_back_from_json_as_it_was(standing):
    assert from_tree(json.loads(json.dumps(to_tree(standing)))) == standing


@pytest.mark.parametrize(
    "tree", [{}, {"name": "tiny"}, {**to_tree(Standing("a", Version("1"))), "x": 1}]
)
def test_what_is_no_standing_is_refused(tree):
    with pytest.raises((KeyError, TypeError)):
        from_tree(tree)


def test_quantiles_are_the_bound_that_the_share_kept_to():
    slow = [0] * (len(BOUNDS) + 1)
    slow[3], slow[10], slow[-1] = 90, 5, 5
    arm = Arm(100, 0, tuple(slow))
    assert arm.quantile(0.5) == BOUNDS[3]
    assert arm.quantile(0.95) == BOUNDS[10]
    assert arm.quantile(0.99) == float("inf")
    assert Arm().quantile(0.5) == 0.0


def test_tallies_add_up_and_come_back_from_json():
    one = Tally(Arm(3, 1), Arm(2, 2), 5, 6, 7, Arm(1))
    both = one + one
    assert (both.stable.requests, both.candidate.errors, both.before.requests) == (6, 4, 2)
    assert (both.agreed, both.differed, both.dropped) == (10, 12, 14)
    assert Tally.of(json.loads(json.dumps(asdict(one)))) == one


def test_a_candidate_is_prepared_when_it_is_loaded_and_held_from_then_on():
    one, two = Version("1", "a"), Version("2", "b")
    for stage, prepared, wanted in [
        (Stage.VERIFYING, (one,), (one,)),
        (Stage.LOADING, (one,), (one, two)),
        (Stage.PROVING, (one, two), (one, two)),
    ]:
        standing = Standing("tiny", one, candidate=two, stage=stage)
        assert (standing.prepared, standing.wanted) == (prepared, wanted)
        assert not standing.shared
