import asyncio
import errno
import os
import socket

import httpx
import pytest

from wardgate.errors import (
    HeadersTimeout,
    HeadersTooLarge,
    Overloaded,
    RequestMalformed,
    WardgateError,
)
from wardgate.web.server import HttpServer, Limits, bind

GET = b"GET /echo HTTP/1.1\r\nHost: gate\r\n\r\n"


def test_bind_takes_a_free_port_and_listens():
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert port
        with socket.create_connection(("127.0.0.1", port)):
            pass
        with pytest.raises(OSError) as refused:
            bind("127.0.0.1", port)
        assert refused.value.errno == errno.EADDRINUSE


async def test_ipv6(recorder, connect):
    try:
        listener = bind("::1", 0)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    server = HttpServer(recorder, [listener])
    (server.address,) = server.addresses
    await server.start()
    wire = await connect(server)
    assert (await wire.ask(GET)).status == 200
    assert recorder.scopes[0]["client"][0] == "::1"
    await wire.close()
    assert await server.drain(5) == 0


async def test_socket_by_its_descriptor_keeps_its_backlog(recorder, connect):
    owner = bind("127.0.0.1", 0)
    early = await asyncio.to_thread(socket.create_connection, owner.getsockname())
    server = HttpServer(recorder, [socket.socket(fileno=os.dup(owner.fileno()))])
    (server.address,) = server.addresses
    await server.start()
    with early:
        await asyncio.to_thread(early.sendall, GET)
        assert (await asyncio.to_thread(early.recv, 100)).startswith(b"HTTP/1.1 200")
    await server.drain(5)
    # the owner's socket goes on: nobody is turned away between two workers
    with owner, await asyncio.to_thread(socket.create_connection, owner.getsockname()):
        pass


async def test_several_sockets(recorder, connect):
    server = HttpServer(recorder, [bind("127.0.0.1", 0), bind("127.0.0.1", 0)])
    await server.start()
    for address in server.addresses:
        server.address = address
        wire = await connect(server)
        assert (await wire.ask(GET)).status == 200
        await wire.close()
    assert await server.drain(5) == 0


# -- drain -----------------------------------------------------------------------------------------


async def test_drain_loses_no_request(serve, connect, recorder):
    server = await serve(grace_seconds=1)
    working = await connect(server)
    idle = await connect(server)
    silent = await connect(server)
    assert (await idle.ask(GET)).status == 200
    working.send(b"GET /work HTTP/1.1\r\nHost: gate\r\n\r\n")
    await recorder.until(lambda: len(recorder.bodies) == 2)
    waiting = await asyncio.to_thread(socket.create_connection, server.address)  # in the backlog
    waiting.sendall(GET)
    drained = asyncio.create_task(server.drain(10))
    await asyncio.sleep(0)
    with pytest.raises(OSError):
        await connect(server)
    reply = await idle.ask(GET)  # a request that was on its way
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    with waiting:
        answer = await asyncio.to_thread(waiting.recv, 4096)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
    recorder.gate.set()
    reply = await working.reply()
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert await silent.end() == b""
    for wire in (working, idle):
        assert await wire.end() == b""
        await wire.close()
    assert await drained == 0


async def test_drain_ends_a_connection_whose_reply_had_begun(serve, connect):
    begun, gate = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        begun.set()
        await gate.wait()
        await send({"type": "http.response.body", "body": b"two"})

    server = await serve(app, idle_seconds=30)
    wire = await connect(server)
    wire.send(GET)
    await begun.wait()
    drained = asyncio.create_task(server.drain(20))
    await asyncio.sleep(0)
    gate.set()
    assert (await wire.reply()).body == b"onetwo"
    assert await wire.end() == b""  # after the grace, long before the idle time
    assert await drained == 0


async def test_drain_serves_a_handshake_that_waits_in_the_backlog(serve, authority, recorder):
    server = await serve(tls=authority.files(), grace_seconds=1)
    url = "https://{}:{}/echo".format(*server.address)
    async with httpx.AsyncClient(http2=True, verify=authority.client()) as client:
        asked = asyncio.create_task(client.get(url))
        while not server.connections:
            await asyncio.sleep(0)
        drained = asyncio.create_task(server.drain(10))
        assert (await asked).status_code == 200
    assert await drained == 0


async def test_stop_in_the_middle_of_a_handshake_leaves_nothing(serve, authority, connect):
    server = await serve(tls=authority.files())
    wire = await connect(server)
    while not server.connections:
        await asyncio.sleep(0)
    assert await server.drain(0) == 0
    assert await wire.end() == b""


async def test_drain_cuts_what_takes_too_long(serve, connect, recorder):
    server = await serve()
    wire = await connect(server)
    wire.send(b"GET /work HTTP/1.1\r\nHost: gate\r\n\r\n")
    await recorder.until(lambda: recorder.bodies)
    assert await server.drain(0.1) == 1
    assert await wire.end() == b""
    assert server.connections == 0


async def test_drain_waits_for_an_application_whose_caller_left(serve, connect):
    entered, gate, finished = asyncio.Event(), asyncio.Event(), []

    async def app(scope, receive, send):
        entered.set()
        await gate.wait()  # an audit record being written
        finished.append(scope["path"])

    server = await serve(app)
    wire = await connect(server)
    wire.send(GET)
    await entered.wait()
    await wire.close()
    drained = asyncio.create_task(server.drain(10))
    asyncio.get_running_loop().call_later(0.1, gate.set)
    assert await drained == 0
    assert finished == ["/echo"]


async def test_idle_server_drains_at_once_and_twice(serve):
    server = await serve()
    assert await server.drain(10) == 0
    assert await server.drain(10) == 0


# -- trouble ---------------------------------------------------------------------------------------


async def test_listener_rests_when_descriptors_run_out(serve, connect, monkeypatch):
    server = await serve()
    faults = []

    class Broken:
        """A listening socket whose accept fails a few times, as with EMFILE."""

        def __init__(self, listener):
            self.listener = listener

        def accept(self):
            if len(faults) < 3:
                faults.append(1)
                raise OSError(errno.EMFILE, "Too many open files")
            return self.listener.accept()

        def __getattr__(self, name):
            return getattr(self.listener, name)

    (listener,) = server._sockets
    loop = asyncio.get_running_loop()
    loop.remove_reader(listener)
    broken = Broken(listener)
    server._sockets[:] = [broken]
    loop.add_reader(broken, server._accept, broken)
    wire = await connect(server)
    assert (await wire.ask(GET)).status == 200
    assert len(faults) == 3


async def test_garbage_in_place_of_a_handshake(serve, authority, connect):
    server = await serve(tls=authority.files())
    wire = await connect(server)
    wire.send(GET * 10)
    assert b"HTTP" not in await wire.end()
    assert (await (await connect(server, ssl=authority.client())).ask(GET)).status == 200


async def test_handshake_has_a_deadline(serve, authority, connect):
    server = await serve(tls=authority.files(), header_seconds=0.3)
    wire = await connect(server)
    assert await wire.end() == b""
    async with asyncio.timeout(10):
        while server.connections:
            await asyncio.sleep(0.01)


async def test_default_limits(recorder):
    server = HttpServer(recorder, [bind("127.0.0.1", 0)])
    await server.start()
    assert server._limits == Limits()
    assert Limits().header_seconds <= 10
    assert server.connections == 0
    assert not server.reload_tls()
    await server.drain(1)


# -- refusals are told -------------------------------------------------------------------------------

HEAD = b"GET /echo HTTP/1.1\r\nHost: gate\r\n"


def note(told):
    """Note the class of each refusal; all come from this machine."""

    def refused(error, peer):
        assert peer == "127.0.0.1"
        told.append(error)

    return refused


async def test_own_refusals_are_told(serve, connect):
    told = []
    server = await serve(refused=note(told), header_bytes=2048, header_seconds=0.3)
    cases = (
        (b"GET /%zz HTTP/1.1\r\nHost: gate\r\n\r\n", 400, RequestMalformed),
        (HEAD, 408, HeadersTimeout),
        (HEAD + b"X: " + b"a" * 3000 + b"\r\n\r\n", 431, HeadersTooLarge),
        (b"GET /boom HTTP/1.1\r\nHost: gate\r\n\r\n", 500, WardgateError),
    )
    for request, status, error in cases:
        wire = await connect(server)
        assert (await wire.ask(request)).status == status
        assert told == [error]
        told.clear()
        await wire.close()


async def test_own_refusals_over_http2_are_told(serve, authority, connect2):
    told = []
    server = await serve(refused=note(told), tls=authority.files(), header_bytes=2048)
    wire = await connect2(server)
    assert (await wire.ask(b"*")).status == 400
    assert (await wire.ask(headers=[(b"x", b"a" * 3000)])).status == 431
    assert (await wire.ask(b"/boom")).status == 500
    assert told == [RequestMalformed, HeadersTooLarge, WardgateError]


async def test_refusal_at_the_cap_is_told(serve, authority, connect, connect2):
    told = []
    plain = await serve(refused=note(told), connections=1)
    assert (await (await connect(plain)).ask(GET)).status == 200
    assert (await (await connect(plain)).ask(GET)).status == 503
    assert told == [Overloaded]
    secure = await serve(refused=note(told), connections=1, tls=authority.files())
    assert (await (await connect2(secure)).ask()).status == 200
    assert (await (await connect2(secure)).ask()).status == 503
    assert told == [Overloaded, Overloaded]


async def test_answers_of_the_application_are_not_told(serve, connect):
    told = []
    server = await serve(refused=note(told))
    early = b"POST /early HTTP/1.1\r\nHost: gate\r\nContent-Length: 9\r\n\r\n"
    assert (await (await connect(server)).ask(early)).status == 413
    assert (await (await connect(server)).ask(GET)).status == 200
    assert told == []
