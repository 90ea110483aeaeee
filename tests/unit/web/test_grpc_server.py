"""The gRPC server: its limits, its TLS files, its end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from hpack import Encoder
from hyperframe.frame import HeadersFrame, PingFrame, SettingsFrame
from tests.security.test_tls import Authority

from wardgate.errors import SettingsInvalid
from wardgate.web.grpc_port import reserve
from wardgate.web.grpc_server import GrpcLimits, GrpcServer
from wardgate.web.server.tls import TlsFiles

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Echo(grpc.GenericRpcHandler):
    """Gives a message back; waits first where it says so."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.messages = 0

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.stream_unary_rpc_method_handler(self.echo)

    async def echo(self, _: object, context: Any) -> bytes:
        message = await context.read()
        self.messages += message is not grpc.aio.EOF
        if message == b"wait":
            self.entered.set()
            await self.go_on.wait()
        return message


@contextlib.asynccontextmanager
async def serving(
    tls: TlsFiles | None = None, **limits: Any
) -> AsyncIterator[tuple[GrpcServer, Echo]]:
    echo = Echo()
    server = GrpcServer(echo, "127.0.0.1", 0, limits=GrpcLimits(**limits), tls=tls)
    await server.start()
    try:
        yield server, echo
    finally:
        echo.go_on.set()
        await server.drain(5.0)


async def call(channel: grpc.aio.Channel, message: bytes = b"a", **options: Any) -> bytes:
    return await channel.unary_unary("/a/b")(message, **options)


async def code(channel: grpc.aio.Channel, message: bytes = b"a", **options: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(channel, message, **options)
    return raised.value.code()


async def test_messages_metadata_and_compression_are_bounded() -> None:
    async with (
        serving(message_bytes=1000, header_bytes=2000) as (server, echo),
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        assert await call(channel, b"x" * 1000) == b"x" * 1000
        assert echo.messages == 1
        assert await code(channel, b"x" * 1001) is grpc.StatusCode.RESOURCE_EXHAUSTED
        large = (("x-large", "x" * 2500),)
        assert await code(channel, metadata=large) is grpc.StatusCode.RESOURCE_EXHAUSTED
        bomb = await code(channel, b"x" * 100_000, compression=grpc.Compression.Gzip)
        assert bomb is grpc.StatusCode.UNIMPLEMENTED
        assert echo.messages == 1


async def test_calls_and_connections_are_bounded() -> None:
    async with serving(connections=2, streams=1) as (server, echo):
        place = f"127.0.0.1:{server.port}"
        own = (("grpc.use_local_subchannel_pool", 1),)
        async with contextlib.AsyncExitStack() as opened:
            first, second, third = [
                await opened.enter_async_context(grpc.aio.insecure_channel(place, own))
                for _ in range(3)
            ]
            waiting = asyncio.ensure_future(call(first, b"wait"))
            await echo.entered.wait()
            # one call at once on a connection: the second waits at the caller
            assert await code(first, timeout=0.3) is grpc.StatusCode.DEADLINE_EXCEEDED
            assert await call(second) == b"a"
            assert await code(third, timeout=0.5) in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
            )
            echo.go_on.set()
            assert await waiting == b"wait"


async def test_the_options_are_those_of_http() -> None:
    options = dict(GrpcLimits(idle_seconds=2, header_seconds=3, call_seconds=4).options())
    assert options["grpc.max_connection_idle_ms"] == 2000
    assert options["grpc.http2.min_ping_interval_without_data_ms"] == 2000
    assert options["grpc.server_handshake_timeout_ms"] == 3000
    assert options["grpc.max_connection_age_grace_ms"] == 4000


async def test_a_port_that_somebody_has_is_refused() -> None:
    with reserve("127.0.0.1", 0) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
        held.listen()
        server = GrpcServer(Echo(), "127.0.0.1", held.getsockname()[1], limits=GrpcLimits())
        with pytest.raises(SettingsInvalid, match="gRPC port"):
            await server.start()


async def test_draining_ends_calls_and_takes_no_more() -> None:
    async with (
        serving() as (server, echo),
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        waiting = asyncio.ensure_future(call(channel, b"wait"))
        await echo.entered.wait()
        draining = asyncio.ensure_future(server.drain(10.0))
        assert await refused(server.port)
        assert not draining.done()
        echo.go_on.set()
        assert await waiting == b"wait"
        await draining


async def refused(port: int) -> bool:
    """Whether a new caller is told that nobody is there, before long."""
    for _ in range(20):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                await call(channel, timeout=1)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    return True
        await asyncio.sleep(0.01)
    return False


async def test_what_does_not_end_is_cut() -> None:
    async with (
        serving() as (server, echo),
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        waiting = asyncio.ensure_future(call(channel, b"wait"))
        await echo.entered.wait()
        await server.drain(0.1)
        with pytest.raises(grpc.aio.AioRpcError):
            await waiting


# -- TLS ------------------------------------------------------------------------------------------


def channel_to(server: GrpcServer, authority: Authority, files: Any = None) -> grpc.aio.Channel:
    chain, key = (files[0].read_bytes(), files[1].read_bytes()) if files else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), key, chain)
    own = (("grpc.use_local_subchannel_pool", 1),)
    return grpc.aio.secure_channel(f"127.0.0.1:{server.port}", credentials, own)


async def test_client_certificates_are_required_where_authorities_are_named(tmp_path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    cert, key = ours.issue("server")
    good, bad = ours.issue("client"), theirs.issue("stranger")
    async with serving(TlsFiles(cert, key, ours.file)) as (server, echo):
        async with channel_to(server, ours, good) as channel:
            assert await call(channel) == b"a"
        for files in (None, bad):
            async with channel_to(server, ours, files) as channel:
                assert await code(channel, timeout=5) is grpc.StatusCode.UNAVAILABLE
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            assert await code(channel, timeout=5) is grpc.StatusCode.UNAVAILABLE
        assert echo.messages == 1


async def test_new_files_are_taken_up_and_bad_ones_are_not(tmp_path) -> None:
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    cert, key = first.issue("server")
    new_cert, new_key = second.issue("new")
    async with serving(TlsFiles(cert, key)) as (server, _):
        async with channel_to(server, first) as channel:
            assert await call(channel) == b"a"
        cert.write_bytes(new_cert.read_bytes())  # its key is still the old one
        async with channel_to(server, first) as channel:
            assert await call(channel) == b"a"
        key.write_bytes(new_key.read_bytes())
        async with channel_to(server, second) as channel:
            assert await call(channel) == b"a"


async def test_files_that_cannot_be_used_stop_the_start(tmp_path) -> None:
    cert, _ = Authority(tmp_path, "a").issue("server")
    with pytest.raises(SettingsInvalid):
        GrpcServer(
            Echo(), "127.0.0.1", 0, limits=GrpcLimits(), tls=TlsFiles(cert, tmp_path / "absent")
        )


async def test_a_path_that_is_no_text_ends_nothing() -> None:
    """Versions 1.84 and 1.85 of the library end the whole server over one such path."""
    path = Encoder().encode(
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", b"/\xff"),
            (":authority", "a"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
    )
    headers = HeadersFrame(1, path, flags=["END_HEADERS", "END_STREAM"])
    async with (
        serving() as (server, _),
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        assert await call(channel) == b"a"
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())
        writer.write(headers.serialize() + PingFrame(0, b"was that").serialize())
        await asyncio.wait_for(reader.readuntil(b"was that"), 10)
        assert await call(channel) == b"a"
        writer.close()


async def test_a_server_that_the_library_has_ended_is_started_anew() -> None:
    async with serving() as (server, _):
        port, ended = server.port, server._server
        assert ended is not None
        await ended.stop(None)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert await call(channel, wait_for_ready=True, timeout=20) == b"a"
        assert server.port == port


async def test_a_drain_ends_a_server_that_is_about_to_be_started_anew(monkeypatch) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_: float) -> None:
        began.set()
        await go_on.wait()

    server = GrpcServer(Echo(), "127.0.0.1", 0, limits=GrpcLimits())
    await server.start()
    with monkeypatch.context() as patched:
        patched.setattr("wardgate.web.grpc_server.asyncio.sleep", wait)
        assert server._server is not None
        await server._server.stop(None)
        await began.wait()
        draining = asyncio.create_task(server.drain(5.0))
        go_on.set()
        await asyncio.wait_for(draining, 10)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        assert await code(channel, timeout=5) is grpc.StatusCode.UNAVAILABLE
