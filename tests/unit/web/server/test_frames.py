import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st

from wardgate.web.server.frames import PREFACE, FrameWatch


def watch(*frames):
    follower = FrameWatch()
    follower.feed(PREFACE)
    for frame in frames:
        follower.feed(frame.serialize())
    return follower


def test_preface_is_partial_until_whole():
    follower = FrameWatch()
    for byte in PREFACE:
        assert follower.partial
        follower.feed(bytes([byte]))
    assert not follower.partial
    assert follower.strikes == 0


@pytest.mark.parametrize(
    ("frame", "strikes"),
    [
        (DataFrame(1, b"a"), 0),
        (DataFrame(1, b"", flags=["END_STREAM"]), 0),
        (DataFrame(1, b""), 5),
        (HeadersFrame(1, b"a", flags=["END_HEADERS"]), 0),
        (HeadersFrame(1, b""), 10),
        (ContinuationFrame(1, b""), 10),
        (PriorityFrame(1, depends_on=0), 1),
        (RstStreamFrame(1), 5),
        (SettingsFrame(0), 5),
        (PingFrame(0), 2),
        (WindowUpdateFrame(0, window_increment=1), 1),
        (ExtensionFrame(type=0xAA, stream_id=0), 1),
    ],
)
def test_cost_of_a_frame(frame, strikes):
    assert watch(frame).strikes == strikes


def test_header_block_is_partial_until_its_last_frame():
    follower = watch(HeadersFrame(1, b"abc"))
    assert follower.partial
    follower.feed(ContinuationFrame(1, b"d").serialize())
    assert follower.partial
    follower.feed(ContinuationFrame(1, b"e", flags=["END_HEADERS"]).serialize())
    assert not follower.partial


def test_half_a_data_frame_is_not_partial_but_half_of_another_is():
    assert not FrameWatch.partial.fget(half(DataFrame(1, b"abc")))
    assert half(PingFrame(0)).partial
    assert half(DataFrame(1, b""), keep=5).partial  # half of a frame header


def half(frame, keep=11):
    follower = watch()
    follower.feed(frame.serialize()[:keep])
    return follower


@given(st.data())
def test_cuts_between_bytes_change_nothing(data):
    client = H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    head = [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/")]
    for stream in (1, 3, 5):
        client.send_headers(stream, head)
        client.send_data(stream, b"a" * data.draw(st.integers(0, 300)), end_stream=True)
        client.ping(b"12345678")
    wire = client.data_to_send()
    whole = FrameWatch()
    whole.feed(wire)
    pieces = FrameWatch()
    at = 0
    while at < len(wire):
        step = data.draw(st.integers(1, 60))
        pieces.feed(wire[at : at + step])
        at += step
    assert pieces.strikes == whole.strikes
    assert not pieces.partial
    assert not whole.partial
