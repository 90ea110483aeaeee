from __future__ import annotations

import copy
import json
from importlib import resources

import pytest

from wardgate.deid import policy
from wardgate.errors import PolicyUnknown, SettingsInvalid
from wardgate.types import EntityType


@pytest.fixture
def document():
    path = resources.files("wardgate.deid") / "data/policies/safe_harbor.json"
    return json.loads(path.read_bytes())


def test_three_policies_are_shipped_and_safe_harbor_is_the_default():
    assert set(policy.shipped()) == {"safe_harbor", "limited_data_set", "expert_determination"}
    assert policy.get(None).name == policy.DEFAULT == "safe_harbor"


def test_unknown_name_is_refused():
    with pytest.raises(PolicyUnknown):
        policy.get("none_such")


def test_hash_is_of_the_content_and_not_of_the_layout(document):
    reordered = dict(reversed(document.items()))
    assert policy.parse(reordered).hash == policy.parse(document).hash == policy.get(None).hash
    document["actions"]["DATE"] = "redact"
    assert policy.parse(document).hash != policy.get(None).hash
    assert len({p.hash for p in policy.shipped().values()}) == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(extra=1), "unknown: extra"),
        (lambda d: d.pop("source"), "missing: source"),
        (lambda d: d["actions"].pop("NAME"), "missing: NAME"),
        (lambda d: d["actions"].update(NAMES="redact"), "unknown: NAMES"),
        (lambda d: d["actions"].update(NAME="mask"), "NAME is none of"),
        (lambda d: d["actions"].update(NAME="generalize"), "no generalised form"),
        (lambda d: d.update(actions=[]), "JSON object"),
        (lambda d: d.update(name=1), "strings"),
    ],
)
def test_a_wrong_document_is_refused_with_the_reason(document, change, reason):
    wrong = copy.deepcopy(document)
    change(wrong)
    with pytest.raises(SettingsInvalid, match=reason):
        policy.parse(wrong)


def test_a_document_is_an_object():
    with pytest.raises(SettingsInvalid):
        policy.parse([])


def test_weaker_than():
    safe, limited, expert = (
        policy.get(n) for n in ("safe_harbor", "limited_data_set", "expert_determination")
    )
    assert limited.weaker_than(safe)
    assert expert.weaker_than(safe)
    assert not safe.weaker_than(limited)
    assert not safe.weaker_than(safe)


def test_a_location_of_no_kind_is_redacted_everywhere():
    for each in policy.shipped().values():
        assert each.action(EntityType.LOCATION, None) is policy.Action.REDACT


MAY_STAY = {
    # 45 CFR 164.514(e)(2): a limited data set excludes the listed direct identifiers; it may hold
    # dates, ages, and of an address town or city, State and ZIP code.
    "limited_data_set": {"DATE", "AGE", "LOCATION.CITY", "LOCATION.ZIP"},
    # 45 CFR 164.514(b)(1): what an expert finds to carry a very small risk; never a direct identifier.
    "expert_determination": {"LOCATION.COUNTY"},
    # 45 CFR 164.514(b)(2)(i)
    "safe_harbor": set(),
}


@pytest.mark.parametrize("name", MAY_STAY)
def test_no_policy_keeps_more_than_its_rule_allows(name):
    actions = policy.get(name).actions
    assert {kind for kind, action in actions.items() if action is policy.Action.KEEP} == MAY_STAY[
        name
    ]
