from __future__ import annotations

import datetime as dt
import io
import marshal

import pytest

from wardgate import Deidentifier
from wardgate.deid.process import HEADER, READY, answer, pack_request, serve, unpack_reply

DETECTOR = Deidentifier()
TEXT = "Dr. Smith saw Jane Doe on 3/14/2019 \ud800 \U0001f600"


def _body(frame):
    (size,) = HEADER.unpack(frame[: HEADER.size])
    assert len(frame) == HEADER.size + size
    return frame[HEADER.size :]


@pytest.mark.parametrize("reference", ["today", None, dt.date(2020, 1, 1)])
def test_a_reply_is_what_the_detector_says(reference):
    request = _body(pack_request(TEXT, "limited_data_set", reference))
    result = unpack_reply(_body(answer(DETECTOR, request)))
    assert result == DETECTOR.deidentify(TEXT, policy="limited_data_set", reference_date=reference)


@pytest.mark.parametrize(
    "body",
    [b"", b"Jane Canary", marshal.dumps((1, 2, 3)), marshal.dumps((b"x", "none_such", "today"))],
)
def test_a_fault_says_only_that(body):
    reply = _body(answer(DETECTOR, body))
    assert b"Canary" not in reply
    assert unpack_reply(reply) is None


def test_serves_until_the_source_ends():
    frame = pack_request(TEXT, None, "today")
    sink = io.BytesIO()
    serve(io.BytesIO(frame + frame + frame[:9]), sink)
    sink.seek(0)
    replies = []
    while header := sink.read(HEADER.size):
        replies.append(sink.read(HEADER.unpack(header)[0]))
    assert replies[0] == READY
    assert [unpack_reply(reply) for reply in replies[1:]] == [DETECTOR.deidentify(TEXT)] * 2


def test_a_frame_too_large_ends_it():
    sink = io.BytesIO()
    serve(io.BytesIO(HEADER.pack((1 << 28) + 1) + b"x"), sink)
    assert sink.getvalue() == HEADER.pack(len(READY)) + READY
