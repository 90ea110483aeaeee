"""De-identification as the flow uses it: policies by strength, reference dates, deadlines."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from wardgate.deid.detector import Detector
from wardgate.deid.policy import get, shipped
from wardgate.errors import PolicyUnknown
from wardgate.types import PHI, RequestContext


def detector(policy: str = "safe_harbor", **options: int) -> Detector:
    return Detector(
        policy, pseudonym_key=bytes(32), **{"inline_chars": 8_192, "processes": 0, **options}
    )


async def clean(made: Detector, text: str, policy: str = "safe_harbor", **context) -> str:
    found = await made.deidentify(
        PHI(text),
        policy=policy,
        context=RequestContext(**context),
        deadline=time.monotonic() + 30,
    )
    assert found.policy == policy
    assert found.policy_hash == made.policy_hash(policy)
    return found.text


async def test_the_policy_that_was_decided_is_applied() -> None:
    made = detector()
    await made.start()
    text = "Dr. Amy Lee, seen 03/14/2024."
    strict = await clean(made, text)
    weaker = await clean(made, text, "limited_data_set")
    await made.close()
    assert "Amy" not in strict + weaker
    assert "03/14" not in strict
    assert "03/14/2024" in weaker


async def test_the_notes_own_date_decides_which_years_show_an_age_over_89() -> None:
    made = detector()
    await made.start()
    text = "DOB 04/05/1931"
    long_ago = await clean(made, text, reference_date=dt.date(1990, 1, 1))
    lately = await clean(made, text, reference_date=dt.date(2024, 1, 1))
    await made.close()
    assert "1931" in long_ago
    assert "1931" not in lately


async def test_a_long_text_goes_to_a_process_and_comes_back_the_same() -> None:
    made = detector(inline_chars=256, processes=1)
    await made.start()
    text = "Dr. Amy Lee called. " * 20
    found = await clean(made, text)
    await made.close()
    assert found == text.replace("Amy Lee", "[NAME]")


def test_an_unknown_policy_is_refused_at_once() -> None:
    with pytest.raises(PolicyUnknown):
        detector("none")
    with pytest.raises(PolicyUnknown):
        detector().policy_hash("none")


@pytest.mark.parametrize("default", sorted(shipped()))
def test_strength_is_measured_against_the_default(default) -> None:
    strengths = detector(default).strengths
    assert strengths.keys() == shipped().keys()
    assert strengths[default] == 0
    for name, strength in strengths.items():
        if name != default:
            assert (strength < 0) == get(name).weaker_than(get(default))


def test_nothing_shipped_is_as_strong_as_safe_harbor() -> None:
    strengths = detector().strengths
    assert {name for name, strength in strengths.items() if strength >= 0} == {"safe_harbor"}


def test_pseudonyms_are_made_under_the_detectors_key() -> None:
    one = detector().pseudonym(PHI("patient-7"), tenant="north")
    assert one == detector().pseudonym(PHI("patient-7"), tenant="north")
    assert "patient" not in one
