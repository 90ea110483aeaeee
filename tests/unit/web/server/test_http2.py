import asyncio
import json

import httpx
import pytest
from h2.errors import ErrorCodes
from h2.events import (
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, PriorityFrame


def is_problem(reply, slug, status):
    document = json.loads(reply.body)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert document["type"] == f"urn:wardgate:problem:{slug}"
    return True


@pytest.fixture
async def server(serve, authority):
    return await serve(tls=authority.files())


# -- requests that are served ------------------------------------------------------------------------


async def test_real_client(server, authority):
    url = "https://{}:{}".format(*server.address)
    async with httpx.AsyncClient(http2=True, verify=authority.client(), base_url=url) as client:
        for size in (1, 1000, 3_000_000):
            reply = await client.post("/echo", content=b"a" * size)
            assert (reply.status_code, reply.http_version) == (200, "HTTP/2")
            assert len(reply.content) == size
        assert len((await client.get("/big")).content) == 3_000_000
        replies = await asyncio.gather(
            *(client.post("/echo", content=str(i).encode() * 1000) for i in range(60))
        )
        assert [reply.text for reply in replies] == [str(i) * 1000 for i in range(60)]


async def test_scope_is_that_of_http1(server, connect2, recorder):
    wire = await connect2(server)
    reply = await wire.ask(b"/a%20b?q=1", headers=[(b"x-one", b"1")])
    assert reply.status == 200
    assert reply.headers["date"].endswith("GMT")
    scope = recorder.scopes[0]
    assert scope["method"] == "GET"
    assert scope["path"] == "/a b"
    assert scope["raw_path"] == b"/a%20b"
    assert scope["query_string"] == b"q=1"
    assert scope["scheme"] == "https"
    assert scope["http_version"] == "2"
    assert scope["headers"] == [(b"host", b"localhost"), (b"x-one", b"1")]
    assert scope["extensions"]["tls"]["client_cert_chain"] == []


# -- pace --------------------------------------------------------------------------------------------


async def test_no_window_before_the_application_reads(server, connect2, recorder):
    wire = await connect2(server)
    await wire.until(RemoteSettingsChanged)
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"h"),
        (b":path", b"/gate"),
    ]
    stream = wire.h2.get_next_available_stream_id()
    wire.h2.send_headers(stream, fields)
    wire.flush()
    sent = 0
    while window := wire.h2.local_flow_control_window(stream):
        size = min(window, 16384)
        wire.h2.send_data(stream, b"a" * size)
        sent += size
    wire.h2.ping(b"12345678")
    wire.flush()
    await wire.until(PingAckReceived)  # the server has seen all of it
    assert sent == 65535
    assert wire.h2.local_flow_control_window(stream) == 0
    assert not [event for event in wire.events if isinstance(event, WindowUpdated)]
    recorder.gate.set()
    await wire.until(WindowUpdated, stream)
    wire.h2.end_stream(stream)
    wire.flush()
    assert len((await wire.reply(stream)).body) == sent


async def test_window_of_unread_bodies_comes_back(server, connect2):
    wire = await connect2(server)
    await wire.until(RemoteSettingsChanged)
    for _ in range(8):  # 8 times 40 kB is more than the connection's window
        stream = wire.h2.get_next_available_stream_id()
        fields = [
            (b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"h"), (b":path", b"/early"),
        ]  # fmt: skip
        wire.h2.send_headers(stream, fields)
        for _ in range(4):
            wire.h2.send_data(stream, b"a" * 10_000)
        wire.flush()
        response = await wire.until(ResponseReceived, stream)
        wire.h2.end_stream(stream)
        assert (b":status", b"413") in response.headers
        while wire.h2.outbound_flow_control_window < 40_000:
            await wire.until(WindowUpdated, 0)


async def test_caller_who_gives_no_window_is_waited_for_in_bounds(serve, authority, connect2):
    server = await serve(tls=authority.files(), idle_seconds=0.3)
    wire = await connect2(server)
    await wire.until(RemoteSettingsChanged)
    wire.acknowledge = False
    stream = wire.request(b"/big")
    await wire.until(ResponseReceived, stream)
    reset = await wire.until(StreamReset, stream)
    assert reset.error_code == ErrorCodes.INTERNAL_ERROR


async def test_reset_stream_is_a_disconnect(server, connect2, recorder):
    wire = await connect2(server)
    stream = wire.request(b"/wait", method=b"POST", body=b"note")
    await recorder.until(lambda: recorder.bodies)
    wire.h2.reset_stream(stream, ErrorCodes.CANCEL)
    wire.flush()
    await recorder.until(lambda: recorder.disconnects == 1)
    assert (await wire.ask()).status == 200


async def test_closed_connection_is_a_disconnect_for_every_stream(server, connect2, recorder):
    wire = await connect2(server)
    for _ in range(3):
        wire.request(b"/wait", method=b"POST", body=b"note")
    await recorder.until(lambda: len(recorder.bodies) == 3)
    wire.writer.transport.abort()
    await recorder.until(lambda: recorder.disconnects == 3)


# -- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {b":path": b"http://other/"},
        {b":path": b"echo"},
        {b":path": b"/a b"},
        {b":path": b"/a#b"},
        {b":path": b"*"},
        {b":scheme": b"http"},
        {b":method": b"get"},
        {b":authority": b"a@b"},
        {b":authority": b""},
    ],
)
async def test_head_that_is_malformed(server, connect2, recorder, changes):
    wire = await connect2(server, validate_outbound_headers=False)
    fields = {
        b":method": b"GET", b":scheme": b"https", b":authority": b"localhost", b":path": b"/echo",
    } | changes  # fmt: skip
    reply = await wire.reply(wire.request(fields=list(fields.items())))
    assert is_problem(reply, "request-malformed", 400)
    assert recorder.scopes == []
    assert (await wire.ask()).status == 200


@pytest.mark.parametrize(
    "extra",
    [
        (b"connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"X-Upper", b"1"),
        (b"te", b"gzip"),
        (b":path", b"/second"),
        (b":unknown", b"1"),
        (b"host", b"other"),
        (b"x-break", b"a\r\nb: c"),
    ],
)
async def test_head_that_h2_refuses_ends_the_connection(server, connect2, recorder, extra):
    wire = await connect2(server, validate_outbound_headers=False, normalize_outbound_headers=False)
    wire.request(headers=[extra])
    end = await wire.end()
    assert end.error_code == ErrorCodes.PROTOCOL_ERROR
    await wire.closed()
    assert recorder.scopes == []


async def test_body_of_another_length_ends_the_connection(server, connect2, recorder):
    wire = await connect2(server)
    wire.request(method=b"POST", body=b"abc", headers=[(b"content-length", b"2")])
    assert (await wire.end()).error_code == ErrorCodes.PROTOCOL_ERROR
    await wire.closed()
    await recorder.until(lambda: recorder.disconnects == len(recorder.scopes))
    assert recorder.bodies == []


async def test_head_above_the_limit_is_431_and_far_above_it_the_end(
    serve, authority, connect2, recorder
):
    server = await serve(tls=authority.files(), header_bytes=2048)
    wire = await connect2(server)
    reply = await wire.ask(headers=[(b"x", b"a" * 3000)])
    assert is_problem(reply, "headers-too-large", 431)
    wire.request(headers=[(b"x", b"a" * 10_000)])
    assert (await wire.end()).error_code == ErrorCodes.ENHANCE_YOUR_CALM
    assert recorder.scopes == []


async def test_more_streams_than_allowed_are_refused(serve, authority, connect2, recorder):
    server = await serve(tls=authority.files(), streams=3)
    wire = await connect2(server)
    await wire.until(RemoteSettingsChanged)
    streams = [wire.request(b"/gate") for _ in range(3)]
    await recorder.until(lambda: len(recorder.scopes) == 3)
    wire.h2.reset_stream(streams[0], ErrorCodes.CANCEL)  # counts while its application runs
    late = wire.request()
    reset = await wire.until(StreamReset, late)
    assert reset.error_code == ErrorCodes.REFUSED_STREAM
    recorder.gate.set()
    await recorder.until(lambda: recorder.disconnects == 1)
    assert len(recorder.scopes) == 3
    assert (await wire.ask()).status == 200


async def test_surplus_connection_is_told_503(serve, authority, connect2):
    server = await serve(tls=authority.files(), connections=1)
    kept = await connect2(server)
    assert (await kept.ask()).status == 200
    wire = await connect2(server)
    reply = await wire.ask(method=b"POST", body=b"abc")
    assert is_problem(reply, "overloaded", 503)


async def test_fault_is_a_500_without_words(server, connect2, caplog):
    wire = await connect2(server)
    for path in (b"/boom", b"/silent", b"/short"):
        reply = await wire.ask(path)
        assert is_problem(reply, "internal", 500)
        assert b"secret" not in reply.body
    assert "secret" not in caplog.text


# -- floods --------------------------------------------------------------------------------------------


async def flood(wire, frames):
    """Send frames until the server gives up; return its GOAWAY."""
    with_room = asyncio.create_task(wire.end())
    try:
        for frame in frames:
            wire.writer.write(frame)
            if with_room.done():
                break
            await wire.writer.drain()
            await asyncio.sleep(0)
    except (ConnectionError, ProtocolError):  # the server has said GOAWAY
        pass
    return await with_room


async def test_rapid_reset(server, connect2, recorder):
    wire = await connect2(server)
    await wire.until(RemoteSettingsChanged)

    def frames():
        for _ in range(5000):
            stream = wire.h2.get_next_available_stream_id()
            fields = [
                (b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"h"), (b":path", b"/gate"),
            ]  # fmt: skip
            wire.h2.send_headers(stream, fields, end_stream=True)
            wire.h2.reset_stream(stream, ErrorCodes.CANCEL)
            yield wire.h2.data_to_send()

    end = await flood(wire, frames())
    assert end.error_code == ErrorCodes.ENHANCE_YOUR_CALM
    assert len(recorder.scopes) <= 100


@pytest.mark.parametrize("kind", ["ping", "settings", "empty data", "priority"])
async def test_flood_of_frames_that_cost_nothing(server, connect2, kind):
    wire = await connect2(server)
    await wire.until(RemoteSettingsChanged)
    stream = wire.h2.get_next_available_stream_id()
    wire.h2.send_headers(
        stream,
        [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", b"h"),
            (b":path", b"/gate"),
        ],
    )
    wire.flush()

    def frames():
        for _ in range(5000):
            if kind == "ping":
                wire.h2.ping(b"12345678")
                yield wire.h2.data_to_send()
            elif kind == "settings":
                wire.h2.update_settings({SettingCodes.ENABLE_PUSH: 0})
                yield wire.h2.data_to_send()
            elif kind == "priority":
                yield PriorityFrame(stream + 2, depends_on=0, stream_weight=1).serialize()
            else:
                yield DataFrame(stream).serialize()

    assert (await flood(wire, frames())).error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_crumbs_of_window(server, connect2):
    wire = await connect2(server)
    await wire.until(RemoteSettingsChanged)
    wire.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    wire.request(b"/big")  # each frame of ten bytes is answered by a window update
    assert (await wire.end()).error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_endless_header_block(server, connect2, recorder):
    wire = await connect2(server)
    await wire.until(RemoteSettingsChanged)
    block = wire.h2.encoder.encode([(b":method", b"GET")])

    def frames():
        yield HeadersFrame(1, block).serialize()
        for _ in range(5000):
            yield ContinuationFrame(1, b"\x00" * 100).serialize()

    assert (await flood(wire, frames())).error_code != ErrorCodes.NO_ERROR
    assert recorder.scopes == []


# -- deadlines and drain -------------------------------------------------------------------------------


async def test_half_a_header_block_has_a_deadline(serve, authority, connect2):
    server = await serve(tls=authority.files(), header_seconds=0.3, idle_seconds=30)
    wire = await connect2(server)
    assert (await wire.ask()).status == 200
    block = wire.h2.encoder.encode([(b":method", b"GET")])
    wire.writer.write(HeadersFrame(3, block).serialize())
    assert await wire.end() is not None
    await wire.closed()


async def test_missing_preface_has_a_deadline(serve, authority):
    server = await serve(tls=authority.files(), header_seconds=0.3, idle_seconds=30)
    context = authority.client(alpn=["h2"])
    reader, writer = await asyncio.open_connection(*server.address, ssl=context)
    async with asyncio.timeout(10):
        await reader.read()
    writer.close()


async def test_idle_connection_says_goaway(serve, authority, connect2):
    server = await serve(tls=authority.files(), idle_seconds=0.2)
    wire = await connect2(server)
    assert (await wire.ask()).status == 200
    assert (await wire.end()).error_code == ErrorCodes.NO_ERROR
    await wire.closed()


async def test_drain_serves_what_is_on_its_way(server, connect2, recorder):
    wire = await connect2(server)
    first = wire.request(b"/work", method=b"POST", body=b"first")
    await recorder.until(lambda: recorder.bodies)
    drained = asyncio.create_task(server.drain(10))
    await asyncio.sleep(0)
    second = wire.request(b"/work", method=b"POST", body=b"second")
    await recorder.until(lambda: len(recorder.bodies) == 2)
    recorder.gate.set()
    assert (await wire.reply(first)).body == b"first"
    assert (await wire.reply(second)).body == b"second"
    assert (await wire.end()).last_stream_id == second
    await wire.close()
    assert await drained == 0


async def test_drain_lets_idle_connections_go_at_once(server, connect2):
    wire = await connect2(server)
    assert (await wire.ask()).status == 200
    drained = asyncio.create_task(server.drain(10))
    assert (await wire.end()).error_code == ErrorCodes.NO_ERROR
    await wire.close()
    assert await drained == 0


async def test_drain_refuses_new_streams_after_the_grace(serve, authority, connect2, recorder):
    server = await serve(tls=authority.files(), grace_seconds=0.0001)
    wire = await connect2(server)
    first = wire.request(b"/work", method=b"POST", body=b"first")
    await recorder.until(lambda: recorder.bodies)
    drained = asyncio.create_task(server.drain(10))
    refused = None
    while refused is None:
        event = await wire.until((StreamReset, StreamEnded), wire.request(b"/echo"))
        refused = event if isinstance(event, StreamReset) else None
    assert refused.error_code == ErrorCodes.REFUSED_STREAM
    recorder.gate.set()
    assert (await wire.reply(first)).body == b"first"
    await wire.close()
    assert await drained == 0
