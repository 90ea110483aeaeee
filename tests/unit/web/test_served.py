"""Who answers which request, and what is counted."""

from __future__ import annotations

import dataclasses
import uuid

import numpy as np
import pytest

from wardgate.errors import ModelUnknown
from wardgate.registry.standing import BOUNDS, Arm, Goal
from wardgate.request import ServedModel
from wardgate.types import CleanText, Encoding, ModelId, Prediction
from wardgate.web.served import Prepared, Recent, Rule, Score, Served


def prepared(version: str) -> Prepared:
    return Prepared(
        ServedModel(
            ModelId("tiny", version, version * 64),
            ("no", "yes"),
            lambda text: Encoding(([1],)),
            lambda logits: Prediction("yes", 1.0, {}),
        ),
        (),
    )


ONE, TWO = prepared("1"), prepared("2")


def serving(goal=Goal.PROMOTE, percent=0, *, candidate=None, mirror=lambda *_: None) -> Served:
    return Served({"tiny": Rule(ONE, candidate, goal, percent)}, mirror=mirror)


def test_one_version_answers_every_request():
    served = serving()
    for version in (None, "1"):
        lease = served.lease("tiny", version, "id")
        assert (lease.model, lease.fallback, lease.shadow) == (ONE.served, None, "")
        assert served.route("tiny", version) is ONE.served
    for name, version in (("other", None), ("tiny", "2"), ("", None)):
        with pytest.raises(ModelUnknown):
            served.lease(name, version, "id")
        with pytest.raises(ModelUnknown):
            served.route(name, version)


@pytest.mark.parametrize("percent", [1, 5, 50, 99])
def test_a_canary_gets_its_share_by_the_id_alone(percent):
    served = serving(Goal.CANARY, percent, candidate=TWO)
    ids = [str(uuid.UUID(int=number)) for number in range(4000)]
    found = [served.lease("tiny", None, key).model is TWO.served for key in ids]
    assert abs(sum(found) / len(ids) - percent / 100) < 0.03
    assert found == [served.lease("tiny", None, key).model is TWO.served for key in ids]


def test_a_version_can_be_asked_for_by_name_where_it_answers_callers():
    served = serving(Goal.CANARY, 1, candidate=TWO)
    assert served.lease("tiny", "2", "id").model is TWO.served
    assert served.lease("tiny", "1", "id").model is ONE.served
    assert served.route("tiny", "2") is TWO.served
    assert served.route("tiny") is ONE.served
    assert served.served() == (ONE.served, TWO.served)
    shadow = serving(Goal.SHADOW, candidate=TWO)
    assert shadow.served() == (ONE.served,)
    with pytest.raises(ModelUnknown):
        shadow.lease("tiny", "2", "id")


def test_a_canary_leaves_time_for_the_one_that_serves():
    served = serving(Goal.CANARY, 100, candidate=TWO)
    lease = served.lease("tiny", None, "id")
    assert lease.fallback is ONE.served
    assert lease.until(100.0, 110.0) == 105.0
    assert served.lease("tiny", "1", "id").until(100.0, 110.0) == 110.0


def test_who_asks_for_a_version_gets_no_other():
    lease = serving(Goal.CANARY, 1, candidate=TWO).lease("tiny", "2", "id")
    assert (lease.model, lease.fallback) == (TWO.served, None)
    assert lease.until(100.0, 110.0) == 110.0


def test_a_shadow_is_shown_what_was_answered_and_nobody_else_is():
    shown = []
    served = serving(Goal.SHADOW, candidate=TWO, mirror=lambda *given: shown.append(given))
    lease = served.lease("tiny", None, "id")
    assert (lease.model, lease.shadow) == (ONE.served, "2")
    lease.mirror([CleanText("a")], ["yes"])
    assert shown == [(served.rules["tiny"], [CleanText("a")], ["yes"])]
    canary = serving(Goal.CANARY, 99, candidate=TWO, mirror=lambda *given: shown.append(given))
    canary.lease("tiny", None, "id").mirror([CleanText("a")], ["yes"])
    assert len(shown) == 1


def test_a_generation_is_drained_when_its_last_request_has_ended():
    served = serving()
    assert served.drained == 0
    served.take(3, served.rules)
    assert served.drained == 3
    early, also = served.lease("tiny", None, "a"), served.lease("tiny", None, "b")
    served.take(5, served.rules)
    late = served.lease("tiny", None, "c")
    assert served.drained == 3
    early.leave()
    assert served.drained == 3
    also.leave()
    assert served.drained == 5
    served.take(6, served.rules)
    late.leave()
    assert served.drained == 6


def test_what_is_counted_while_a_canary_serves():
    served = serving(Goal.CANARY, 50, candidate=TWO)
    served.lease("tiny", "1", "id").answered(0.001)
    canary = served.lease("tiny", "2", "id")
    canary.answered(0.002)
    canary.failed()
    tally = served.rules["tiny"].score.tally()
    assert (tally.stable.requests, tally.candidate.requests, tally.candidate.errors) == (1, 2, 1)
    assert tally.stable.quantile(0.5) == next(bound for bound in BOUNDS if bound >= 0.001)
    quiet = serving()
    quiet.lease("tiny", None, "id").answered(0.001)
    assert quiet.rules["tiny"].score.tally().stable == Arm()


def test_what_was_before_a_canary_is_the_last_minute():
    recent = Recent()
    recent.add(0.001, 100.0)
    recent.add(0.001, 125.0)
    assert recent.arm(129.0).requests == 2
    recent.add(0.001, 131.0)
    assert recent.arm(140.0).requests == 3
    assert recent.arm(162.0).requests == 1
    assert recent.arm(500.0).requests == 0
    assert Score(recent.arm(500.0)).tally().before == Arm()


def test_a_model_of_the_registry_is_prepared_for_requests(world):
    found = Prepared.of(world.load("tiny", "1"))
    assert found.served.id == world.load("tiny", "1").id
    assert found.served.tokenize(CleanText("a w1")).rows == ([2, 4, 6, 3],)
    assert found.served.postprocess(np.array([[0, 9]], np.float32)).label == "yes"
    assert [example.text for example in found.golden] == ["a w1"]
    assert dataclasses.is_dataclass(found)
