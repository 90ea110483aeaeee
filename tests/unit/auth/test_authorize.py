from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from wardgate.auth.authorize import NOT_SAFE_HARBOR, PURPOSES, authorize
from wardgate.errors import BodyInvalid, Forbidden, PolicyUnknown
from wardgate.types import Decision, Permission, Principal

POLICIES = {"safe_harbor": 2, "limited_data_set": 1, "expert_determination": 1}


def decide(principal: Principal, **options: Any) -> Decision:
    return authorize(
        principal,
        **{
            "action": Permission.INFER,
            "model": "sentiment",
            "policy": None,
            "default_policy": "safe_harbor",
            "purpose": None,
            "policies": POLICIES,
        }
        | options,
    )


def refusal(principal: Principal, **options: Any) -> str:
    with pytest.raises(Forbidden) as caught:
        decide(principal, **options)
    return caught.value.reason


SCOPES = ("infer:sentiment", "deid", "deid:limited_data_set", "deid:expert_determination")


@pytest.mark.parametrize(
    "scopes", [each for n in range(len(SCOPES) + 1) for each in combinations(SCOPES, n)]
)
@pytest.mark.parametrize("policy", [None, *POLICIES])
@pytest.mark.parametrize("default", POLICIES)
@pytest.mark.parametrize("action", [Permission.INFER, Permission.DEID])
def test_scope_times_policy(make_principal, scopes, policy, default, action) -> None:
    """The whole table against the rule of the design, said another way."""
    applied = policy or default
    spelled = {scope.replace("deid:safe_harbor", "deid") for scope in scopes}
    holds = ("deid" if applied == "safe_harbor" else f"deid:{applied}") in spelled
    if action is Permission.INFER:
        removes_as_much = applied in {default, "safe_harbor"}
        allowed = "infer:sentiment" in scopes and (holds or removes_as_much)
    else:
        allowed = holds
    options = {"action": action, "policy": policy, "default_policy": default}
    if action is Permission.DEID:
        options["model"] = None
    principal = make_principal(*scopes)
    if allowed:
        decision = decide(principal, **options)
        assert decision.policy == applied
        assert (NOT_SAFE_HARBOR in decision.obligations) == (applied != "safe_harbor")
    else:
        assert refusal(principal, **options) in {"scope-route", "scope-model", "scope-policy"}


def test_a_sites_policy_can_be_of_the_standard_too(make_principal) -> None:
    principal = make_principal("deid:own")
    options = {"action": Permission.DEID, "model": None, "policy": "own"}
    options["policies"] = {**POLICIES, "own": -1}
    assert decide(principal, **options).obligations == {NOT_SAFE_HARBOR}
    assert not decide(principal, **options, safe_harbor={"own", "safe_harbor"}).obligations


def test_each_refusal_has_its_reason(make_principal) -> None:
    assert refusal(make_principal()) == "scope-route"
    assert refusal(make_principal("infer:other")) == "scope-model"
    assert refusal(make_principal("infer:sentiment"), model=None) == "scope-model"
    weaker = {"policy": "limited_data_set"}
    assert refusal(make_principal("infer:sentiment", "deid"), **weaker) == "scope-policy"


@pytest.mark.parametrize("policy", ["", "none", "Safe_Harbor", "safe_harbor "])
def test_an_unknown_policy_is_refused(make_principal, policy: str) -> None:
    principal = make_principal("infer:sentiment", "deid", f"deid:{policy}")
    for options in ({"policy": policy}, {"default_policy": policy}):
        with pytest.raises(PolicyUnknown):
            decide(principal, **options)


@pytest.mark.parametrize("purpose", sorted(PURPOSES))
def test_known_purposes_pass(make_principal, purpose: str) -> None:
    assert decide(make_principal("infer:sentiment"), purpose=purpose)


@pytest.mark.parametrize(
    "purpose", ["", "treat", "TREATMENT", "PurposeOfUse", "TREAT ", "Jane Roe"]
)
def test_other_purposes_are_refused_and_not_repeated(make_principal, purpose: str) -> None:
    with pytest.raises(BodyInvalid) as caught:
        decide(make_principal("infer:sentiment"), purpose=purpose)
    assert caught.value.reason == "purpose-unknown"
    assert "Jane" not in caught.value.detail


def test_purposes_are_the_value_set() -> None:
    assert len(PURPOSES) == 59
    assert {"TREAT", "HPAYMT", "HOPERAT", "HRESCH", "ETREAT", "BTG", "PUBHLTH"} <= PURPOSES


@pytest.mark.parametrize(
    "action", [Permission.MODELS_READ, Permission.MODELS_WRITE, Permission.AUDIT_READ]
)
def test_other_actions_need_their_scope(make_principal, action) -> None:
    assert decide(make_principal(action.value), action=action, model=None).policy == "safe_harbor"
    assert refusal(make_principal(*SCOPES), action=action, model=None) == "scope-route"
