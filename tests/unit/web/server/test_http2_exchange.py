import pytest
from h2.errors import ErrorCodes
from h2.events import DataReceived, RemoteSettingsChanged, ResponseReceived, StreamReset


@pytest.fixture
async def server(serve, authority):
    return await serve(tls=authority.files())


async def test_pieces_of_a_reply(server, connect2):
    wire = await connect2(server)
    reply = await wire.ask(b"/stream")
    assert (reply.status, reply.body) == (200, b"onetwo")
    assert "transfer-encoding" not in reply.headers


async def test_head_has_no_body(server, connect2):
    wire = await connect2(server)
    reply = await wire.ask(b"/big", method=b"HEAD")
    assert reply.headers["content-length"] == "3000000"
    assert reply.body == b""


async def test_connection_headers_of_the_application_are_dropped(serve, authority, connect2):
    async def app(scope, receive, send):
        headers = [(b"Connection", b"close"), (b"Content-Length", b"0"), (b"X-One", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    wire = await connect2(await serve(app, tls=authority.files()))
    reply = await wire.ask()
    assert set(reply.headers) == {"content-length", "x-one", "date"}


async def test_fault_in_the_middle_of_a_reply_resets_the_stream_alone(server, connect2):
    wire = await connect2(server)
    stream = wire.request(b"/half")
    await wire.until(ResponseReceived, stream)
    assert (await wire.until(StreamReset, stream)).error_code == ErrorCodes.INTERNAL_ERROR
    assert (await wire.ask()).status == 200


async def test_line_break_in_a_header_is_a_500(server, connect2):
    wire = await connect2(server)
    reply = await wire.ask(b"/split")
    assert reply.status == 500
    assert "x-bad" not in reply.headers


async def test_reply_keeps_to_the_window(server, connect2):
    wire = await connect2(server)
    await wire.until(RemoteSettingsChanged)
    wire.acknowledge = False
    stream = wire.request(b"/big")
    got = 0
    while got < 65_535:
        got += len((await wire.until(DataReceived, stream)).data)
    assert got == 65_535
    wire.acknowledge = True
    wire.h2.acknowledge_received_data(got, stream)
    wire.flush()
    assert len((await wire.reply(stream)).body) == 3_000_000 - got
