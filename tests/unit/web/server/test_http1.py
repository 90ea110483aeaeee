import asyncio
import contextlib
import json
import socket
import struct

import pytest

GET = b"GET /echo HTTP/1.1\r\nHost: gate\r\n\r\n"


def post(path=b"/echo", body=b"", *headers):
    lines = [b"POST %b HTTP/1.1" % path, b"Host: gate", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def is_problem(reply, slug, status):
    document = json.loads(reply.body)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["connection"] == "close"
    assert document["type"] == f"urn:wardgate:problem:{slug}"
    assert set(document) == {"type", "title", "status", "detail", "instance"}
    return True


# -- requests that are served -------------------------------------------------------------------------


async def test_scope_says_what_was_asked(serve, connect, recorder):
    wire = await connect(await serve())
    await wire.ask(b"GET /a%20b/c?q=%31 HTTP/1.1\r\nHost: gate:80\r\nX-One: 1\r\nx-one: 2\r\n\r\n")
    scope = recorder.scopes[0]
    assert scope["type"] == "http"
    assert scope["method"] == "GET"
    assert scope["path"] == "/a b/c"
    assert scope["raw_path"] == b"/a%20b/c"
    assert scope["query_string"] == b"q=%31"
    assert scope["scheme"] == "http"
    assert scope["http_version"] == "1.1"
    assert scope["client"] == wire.writer.get_extra_info("sockname")
    assert scope["headers"] == [(b"host", b"gate:80"), (b"x-one", b"1"), (b"x-one", b"2")]
    assert "extensions" not in scope


async def test_many_requests_on_one_connection(serve, connect):
    wire = await connect(await serve())
    for size in (0, 1, 1000, 300_000, 5):
        reply = await wire.ask(post(body=b"a" * size))
        assert reply.status == 200
        assert len(reply.body) == size
        assert "server" not in reply.headers
        assert "connection" not in reply.headers
        assert reply.headers["date"].endswith("GMT")


async def test_request_in_single_bytes(serve, connect, recorder):
    wire = await connect(await serve())
    wire.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in post(body=b"abc"):
        wire.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await wire.reply()).body == b"abc"
    assert recorder.bodies == [b"abc"]


async def test_chunked_body_and_dropped_trailers(serve, connect, recorder):
    wire = await connect(await serve())
    head = b"POST /echo HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = await wire.ask(head + b"3;note=x\r\nabc\r\n2\r\nde\r\n0\r\nX-Admin: yes\r\n\r\n")
    assert reply.body == b"abcde"
    assert [name for name, _ in recorder.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]
    assert (await wire.ask(GET)).status == 200


async def test_big_reply_to_a_slow_reader_comes_whole(serve, connect):
    wire = await connect(await serve())
    reply = await wire.ask(b"GET /big HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n")
    assert reply.body == b"x" * 3_000_000


async def test_upgrade_is_ignored(serve, connect, recorder):
    server = await serve()
    wire = await connect(server)
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    reply = await wire.ask(post(b"/echo", b"note", *offer))
    assert (reply.status, reply.body) == (200, b"note")
    assert reply.headers["connection"] == "close"
    wire = await connect(server)
    chunked = b"Transfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    wire.send(b"POST /echo HTTP/1.1\r\nHost: gate\r\n" + chunked)
    await recorder.until(lambda: len(recorder.scopes) == 2)
    reply = await wire.ask(b"4\r\nmore\r\n0\r\n\r\n" + GET)
    assert (reply.status, reply.body) == (200, b"more")
    assert await wire.end() == b""
    wire = await connect(server)
    reply = await wire.ask(
        b"GET /echo HTTP/1.1\r\nHost: gate\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert reply.status == 200


async def test_broken_body_after_an_ignored_upgrade_is_refused(serve, connect):
    wire = await connect(await serve())
    reply = await wire.ask(
        b"POST /echo HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\nzz\r\n"
    )
    assert is_problem(reply, "request-malformed", 400)


async def test_request_sent_ahead_is_not_served(serve, connect, recorder):
    server = await serve()
    wire = await connect(server)
    reply = await wire.ask(GET + GET)
    assert reply.headers["connection"] == "close"
    assert await wire.end() == b""
    assert len(recorder.scopes) == 1
    wire = await connect(server)
    wire.send(b"GET /work HTTP/1.1\r\nHost: gate\r\n\r\n")
    await recorder.until(lambda: len(recorder.bodies) == 2)
    wire.send(GET)
    await asyncio.sleep(0)
    recorder.gate.set()
    assert (await wire.reply()).status == 200
    await wire.end()
    assert len(recorder.scopes) == 2


# -- bodies are read when the application asks ----------------------------------------------------------


async def test_body_waits_in_the_kernel_until_asked_for(serve, connect, recorder):
    server = await serve()
    wire = await connect(server)
    size = 32 << 20
    wire.send(b"POST /gate HTTP/1.1\r\nHost: gate\r\nContent-Length: %d\r\n\r\n" % size)
    await recorder.until(lambda: recorder.scopes)
    client = wire.writer.get_extra_info("socket")
    sent = await asyncio.to_thread(push, client.fileno(), size)
    assert sent < size / 2  # what the kernel's buffers and one segment took
    recorder.gate.set()
    wire.send(b"a" * (size - sent))
    reply = await wire.reply()
    assert len(reply.body) == size


def push(descriptor, size):
    """Write until the kernel takes no more for a moment; return how much it took."""
    with socket.socket(fileno=socket.dup(descriptor)) as client:
        client.settimeout(0.2)
        sent = 0
        piece = b"a" * 65536
        with contextlib.suppress(TimeoutError):
            while sent < size:
                sent += client.send(piece[: size - sent])
        client.setblocking(False)
    return sent


async def test_early_reply_reaches_a_caller_who_is_still_sending(serve, connect):
    wire = await connect(await serve())
    size = 10 << 20
    wire.send(b"POST /early HTTP/1.1\r\nHost: gate\r\nContent-Length: %d\r\n\r\n" % size)
    wire.send(b"a" * size)
    async with asyncio.timeout(10):
        await wire.writer.drain()
    reply = await wire.reply()
    assert (reply.status, reply.body) == (413, b"too large")


async def test_leftovers_are_read_in_bounds(serve, connect):
    wire = await connect(await serve(linger_bytes=100_000, linger_seconds=0.3))
    size = 64 << 20
    wire.send(b"POST /early HTTP/1.1\r\nHost: gate\r\nContent-Length: %d\r\n\r\n" % size)
    sending = asyncio.create_task(send_all(wire, size))
    assert b"413" in await wire.reader.readline()
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(10):
            await sending


async def send_all(wire, size):
    for _ in range(0, size, 65536):
        wire.send(b"a" * 65536)
        await wire.writer.drain()


# -- callers who leave ---------------------------------------------------------------------------------


async def test_application_learns_that_the_caller_left(serve, connect, recorder):
    wire = await connect(await serve())
    wire.send(post(b"/wait", b"note"))
    await recorder.until(lambda: recorder.bodies)
    await wire.close()
    await recorder.until(lambda: recorder.disconnects == 1)


async def test_application_learns_of_a_reset(serve, connect, recorder):
    wire = await connect(await serve())
    wire.send(post(b"/wait", b"note"))
    await recorder.until(lambda: recorder.bodies)
    linger = struct.pack("ii", 1, 0)
    wire.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    wire.writer.transport.abort()
    await recorder.until(lambda: recorder.disconnects == 1)


async def test_body_that_breaks_off_is_a_disconnect(serve, connect, recorder):
    wire = await connect(await serve())
    wire.send(b"POST /echo HTTP/1.1\r\nHost: gate\r\nContent-Length: 10\r\n\r\nabc")
    await recorder.until(lambda: recorder.scopes)
    await wire.close()
    await recorder.until(lambda: recorder.disconnects == 1)
    assert recorder.bodies == []


# -- an application that fails -------------------------------------------------------------------------


async def test_fault_before_the_reply_is_a_500_without_words(serve, connect, caplog):
    wire = await connect(await serve())
    reply = await wire.ask(b"GET /boom HTTP/1.1\r\nHost: gate\r\n\r\n")
    assert is_problem(reply, "internal", 500)
    assert b"secret" not in reply.body
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("path", [b"/silent", b"/short", b"/split"])
async def test_reply_that_breaks_the_rules_is_a_500(serve, connect, path):
    wire = await connect(await serve())
    wire.send(b"GET %b HTTP/1.1\r\nHost: gate\r\n\r\n" % path)
    reply = await wire.reply()
    assert is_problem(reply, "internal", 500)
    assert "set-cookie" not in reply.headers


# -- what is refused -----------------------------------------------------------------------------------


async def test_head_above_the_limit(serve, connect, recorder):
    server = await serve(header_bytes=2048)
    for head in (
        b"GET /" + b"a" * 3000,
        b"GET / HTTP/1.1\r\nHost: gate\r\nX: " + b"a" * 3000,
        b"GET / HTTP/1.1\r\nHost: gate\r\nX: " + b"a" * 2048 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: gate\r\n" + b"A: b\r\n" * 400,
    ):
        wire = await connect(server)
        assert is_problem(await wire.ask(head), "headers-too-large", 431)
    assert recorder.scopes == []
    wire = await connect(server)
    body = b"a" * 10_000  # a body in the same segment is no part of the head
    assert (await wire.ask(post(b"/echo", body))).body == body


async def test_framing_costs_no_more_than_the_body(serve, connect, recorder):
    server = await serve(header_bytes=2048)
    head = b"POST /echo HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n"
    for rest in (
        b"1;" + b"x" * 10_000,
        b"1\r\na\r\n" * 5000,
        b"0\r\nX: " + b"a" * 10_000,
    ):
        wire = await connect(server)
        wire.send(head)
        before = len(recorder.scopes)
        await recorder.until(lambda before=before: len(recorder.scopes) > before)
        reply = None
        with contextlib.suppress(ConnectionError):
            for at in range(0, len(rest), 1000):
                wire.send(rest[at : at + 1000])
                await wire.writer.drain()
            reply = await wire.reply()
        assert reply is None or is_problem(reply, "request-malformed", 400)


async def test_connections_above_the_cap_are_told_503(serve, connect, recorder):
    server = await serve(connections=2)
    kept = [await connect(server) for _ in range(2)]
    for wire in kept:
        assert (await wire.ask(GET)).status == 200
    wire = await connect(server)
    reply = await wire.ask(GET)
    assert is_problem(reply, "overloaded", 503)
    assert reply.headers["retry-after"] == "1"
    assert len(recorder.scopes) == 2
    assert (await kept[0].ask(GET)).status == 200


async def test_far_above_the_cap_connections_are_closed(serve, connect):
    server = await serve(connections=1)
    wires = [await connect(server) for _ in range(40)]
    outcomes = await asyncio.gather(*(ask_or_nothing(wire) for wire in wires))
    assert outcomes.count(None) > 10
    assert outcomes.count(200) <= 1


async def ask_or_nothing(wire):
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        return (await wire.ask(GET)).status
    return None


# -- deadlines -----------------------------------------------------------------------------------------


async def test_silence_is_closed_without_a_word(serve, connect):
    wire = await connect(await serve(header_seconds=0.2))
    assert await wire.end() == b""


async def test_half_a_head_is_408(serve, connect, recorder):
    wire = await connect(await serve(header_seconds=0.2))
    wire.send(b"GET / HTTP/1.1\r\nHost:")
    assert is_problem(await wire.reply(), "headers-timeout", 408)
    assert await wire.end() == b""
    assert recorder.scopes == []


async def test_trickle_does_not_move_the_deadline(serve, connect):
    wire = await connect(await serve(header_seconds=0.3))
    wire.send(b"GET / HTTP/1.1\r\n")
    closed = asyncio.ensure_future(wire.end())
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not closed.done() and loop.time() - began < 5:
        wire.send(b"X-A: b\r\n")
        await asyncio.wait([closed], timeout=0.02)
    assert b" 408 " in await closed


async def test_head_of_a_later_request_has_the_same_deadline(serve, connect):
    wire = await connect(await serve(header_seconds=0.2, idle_seconds=30))
    assert (await wire.ask(GET)).status == 200
    wire.send(b"G")
    assert is_problem(await wire.reply(), "headers-timeout", 408)


async def test_idle_connection_is_closed(serve, connect):
    wire = await connect(await serve(idle_seconds=0.2))
    assert (await wire.ask(GET)).status == 200
    assert await wire.end() == b""


async def test_working_application_has_no_deadline_here(serve, connect, recorder):
    wire = await connect(await serve(header_seconds=0.1, idle_seconds=0.1))
    other = await connect(await serve(header_seconds=0.3))
    wire.send(post(b"/work", b"note"))
    await recorder.until(lambda: recorder.bodies)
    await other.end()  # three times the first server's deadlines have passed
    recorder.gate.set()
    assert (await wire.reply()).body == b"note"


async def test_caller_who_does_not_read_is_cut(serve, connect, recorder):
    server = await serve(idle_seconds=0.2)
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.setblocking(False)
    loop = asyncio.get_running_loop()
    with reader:
        await loop.sock_connect(reader, server.address)
        await loop.sock_sendall(reader, b"GET /big HTTP/1.1\r\nHost: gate\r\n\r\n" * 1)
        await recorder.until(lambda: recorder.bodies)
        async with asyncio.timeout(10):
            while server.connections:
                await asyncio.sleep(0.01)
