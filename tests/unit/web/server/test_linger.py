import asyncio
import contextlib
import math

import httpx
import pytest
from h2.errors import ErrorCodes
from h2.events import (
    PingAckReceived,
    RemoteSettingsChanged,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import StreamClosedError
from hyperframe.frame import DataFrame

from wardgate.web.server.linger import Linger

FIELDS = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":authority", b"h"),
    (b":path", b"/early"),
]


# -- the bounds ------------------------------------------------------------------------------------


def test_each_stream_has_its_time():
    linger = Linger(2.0, 100)
    assert not linger
    assert linger.deadline == math.inf
    linger.begin(1, now=10.0)
    linger.begin(3, now=11.0)
    assert linger
    assert 1 in linger
    assert 5 not in linger
    assert linger.deadline == 12.0
    assert linger.overdue(11.9) == []
    assert linger.overdue(12.0) == [1]
    linger.end(1)
    assert linger.deadline == 13.0
    linger.end(3)
    linger.end(3)
    assert not linger


def test_streams_that_linger_at_one_time_share_the_bytes():
    linger = Linger(2.0, 100)
    linger.begin(1, now=0.0)
    linger.begin(3, now=0.0)
    assert linger.drop(1, 60)
    assert linger.drop(3, 40)
    assert not linger.drop(3, 1)
    linger.end(1)
    assert linger.drop(3, 59)
    assert not linger.drop(3, 1)


# -- over real connections -------------------------------------------------------------------------


class Refusal:
    """An application that answers 401 before it looks at the body."""

    def __init__(self):
        self.received = None

    async def __call__(self, scope, receive, send):
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"no"})
        self.received = await receive()


async def begin(wire):
    """Send a request's head to /early, its body to come."""
    await wire.until(RemoteSettingsChanged)
    stream = wire.h2.get_next_available_stream_id()
    wire.h2.send_headers(stream, FIELDS)
    wire.flush()
    return stream


async def pour(wire, stream):
    """Send body until the server resets the stream; return the reset and the bytes sent."""
    sent = 0
    event = None
    while not isinstance(event, StreamReset):
        with contextlib.suppress(StreamClosedError):  # the reset has come with other frames
            while size := min(wire.h2.local_flow_control_window(stream), 16_384):
                wire.h2.send_data(stream, bytes(size))
                sent += size
            wire.flush()
        event = await wire.until((WindowUpdated, StreamReset))
    return event, sent


@pytest.mark.parametrize("size", [100_000, 1_000_000])
async def test_early_refusal_reaches_a_client_that_still_sends(serve, authority, size):
    app = Refusal()
    server = await serve(app, tls=authority.files())
    url = "https://{}:{}".format(*server.address)
    async with httpx.AsyncClient(http2=True, verify=authority.client(), base_url=url) as client:
        for _ in range(20):
            reply = await client.post("/", content=bytes(size))
            assert (reply.status_code, reply.http_version) == (401, "HTTP/2")
            assert reply.content == b"no"
            assert app.received == {"type": "http.disconnect"}
        assert server.connections == 1


async def test_many_early_refusals_at_once(serve, authority):
    server = await serve(Refusal(), tls=authority.files())
    url = "https://{}:{}".format(*server.address)
    async with httpx.AsyncClient(http2=True, verify=authority.client(), base_url=url) as client:
        replies = await asyncio.gather(
            *(client.post("/", content=bytes(200_000)) for _ in range(20))
        )
    assert {reply.status_code for reply in replies} == {401}


async def test_refusal_of_the_server_reaches_a_client_that_still_sends(serve, authority):
    server = await serve(tls=authority.files(), header_bytes=2048)
    url = "https://{}:{}".format(*server.address)
    async with httpx.AsyncClient(http2=True, verify=authority.client(), base_url=url) as client:
        for _ in range(5):
            reply = await client.post("/", content=bytes(200_000), headers={"x": "a" * 3000})
            assert reply.status_code == 431


async def test_endless_body_is_cut_at_the_bytes(serve, authority, connect2):
    server = await serve(tls=authority.files(), linger_seconds=30, linger_bytes=200_000)
    wire = await connect2(server)
    stream = await begin(wire)
    reset, sent = await pour(wire, stream)
    assert reset.error_code == ErrorCodes.NO_ERROR
    assert 200_000 < sent <= 200_000 + 2 * 65_535  # what was on its way before and at the end
    assert (await wire.ask()).status == 200  # the connection stays


async def test_body_that_does_not_end_is_cut_in_time(serve, authority, connect2):
    server = await serve(tls=authority.files(), linger_seconds=0.2)
    wire = await connect2(server)
    stream = await begin(wire)
    assert (await wire.reply(stream)).status == 413
    assert (await wire.until(StreamReset, stream)).error_code == ErrorCodes.NO_ERROR
    assert (await wire.ask()).status == 200


async def test_lingering_stream_keeps_no_idle_connection(serve, authority, connect2):
    server = await serve(tls=authority.files(), linger_seconds=0.2, idle_seconds=0.4)
    wire = await connect2(server)
    stream = await begin(wire)
    assert (await wire.until(StreamReset, stream)).error_code == ErrorCodes.NO_ERROR
    assert (await wire.end()).error_code == ErrorCodes.NO_ERROR


async def test_flood_on_a_lingering_stream(serve, authority, connect2):
    server = await serve(tls=authority.files(), linger_seconds=30)
    wire = await connect2(server)
    stream = await begin(wire)
    await wire.until(StreamEnded, stream)
    wire.writer.write(DataFrame(stream).serialize() * 300)
    assert (await wire.end()).error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_drain_lets_a_lingering_stream_end(serve, authority, connect2):
    server = await serve(tls=authority.files(), linger_seconds=30)
    wire = await connect2(server)
    stream = await begin(wire)
    assert (await wire.reply(stream)).status == 413
    drained = asyncio.create_task(server.drain(10))
    wire.h2.ping(b"12345678")
    wire.flush()
    await wire.until(PingAckReceived)  # the drain has begun, and nothing was closed
    wire.h2.send_data(stream, bytes(10_000), end_stream=True)
    wire.flush()
    assert (await wire.end()).error_code == ErrorCodes.NO_ERROR
    await wire.close()
    assert await drained == 0
