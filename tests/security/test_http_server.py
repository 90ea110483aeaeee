"""Attacks on the HTTP server below the application: smuggling, floods, slow senders.

Every request here goes over a real socket. The application notes each request that reaches it; the
tests count those, since a request that another server in front did not see is the attack.
"""

import asyncio
import contextlib
import json
import resource

import pytest

from wardgate.web.server import HttpServer, Limits, bind

HOST = b"Host: gate\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: gate\r\n\r\n"
CANARY = b"Zebulon-Quartermain-1948"

AMBIGUOUS = {
    "length and chunked": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n" + CHUNKED,
    "chunked and length": b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"Content-Length: 4\r\n",
    "two lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nContent-Length: 5\r\n",
    "the same length twice": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n" * 2,
    "list of lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4, 4\r\n",
    "signed length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +4\r\n",
    "negative length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -4\r\n",
    "hexadecimal length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x4\r\n",
    "length with underscore": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1_0\r\n",
    "empty length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length:\r\n",
    "overflowing length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n" % 2**65,
    "other coding": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n",
    "two codings": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n",
    "chunked not last": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, gzip\r\n",
    "chunked twice": b"POST / HTTP/1.1\r\n" + HOST + CHUNKED * 2,
    "obscured coding": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: \x0bchunked\r\n",
    "near coding": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\n" + HOST + CHUNKED,
    "space before the colon": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length : 4\r\n",
    "space before a name": b"POST / HTTP/1.1\r\n" + HOST + b" Content-Length: 4\r\n",
    "folded header": b"POST / HTTP/1.1\r\n" + HOST + b"X: a\r\n Content-Length: 4\r\n",
    "bare line feed": b"POST / HTTP/1.1\r\n" + HOST + b"X: a\nContent-Length: 4\r\n",
    "bare carriage return": b"POST / HTTP/1.1\r\n" + HOST + b"X: a\rContent-Length: 4\r\n",
    "NUL in a value": b"POST / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n",
    "NUL in a name": b"POST / HTTP/1.1\r\n" + HOST + b"X\0: a\r\n",
    "no token as a name": b"POST / HTTP/1.1\r\n" + HOST + b"Content Length: 4\r\n",
    "no name": b"POST / HTTP/1.1\r\n" + HOST + b": 4\r\n",
    "no colon": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length 4\r\n",
    "no host": b"GET / HTTP/1.1\r\n",
    "two hosts": b"GET / HTTP/1.1\r\n" + HOST + b"Host: other\r\n",
    "empty host": b"GET / HTTP/1.1\r\nHost:\r\n",
    "host with a path": b"GET / HTTP/1.1\r\nHost: gate/x\r\n",
    "host with a user": b"GET / HTTP/1.1\r\nHost: a@gate\r\n",
    "absolute target": b"GET http://other/ HTTP/1.1\r\n" + HOST,
    "authority target": b"CONNECT other:443 HTTP/1.1\r\n" + HOST,
    "relative target": b"GET hidden HTTP/1.1\r\n" + HOST,
    "target with a fragment": b"GET /a#b HTTP/1.1\r\n" + HOST,
    "target with a space": b"GET /a b HTTP/1.1\r\n" + HOST,
    "target beyond ASCII": b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST,
    "target badly escaped": b"GET /%zz HTTP/1.1\r\n" + HOST,
    "asterisk for GET": b"GET * HTTP/1.1\r\n" + HOST,
    "HTTP/0.9": b"GET /\r\n",
    "HTTP/0.9 spelt out": b"GET / HTTP/0.9\r\n" + HOST,
    "HTTP/1.2": b"GET / HTTP/1.2\r\n" + HOST,
    "HTTP/2 in clear": b"PRI * HTTP/2.0\r\n",
    "version in lower case": b"GET / http/1.1\r\n" + HOST,
    "unknown method": b"GETX / HTTP/1.1\r\n" + HOST,
    "space before the method": b" GET / HTTP/1.1\r\n" + HOST,
    "another expectation": b"POST / HTTP/1.1\r\n" + HOST + b"Expect: 200-ok\r\n",
}

BAD_CHUNKS = {
    "size signed": b"+4\r\nabcd\r\n0\r\n\r\n",
    "size negative": b"-4\r\nabcd\r\n0\r\n\r\n",
    "size spelt 0x": b"0x4\r\nabcd\r\n0\r\n\r\n",
    "size empty": b"\r\nabcd\r\n0\r\n\r\n",
    "size overflowing": b"1" * 17 + b"\r\nabcd\r\n0\r\n\r\n",
    "size and space": b"4 \r\nabcd\r\n0\r\n\r\n",
    "bare line feed": b"4\nabcd\n0\n\n",
    "no end of the data": b"4\r\nabcde\r\n0\r\n\r\n",
    "line feed in an extension": b"4;a\nb\r\nabcd\r\n0\r\n\r\n",
    "bad trailer": b"4\r\nabcd\r\n0\r\nX : y\r\n\r\n",
}


class Application:
    """Notes what reaches it, reads it, answers with an empty 200."""

    def __init__(self):
        self.seen = []
        self.taken = 0

    async def __call__(self, scope, receive, send):
        self.seen.append(scope["path"])
        message = {"more_body": True}
        while message["more_body"]:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            self.taken += len(message["body"])
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})


@pytest.fixture
async def gate():
    """Start a server on the application with given limits; give its address and the application."""
    servers = []

    async def begin(**limits):
        application = Application()
        server = HttpServer(
            application,
            [bind("127.0.0.1", 0)],
            limits=Limits(**({"linger_seconds": 0.3, "grace_seconds": 0.1} | limits)),
        )
        (address,) = server.addresses
        await server.start()
        servers.append(server)
        return address, application

    yield begin
    for server in servers:
        await server.drain(0)


async def exchange(address, *pieces):
    """Send pieces on one connection; return all that comes until the server closes."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
            got = b""
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    got += data
            return got
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def statuses(got):
    """Status of each reply, none of which has a body of another's form."""
    return [int(line.split()[1]) for line in got.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


@pytest.mark.parametrize("head", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
async def test_ambiguous_request_is_refused_and_closed(gate, head):
    address, application = await gate()
    poisoned = head.replace(b"X: a", b"X: " + CANARY)
    got = await exchange(address, poisoned + b"\r\n0\r\n\r\n" + HIDDEN)
    assert statuses(got) == [400]
    assert json.loads(got.partition(b"\r\n\r\n")[2])["status"] == 400
    assert b"connection: close" in got
    assert CANARY not in got
    assert application.seen == []


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
@pytest.mark.parametrize("apart", [False, True], ids=["one segment", "two segments"])
async def test_bad_chunks_are_refused_and_closed(gate, body, apart):
    address, application = await gate()
    head = b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\n"
    pieces = (head, body + HIDDEN) if apart else (head + body + HIDDEN,)
    got = await exchange(address, *pieces)
    assert statuses(got) == [400]
    assert "/hidden" not in application.seen


async def test_what_follows_a_request_is_never_taken_for_its_next(gate):
    address, application = await gate()
    close = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    upgrade = b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc"
    for first in (close, b"POST / HTTP/1.1\r\n" + HOST + upgrade):
        got = await exchange(address, first + HIDDEN)
        assert statuses(got) == [200]
    assert "/hidden" not in application.seen


async def test_body_is_never_taken_for_a_request(gate):
    address, application = await gate(idle_seconds=0.2)
    length = b"Content-Length: %d\r\n\r\n" % len(HIDDEN)
    got = await exchange(address, b"GET / HTTP/1.1\r\n" + HOST + length + HIDDEN)
    assert statuses(got) == [200]
    assert application.seen == ["/"]
    assert application.taken == len(HIDDEN)


@pytest.mark.parametrize(
    "start",
    [b"", b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: gate\r\nX: "],
    ids=["nothing", "one byte", "request line", "half a header"],
)
async def test_slow_senders_are_closed_in_time(gate, start):
    address, application = await gate(header_seconds=0.3)
    loop = asyncio.get_running_loop()
    began = loop.time()
    got = await exchange(address, start)
    assert loop.time() - began < 5  # the deadline is 0.3 s; without one this waits for ever
    assert statuses(got) == ([408] if start else [])
    assert application.seen == []


async def test_many_slow_senders_do_not_keep_others_out(gate):
    address, application = await gate(header_seconds=0.5, connections=50)
    slow = [await asyncio.open_connection(*address) for _ in range(50)]
    for _, writer in slow:
        writer.write(b"GET / HTTP/1.1\r\n")
    request = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    assert statuses(await exchange(address, request)) == [503]
    for reader, writer in slow:
        assert statuses(await reader.read()) == [408]
        writer.close()
    assert statuses(await exchange(address, request)) == [200]
    assert application.seen == ["/"]


async def test_memory_does_not_grow_with_what_is_sent(gate):
    address, application = await gate(header_seconds=0.3)
    await exchange(address, b"GET /" + b"a" * 1000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    flood = b"a" * (4 << 20)
    for head in (
        b"GET /",
        b"GET / HTTP/1.1\r\nX",
        b"GET / HTTP/1.1\r\nX: ",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 1000,
        b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\n1;",
        b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\n0\r\nX: ",
    ):
        got = await exchange(address, head, *([flood] * 8))
        assert set(statuses(got)) <= {400, 431}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 24 * 1024  # KiB; 192 MiB were sent, of which the client itself holds 4 at a time
    assert application.taken == 0
