from __future__ import annotations

import dataclasses
import datetime as dt
import io
import marshal

import pytest

from wardgate import Deidentifier
from wardgate.deid import policy as policies
from wardgate.deid.policyfile import parse_site
from wardgate.deid.process import (
    HEADER,
    READY,
    Answerer,
    lacks_policy,
    pack_policy,
    pack_request,
    serve,
    unpack_reply,
)

DETECTOR = Deidentifier()
LIMITED = policies.get("limited_data_set")
TEXT = "Dr. Smith saw Jane Doe on 3/14/2019 \ud800 \U0001f600"


def _body(frame):
    (size,) = HEADER.unpack(frame[: HEADER.size])
    assert len(frame) == HEADER.size + size
    return frame[HEADER.size :]


@pytest.mark.parametrize("reference", ["today", None, dt.date(2020, 1, 1)])
def test_a_reply_is_what_the_detector_says(reference):
    request = _body(pack_request(TEXT, LIMITED.hash, reference))
    found = unpack_reply(_body(Answerer(DETECTOR).answer(request)))
    assert found[:3] == DETECTOR.find(TEXT, LIMITED, reference)[:3]
    assert DETECTOR.finish(TEXT, found, LIMITED, "", None) == DETECTOR.deidentify(
        TEXT, policy="limited_data_set", reference_date=reference
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Jane Canary",
        marshal.dumps((1, 2)),
        marshal.dumps((b"x", LIMITED.hash, "Canary")),
        marshal.dumps(("{}", "null", "Canary")),
    ],
)
def test_a_fault_says_only_that(body):
    reply = _body(Answerer(DETECTOR).answer(body))
    assert b"Canary" not in reply
    assert unpack_reply(reply) is None


def test_a_policy_it_has_not_is_asked_for_and_taken_by_its_hash_alone():
    site = parse_site({"salt": "0" * 16, "deny": {"NAME": ["zzyzx"]}})
    policy = LIMITED.at(site)
    answerer = Answerer(DETECTOR)
    request = _body(pack_request("Met zzyzx.", policy.hash, "today"))
    assert lacks_policy(_body(answerer.answer(request)))
    other = dataclasses.replace(policy, hash="0" * 64)
    answerer.answer(_body(pack_policy(other)))
    assert lacks_policy(_body(answerer.answer(request)))
    assert lacks_policy(_body(answerer.answer(_body(pack_request("x", "0" * 64, "today")))))
    answerer.answer(_body(pack_policy(policy)))
    found = unpack_reply(_body(answerer.answer(request)))
    assert [c[:2] for c in found.spans] == [(4, 9)]


def test_serves_until_the_source_ends():
    frame = pack_request(TEXT, policies.get(None).hash, "today")
    sink = io.BytesIO()
    serve(io.BytesIO(frame + frame + frame[:9]), sink)
    sink.seek(0)
    replies = []
    while header := sink.read(HEADER.size):
        replies.append(sink.read(HEADER.unpack(header)[0]))
    assert replies[0] == READY
    plain = DETECTOR.find(TEXT, policies.get(None), "today")[:3]
    assert [unpack_reply(reply)[:3] for reply in replies[1:]] == [plain] * 2


def test_a_frame_too_large_ends_it():
    sink = io.BytesIO()
    serve(io.BytesIO(HEADER.pack((1 << 28) + 1) + b"x"), sink)
    assert sink.getvalue() == HEADER.pack(len(READY)) + READY
