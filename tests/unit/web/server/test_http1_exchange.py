import asyncio

import pytest

GET = b"GET /echo HTTP/1.1\r\nHost: gate\r\n\r\n"


async def test_reply_without_length_is_chunked_then_kept_alive(serve, connect):
    wire = await connect(await serve())
    reply = await wire.ask(b"GET /stream HTTP/1.1\r\nHost: gate\r\n\r\n")
    assert reply.headers["transfer-encoding"] == "chunked"
    assert reply.body == b"onetwo"
    assert (await wire.ask(GET)).status == 200


async def test_head_has_no_body(serve, connect):
    wire = await connect(await serve())
    reply = await wire.ask(b"HEAD /big HTTP/1.1\r\nHost: gate\r\n\r\n", head=True)
    assert reply.headers["content-length"] == "3000000"
    assert (await wire.ask(GET)).status == 200


async def test_http10_closes_unless_asked_to_stay(serve, connect, recorder):
    server = await serve()
    wire = await connect(server)
    reply = await wire.ask(b"GET /stream HTTP/1.0\r\n\r\n")
    assert reply.body == b"onetwo"
    assert "transfer-encoding" not in reply.headers
    assert recorder.scopes[0]["http_version"] == "1.0"
    wire = await connect(server)
    reply = await wire.ask(b"GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert reply.headers["connection"] == "keep-alive"
    assert (await wire.ask(GET)).status == 200


async def test_connection_close_is_obeyed(serve, connect):
    wire = await connect(await serve())
    wire.send(b"GET /echo HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n")
    assert (await wire.reply()).headers["connection"] == "close"
    assert await wire.end() == b""


async def test_continue_is_sent_when_the_body_is_asked_for(serve, connect, recorder):
    server = await serve()
    wire = await connect(server)
    wire.send(
        b"POST /gate HTTP/1.1\r\nHost: gate\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n"
    )
    await recorder.until(lambda: recorder.scopes)
    recorder.gate.set()
    assert (await wire.reply()).status == 100
    assert (await wire.ask(b"abc")).body == b"abc"
    assert (await wire.ask(GET)).status == 200


async def test_no_continue_where_the_body_is_not_wanted(serve, connect):
    wire = await connect(await serve())
    wire.send(
        b"POST /early HTTP/1.1\r\nHost: gate\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    )
    reply = await wire.reply()
    assert reply.status == 413
    assert reply.headers["connection"] == "close"
    assert await wire.end() == b""


async def test_fault_in_the_middle_of_a_reply_cuts_it(serve, connect):
    wire = await connect(await serve())
    wire.send(b"GET /half HTTP/1.1\r\nHost: gate\r\n\r\n")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await wire.reply()


@pytest.mark.parametrize("status", [204, 304])
async def test_bodiless_status_has_no_framing(serve, connect, status):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body"})

    wire = await connect(await serve(app))
    for _ in range(2):
        reply = await wire.ask(GET)
        assert reply.status == status
        assert set(reply.headers) == {"date"}


async def test_hop_by_hop_header_of_the_application(serve, connect):
    async def app(scope, receive, send):
        headers = [(b"Connection", b"close"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    wire = await connect(await serve(app))
    assert (await wire.ask(GET)).headers["connection"] == "close"
    assert await wire.end() == b""
