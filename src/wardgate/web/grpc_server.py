"""The gRPC server: a port of its own, the limits of HTTP's settings, TLS that follows its files.

Each worker listens on the same port by itself (SO_REUSEPORT), since gRPC's core takes no socket
that somebody else has opened; `grpc_port.reserve` holds the port for all of them. The core keeps
the limits before any code of ours runs: metadata, message length, concurrent calls, connections,
pings.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass

import grpc

from wardgate.errors import SettingsInvalid
from wardgate.web.grpc_port import place, resolve
from wardgate.web.server.tls import TlsFiles

log = logging.getLogger("wardgate")

WINDOW = 65_536
"""Bytes of a call that gRPC's core takes before its message is asked for: the flow control window
of a stream (RFC 9113 §6.9.2 starts with 65,535)."""

_AGE_SECONDS = 3600.0
"""After this long a connection is asked to end (GOAWAY), so that callers spread over workers."""
_PING_STRIKES = 2
"""Pings that come too early until the connection is closed; gRPC's own default."""
_AGAIN_SECONDS = 1.0
"""Wait before a server that has ended by itself is started anew."""
_IDENTITY_ONLY = 1
"""Bit set of compression algorithms: a small message must not unfold into a large one."""


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """Bounds of every connection and call, as HTTP has them."""

    message_bytes: int = 1 << 20
    header_bytes: int = 16_384
    header_seconds: float = 10.0
    idle_seconds: float = 30.0
    connections: int = 2048
    call_seconds: float = 60.0
    """How long a call may take to end on a connection that is asked to end."""
    streams: int = 100
    """Calls at once on one connection."""

    def options(self) -> list[tuple[str, int]]:
        """Return the options of a server in gRPC's words."""
        idle = int(self.idle_seconds * 1000)
        return [
            ("grpc.max_receive_message_length", self.message_bytes),
            ("grpc.max_metadata_size", self.header_bytes),
            ("grpc.absolute_max_metadata_size", self.header_bytes),
            ("grpc.max_concurrent_streams", self.streams),
            ("grpc.max_allowed_incoming_connections", self.connections),
            ("grpc.server_handshake_timeout_ms", int(self.header_seconds * 1000)),
            ("grpc.max_connection_idle_ms", idle),
            ("grpc.max_connection_age_ms", int(_AGE_SECONDS * 1000)),
            ("grpc.max_connection_age_grace_ms", int(self.call_seconds * 1000)),
            # A caller that has gone without a word is found out by pings of ours.
            ("grpc.keepalive_time_ms", idle),
            ("grpc.keepalive_timeout_ms", int(self.header_seconds * 1000)),
            ("grpc.keepalive_permit_without_calls", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", idle),
            ("grpc.http2.max_ping_strikes", _PING_STRIKES),
            ("grpc.http2.lookahead_bytes", WINDOW),
            ("grpc.http2.bdp_probe", 0),
            ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
            ("grpc.so_reuseport", 1),
        ]


class GrpcServer:
    """One server in one process. `start`, then `drain`."""

    def __init__(
        self,
        calls: grpc.GenericRpcHandler,
        host: str,
        port: int,
        *,
        limits: GrpcLimits,
        tls: TlsFiles | None = None,
    ) -> None:
        """Serve `calls`. Raises SettingsInvalid where the TLS files cannot be used."""
        self._calls = calls
        self._host = host
        self._limits = limits
        self._credentials = credentials(tls) if tls else None
        self._server: grpc.aio.Server | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._draining = False
        self.port = port
        """The port; once started, the one that 0 took."""

    async def start(self) -> None:
        """Begin to accept. Raises SettingsInvalid where the port cannot be had."""
        self._server = await self._begin()
        self._keeper = asyncio.create_task(self._keep(self._server))

    async def _keep(self, server: grpc.aio.Server) -> None:
        """Start a new server where the library has ended one because of a fault of its own."""
        while True:
            with contextlib.suppress(Exception):  # the fault; it may quote what a caller sent
                await server.wait_for_termination()  # never cancelled: that would break its `stop`
            if self._draining:
                return
            log.error("the gRPC server has ended by itself and is started anew")
            await asyncio.sleep(_AGAIN_SECONDS)
            with contextlib.suppress(SettingsInvalid):
                server = await self._begin()
                self._server = server
            if self._draining:  # since the sleep
                await server.stop(None)

    async def _begin(self) -> grpc.aio.Server:
        limits = self._limits
        where = place(resolve(self._host, self.port)[1])
        server = grpc.aio.server(
            options=limits.options(), maximum_concurrent_rpcs=limits.connections
        )
        server.add_generic_rpc_handlers((self._calls,))
        try:
            if self._credentials is None:
                self.port = server.add_insecure_port(where)
            else:
                self.port = server.add_secure_port(where, self._credentials)
        except RuntimeError:
            raise SettingsInvalid("Cannot listen on the gRPC port.") from None
        await server.start()
        return server

    async def drain(self, seconds: float) -> None:
        """Take no more calls, let those in flight end within `seconds`, cut what is left."""
        if self._server is None or self._keeper is None:
            return
        self._draining = True
        await self._server.stop(seconds)
        await self._keeper


def credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials that follow their files: each new connection gets the newest good ones.

    Raises SettingsInvalid where the files cannot be used.
    """
    files.context()
    stamp = files.stamp()

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        """Return new certificates where the files have changed and are good."""
        nonlocal stamp
        try:
            now = files.stamp()
            if now == stamp:
                return None
            stamp = now
            files.context()  # the HTTP server says in the log what is wrong with them
            return _certificates(files)
        except (OSError, SettingsInvalid):
            return None

    return grpc.dynamic_ssl_server_credentials(
        _certificates(files), renewed, require_client_authentication=files.client_ca is not None
    )


def _certificates(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    pair = files.key.read_bytes(), files.cert.read_bytes()
    authorities = files.client_ca.read_bytes() if files.client_ca is not None else None
    return grpc.ssl_server_certificate_configuration([pair], authorities)
