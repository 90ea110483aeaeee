from __future__ import annotations

import datetime as dt
import json
import secrets
import time

import pytest

from wardgate.deid import deidentify as deidentify_module
from wardgate.deid import detector as module
from wardgate.deid import policy as policies
from wardgate.deid.detector import Detector
from wardgate.deid.policyfile import read, shipped
from wardgate.errors import (
    DeadlineExceeded,
    DetectorFailed,
    Overloaded,
    PolicyUnknown,
)
from wardgate.types import PHI, RequestContext

NOTE = PHI("Dr. Smith saw Jane Doe. DOB: 07/28/1936")
CONTEXT = RequestContext()


def _make(policy="safe_harbor", *, inline_chars=8_192, processes=0, **more):
    return Detector(
        policy,
        pseudonym_key=secrets.token_bytes(32),
        inline_chars=inline_chars,
        processes=processes,
        **more,
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
    assert _make(default).strengths == {**strengths, "safe_harbor_vault": -1}


def test_unknown_policies():
    with pytest.raises(PolicyUnknown):
        _make("none_such")
    with pytest.raises(PolicyUnknown):
        _make().policy_hash("none_such")


@pytest.mark.parametrize("name", policies.shipped())
async def test_the_hash_in_the_reply_is_the_policys(name):
    detector = _make(vault=True)
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


# -- policies of the site -------------------------------------------------------------------------

SITE = """
salt = "0123456789abcdef"
[deny]
NAME = ["aspirin"]
"""


def _site(folder, *, deny="aspirin", name="own"):
    document = {**policies.get("safe_harbor").document, "name": name}
    (folder / f"{name}.json").write_text(json.dumps(document))
    (folder / "site.toml").write_text(SITE.replace("aspirin", deny))


async def test_a_sites_policies_stand_beside_the_shipped_ones(tmp_path):
    _site(tmp_path)
    detector = _make("own", catalog=read(tmp_path))
    assert detector.strengths["own"] == 0
    assert detector.strengths["safe_harbor"] == 1
    assert detector.safe_harbor == {"own", "safe_harbor", "safe_harbor_vault"}
    for name in ("own", "safe_harbor"):
        reply = await detector.deidentify(
            PHI("Met aspirin."), policy=name, context=CONTEXT, deadline=_later()
        )
        assert reply.text == "Met [NAME]."
        assert reply.policy_hash == detector.policy_hash(name)
    assert detector.policy_hash("safe_harbor") != policies.get("safe_harbor").hash


@pytest.mark.parametrize("processes", [0, 1])
async def test_a_change_is_for_what_is_decided_after_it(tmp_path, processes):
    _site(tmp_path)
    detector = _make("own", catalog=read(tmp_path), inline_chars=5, processes=processes)
    await detector.start()
    try:
        old = detector.policy_hash("own")
        strengths = detector.strengths

        async def said(**more):
            reply = await detector.deidentify(
                PHI("Met aspirin and metformin."),
                policy="own",
                context=CONTEXT,
                deadline=_later(),
                **more,
            )
            return reply.text, reply.policy_hash

        assert await said() == ("Met [NAME] and metformin.", old)
        _site(tmp_path, deny="metformin")
        _site(tmp_path, deny="metformin", name="other")
        detector.take(read(tmp_path))
        new = detector.policy_hash("own")
        assert await said() == ("Met aspirin and [NAME].", new)
        # what was decided on before the change ends under what was decided
        assert await said(policy_hash=old) == ("Met [NAME] and metformin.", old)
        assert strengths["other"] == 1
    finally:
        await detector.close()


def test_the_default_cannot_go(tmp_path):
    _site(tmp_path)
    detector = _make("own", catalog=read(tmp_path))
    with pytest.raises(PolicyUnknown):
        detector.take(shipped())
    assert detector.strengths["own"] == 0


async def test_patient_and_tenant_reach_what_is_derived_also_in_a_process():
    secret = secrets.token_bytes(32)
    note = PHI("Dr. Smith saw Jane Doe on 3/14/2019. MRN: 1234567")
    replies = {}
    for processes in (0, 1):
        detector = _make(inline_chars=10, processes=processes, secret=secret)
        await detector.start()
        try:
            for tenant in ("a", "b"):
                for patient in (None, "p", "q"):
                    context = RequestContext(patient=PHI(patient) if patient else None)
                    reply = await detector.deidentify(
                        note,
                        policy="expert_determination",
                        context=context,
                        tenant=tenant,
                        deadline=_later(),
                    )
                    replies[processes, tenant, patient] = reply
        finally:
            await detector.close()
    texts = {key: reply.text for key, reply in replies.items()}
    assert len({texts[0, t, p] for t in "ab" for p in (None, "p", "q")}) == 6
    for (processes, tenant, patient), reply in replies.items():
        assert reply == replies[0, tenant, patient], processes
        assert "Smith" not in reply.text
