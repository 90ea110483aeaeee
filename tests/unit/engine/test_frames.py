from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.engine import frames
from wardgate.engine.frames import FRAME_BYTES, FrameInvalid, Kind, Reader, frame
from wardgate.errors import (
    EngineUnavailable,
    ModelUnknown,
    NoteExceedsModel,
    Overloaded,
    TokenInvalid,
)
from wardgate.types import Encoding, ModelId, Priority

ROWS = st.lists(
    st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=300), min_size=1, max_size=20
)


@given(ROWS, st.sampled_from(list(Priority)), st.text(max_size=60), st.integers(0, 2**32 - 1))
def test_infer_comes_out_as_it_went_in(rows, priority, model, budget_ms):
    body = frames.pack_infer(model, Encoding(tuple(rows)), priority, budget_ms / 1000 + 1e-9)
    found = frames.unpack_infer(body)
    assert found[:3] == (model, Encoding(tuple(rows)), priority)
    assert found[3] == pytest.approx(budget_ms / 1000, abs=0.0011)


def test_a_long_or_negative_budget_is_held_to_its_field():
    encoding = Encoding(([1],))
    for budget, expected in ((1e12, 0xFFFFFFFF / 1000), (-1.0, 0.0)):
        body = frames.pack_infer("m", encoding, Priority.BULK, budget)
        assert frames.unpack_infer(body)[3] == expected


@given(st.integers(1, 50), st.integers(1, 9))
def test_results_come_out_as_they_went_in(rows, columns):
    logits = np.random.default_rng(rows).normal(size=(rows, columns)).astype(np.float32)
    found = frames.unpack_result(frames.pack_result(logits))
    assert found.dtype == np.float32
    assert found.flags.writeable
    assert (found == logits).all()


@pytest.mark.parametrize(
    ("refusal", "cls", "retry"),
    [
        (Overloaded(retry_after=1.5), Overloaded, 1.5),
        (ModelUnknown(), ModelUnknown, None),
        (TokenInvalid(), EngineUnavailable, None),  # none of an engine's errors
    ],
)
def test_errors_travel_by_slug(refusal, cls, retry):
    found = frames.unpack_error(frames.pack_error(refusal))
    assert type(found) is cls
    assert found.retry_after == retry


def test_served_models_come_out_as_they_went_in():
    models = (ModelId("one", "1", "0" * 64), ModelId("two", "2", "f" * 64))
    assert frames.unpack_served(frames.pack_served(models)) == models


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Kind)), st.integers(0, 2**32 - 1), st.binary(max_size=80)),
        max_size=10,
    ),
    st.data(),
)
def test_frames_are_found_however_the_stream_is_cut(sent, data):
    stream = b"".join(frame(*each) for each in sent)
    reader, found = Reader(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert found == sent


@pytest.mark.parametrize(
    "stream",
    [
        b"\xff\xff\xff\xff\x01\x00\x00\x00\x00",  # larger than any frame
        b"\x04\x00\x00\x00\x01\x00\x00\x00\x00",  # shorter than its own head
        b"\x05\x00\x00\x00\x63\x00\x00\x00\x00",  # no such kind
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_a_stream_that_is_no_frame_is_refused(stream):
    with pytest.raises(FrameInvalid):
        list(Reader().feed(stream))


def test_a_frame_too_large_for_the_peer_is_refused_before_it_is_sent():
    with pytest.raises(NoteExceedsModel):
        frame(Kind.INFER, 1, b"\0" * FRAME_BYTES)


UNPACK = [
    frames.unpack_infer,
    frames.unpack_result,
    frames.unpack_error,
    frames.unpack_served,
]


@given(st.binary(max_size=64), st.sampled_from(UNPACK))
def test_any_bytes_are_a_value_or_an_invalid_frame(body, unpack):
    with suppress(FrameInvalid):
        unpack(body)


@pytest.mark.parametrize(
    "body",
    [
        frames.pack_infer("m", Encoding(([1, 2], [3])), Priority.BULK, 1.0)[:-4],
        frames.pack_infer("m", Encoding(([1, 2], [3])), Priority.BULK, 1.0) + b"\0\0\0\0",
        frames.pack_infer("m", Encoding(([1, 2], [3])), Priority.BULK, 1.0)[:-1],
        frames.pack_infer("m", Encoding(([],)), Priority.BULK, 1.0),
        frames.pack_infer("m", Encoding(()), Priority.BULK, 1.0),
        b"",
    ],
)
def test_rows_that_do_not_add_up_are_refused(body):
    with pytest.raises(FrameInvalid):
        frames.unpack_infer(body)
