from __future__ import annotations

import copy
import itertools
import json
from importlib import resources

import pytest

from wardgate.deid import policy
from wardgate.deid.site import NONE, Site
from wardgate.errors import PolicyUnknown
from wardgate.types import EntityType


@pytest.fixture
def document():
    path = resources.files("wardgate.deid") / "data/policies/safe_harbor.json"
    return json.loads(path.read_bytes())


def test_which_policies_are_shipped_and_safe_harbor_is_the_default():
    assert set(policy.shipped()) == {
        "safe_harbor",
        "safe_harbor_vault",
        "limited_data_set",
        "expert_determination",
    }
    assert policy.get(None).name == policy.DEFAULT == "safe_harbor"


def test_unknown_name_is_refused():
    with pytest.raises(PolicyUnknown):
        policy.get("none_such")


def test_hash_is_of_the_content_and_not_of_the_layout(document):
    reordered = dict(reversed(document.items()))
    assert policy.parse(reordered).hash == policy.parse(document).hash == policy.get(None).hash
    document["actions"]["DATE"] = "redact"
    assert policy.parse(document).hash != policy.get(None).hash
    assert len({p.hash for p in policy.shipped().values()}) == len(policy.shipped())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(extra=1), "unknown: extra"),
        (lambda d: d.pop("source"), "missing: source"),
        (lambda d: d["actions"].pop("NAME"), "missing: NAME"),
        (lambda d: d["actions"].update(NAMES="redact"), "unknown: NAMES"),
        (lambda d: d["actions"].update(NAME="encrypt"), "NAME is none of"),
        (lambda d: d["actions"].update(NAME="mask"), "NAME: a safe_harbor policy"),
        (lambda d: d["actions"].update(NAME="shift"), "no date to shift"),
        (lambda d: d["actions"].update(NAME="fpe"), "no format"),
        (lambda d: d["actions"].update(DATE="surrogate"), "no surrogates"),
        (lambda d: d["actions"].update({"LOCATION.CITY": "vault"}), "one kind of place"),
        (lambda d: d.update(standard="hipaa"), "safe_harbor alone"),
        (lambda d: d.update(name="A b"), "a to z"),
        (lambda d: d.update(project=""), "a to z"),
        (lambda d: d.update(shift={"days": 89}), "from 90"),
        (lambda d: d.update(shift={"days": True}), "from 90"),
        (lambda d: d.update(shift={"weekdays": 1}), "true or false"),
        (lambda d: d.update(shift={"weeks": 1}), "no other"),
        (lambda d: d["actions"].update(NAME="generalize"), "no generalised form"),
        (lambda d: d.update(actions=[]), "JSON object"),
        (lambda d: d.update(name=1), "strings"),
    ],
)
def test_a_wrong_document_is_refused_with_the_reason(document, change, reason):
    wrong = copy.deepcopy(document)
    change(wrong)
    with pytest.raises(policy.Wrong, match=reason):
        policy.parse(wrong)


def test_a_document_is_an_object():
    with pytest.raises(policy.Wrong):
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


DERIVED = ["keep", "shift", "fpe", "surrogate", "pseudonym", "mask"]


@pytest.mark.parametrize("action", DERIVED)
def test_what_keeps_or_derives_is_never_safe_harbor_and_is_weaker_than_it(document, action):
    kind = {"shift": "DATE", "fpe": "MRN"}.get(action, "NAME")
    document["actions"][kind] = action
    with pytest.raises(policy.Wrong, match="safe_harbor") as refused:
        policy.parse(document)
    assert refused.value.path == ("actions", kind)
    del document["standard"]
    parsed = policy.parse(document)
    assert not parsed.standard
    assert parsed.weaker_than(policy.get("safe_harbor"))
    assert parsed.derives is (action != "keep")


def test_the_actions_from_weakest_to_strongest(document):
    del document["standard"]
    order = [*DERIVED, "generalize", "vault", "redact"]
    assert [str(action) for action in policy.Action] == order
    ranked = []
    for action in ("keep", "shift", "pseudonym", "mask", "generalize", "vault", "redact"):
        document["actions"]["DATE"] = action
        ranked.append(policy.parse(document))
    for weak, strong in itertools.pairwise(ranked):
        assert weak.weaker_than(strong)
        assert not strong.weaker_than(weak)


def test_vault_codes_can_be_safe_harbor_and_say_for_which_types(document):
    document["actions"]["NAME"] = "vault"
    parsed = policy.parse(document)
    assert parsed.standard == "safe_harbor"
    assert parsed.vaulted == {EntityType.NAME}
    assert not parsed.derives
    assert parsed.weaker_than(policy.get("safe_harbor"))


def test_the_hash_covers_what_a_site_adds():
    plain = policy.get(None)
    one, two = plain.at(Site(digest="1")), plain.at(Site(digest="2"))
    assert len({plain.hash, one.hash, two.hash}) == 3
    assert plain.at(NONE) is plain


def test_the_expert_policy_derives_and_says_no_standard():
    expert = policy.get("expert_determination")
    assert expert.derives
    assert not expert.standard
    assert expert.source == "45 CFR 164.514(b)(1)"
    for kind in ("SSN", "BIOMETRIC", "PHOTO"):
        assert expert.actions[kind] is policy.Action.REDACT
