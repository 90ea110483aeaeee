from __future__ import annotations

import asyncio

import pytest
from tests.unit.cli.bench.conftest import Server

from wardgate.cli.bench import http1
from wardgate.cli.bench.wire import LOST, Target


async def ended(server):
    """End a server; transports close in the loop's next turns."""
    server.close()
    await asyncio.sleep(0.01)


async def ask(port, count=3, bodies=(b"{}",)):
    """Send `count` requests on one lane, one after the other."""
    got, done = [], asyncio.Event()

    def answered(lane, status, head, body):
        got.append((status, head, body))
        if len(got) == count:
            done.set()
        else:
            lane.send(0)

    target = Target("127.0.0.1", port, "/predict", token="abc")
    (lane,) = await http1.lanes(target, http1.requests(target, bodies), 1, answered)
    lane.send(0)
    await asyncio.wait_for(done.wait(), 5)
    lane.close()
    return got


@pytest.mark.parametrize("chunked", [False, True])
async def test_requests_go_over_one_connection(chunked) -> None:
    async with Server(chunked=chunked) as server:
        got = await ask(server.port)
        assert [(status, body) for status, _, body in got] == [(200, Server.REPLY)] * 3
        assert (server.requests, server.connections) == (3, 1)


async def test_the_head_comes_with_the_answer() -> None:
    async with Server(head=b"Server-Timing: infer;dur=2.5\r\n", status=b"503 Full") as server:
        ((status, head, _),) = await ask(server.port, 1)
        assert status == 503
        assert b"infer;dur=2.5" in head


async def test_a_reply_in_pieces_is_put_together() -> None:
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n{}")
        for piece in (b"HTTP/1.1 200 OK\r\ncontent-le", b"ngth: 4\r\n\r", b"\nab", b"cd"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    got = await ask(server.sockets[0].getsockname()[1], 1)
    assert got[0][::2] == (200, b"abcd")
    await ended(server)


async def test_a_connection_that_breaks_is_told_and_opened_anew() -> None:
    seen = []

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n{}")
        seen.append(1)
        if len(seen) > 1:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    got = await ask(server.sockets[0].getsockname()[1], 2)
    assert [status for status, _, _ in got] == [LOST, 200]
    await ended(server)


async def test_a_server_that_is_gone_is_lost_and_no_endless_try() -> None:
    closed = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n{}")
        server.close()
        closed.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    got = await ask(server.sockets[0].getsockname()[1], 2)
    assert [status for status, _, _ in got] == [LOST, LOST]
    assert closed.is_set()


def test_requests_hold_token_and_length() -> None:
    (sent,) = http1.requests(Target("127.0.0.1", 80, "/p", token="abc"), [b"12345"])
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /p HTTP/1.1\r\nHost: 127.0.0.1:80\r\n")
    assert b"\r\nAuthorization: Bearer abc" in head
    assert head.endswith(b"\r\nContent-Length: 5")
    assert body == b"12345"
