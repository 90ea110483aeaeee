from __future__ import annotations

import datetime as dt
import secrets
import time

import pytest

from wardgate.deid import deidentify as deidentify_module
from wardgate.deid import detector as module
from wardgate.deid import policy as policies
from wardgate.deid.detector import Detector
from wardgate.errors import DeadlineExceeded, DetectorFailed, Overloaded, PolicyUnknown
from wardgate.types import PHI, RequestContext

NOTE = PHI("Dr. Smith saw Jane Doe. DOB: 07/28/1936")
CONTEXT = RequestContext()


def _make(policy="safe_harbor", *, inline_chars=8_192, processes=0):
    return Detector(
        policy,
        pseudonym_key=secrets.token_bytes(32),
        inline_chars=inline_chars,
        processes=processes,
    )


def _later(seconds=30.0):
    return time.monotonic() + seconds


@pytest.fixture
def today(monkeypatch):
    def freeze(day):
        monkeypatch.setattr(deidentify_module, "_today", lambda: day)

    return freeze


@pytest.mark.parametrize(
    ("default", "strengths"),
    [
        ("safe_harbor", {"safe_harbor": 0, "limited_data_set": -1, "expert_determination": -1}),
        ("limited_data_set", {"safe_harbor": 1, "limited_data_set": 0, "expert_determination": -1}),
        (
            "expert_determination",
            {"safe_harbor": 1, "limited_data_set": -1, "expert_determination": 0},
        ),
    ],
)
def test_strengths_against_the_default(default, strengths):
    assert _make(default).strengths == strengths


def test_unknown_policies():
    with pytest.raises(PolicyUnknown):
        _make("none_such")
    with pytest.raises(PolicyUnknown):
        _make().policy_hash("none_such")


@pytest.mark.parametrize("name", policies.shipped())
async def test_the_hash_in_the_reply_is_the_policys(name):
    detector = _make()
    reply = await detector.deidentify(NOTE, policy=name, context=CONTEXT, deadline=_later())
    assert reply.policy == name
    assert reply.policy_hash == detector.policy_hash(name) == policies.get(name).hash


async def test_no_reference_date_means_today(today):
    detector = _make()
    for day, tail in ((dt.date(2026, 7, 27), "1936"), (dt.date(2026, 7, 28), "[DATE]")):
        today(day)
        reply = await detector.deidentify(
            NOTE, policy="safe_harbor", context=CONTEXT, deadline=_later()
        )
        assert reply.text == f"Dr. [NAME] saw [NAME]. DOB: {tail}"


async def test_the_notes_own_date_goes_before_today(today):
    today(dt.date(2026, 7, 28))
    reply = await _make().deidentify(
        NOTE,
        policy="safe_harbor",
        context=RequestContext(reference_date=dt.date(2010, 1, 1)),
        deadline=_later(),
    )
    assert reply.text.endswith("DOB: 1936")


@pytest.mark.parametrize("failure", [DetectorFailed(), Overloaded(reason="deid-wait")])
async def test_a_failure_past_the_deadline_is_the_deadline(monkeypatch, failure):
    async def fail(*_, **__):
        raise failure

    monkeypatch.setattr(module.LongTextPool, "deidentify", fail)
    detector = _make()
    with pytest.raises(DeadlineExceeded):
        await detector.deidentify(
            NOTE, policy="safe_harbor", context=CONTEXT, deadline=time.monotonic() - 1
        )
    with pytest.raises(type(failure)):
        await detector.deidentify(NOTE, policy="safe_harbor", context=CONTEXT, deadline=_later())


async def test_a_long_text_goes_to_a_process_and_its_deadline_holds():
    detector = _make(inline_chars=10, processes=1)
    await detector.start()
    try:
        reply = await detector.deidentify(
            NOTE, policy="safe_harbor", context=CONTEXT, deadline=_later()
        )
        assert reply.text.startswith("Dr. [NAME] saw [NAME].")
        with pytest.raises(DeadlineExceeded):
            await detector.deidentify(
                NOTE, policy="safe_harbor", context=CONTEXT, deadline=time.monotonic()
            )
    finally:
        await detector.close()
    with pytest.raises(DetectorFailed):
        await detector.deidentify(NOTE, policy="safe_harbor", context=CONTEXT, deadline=_later())


async def test_pseudonyms_are_of_its_own_key():
    detector = _make()
    patient = PHI("p-1")
    assert detector.pseudonym(patient, tenant="a") == detector.pseudonym(patient, tenant="a")
    assert detector.pseudonym(patient, tenant="a") != _make().pseudonym(patient, tenant="a")
