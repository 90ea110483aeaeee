"""One gateway process: the gateway behind an HTTP server on sockets that it was given."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wardgate import collector
from wardgate.audit.digest import BodyDigest
from wardgate.errors import NotReady, WardgateError
from wardgate.settings import Settings
from wardgate.web.app import VERSION, Gateway
from wardgate.web.engines import join_engine
from wardgate.web.oip_models import OipModels
from wardgate.web.rescue import Rescued
from wardgate.web.server.limits import Limits
from wardgate.web.server.serve import HttpServer
from wardgate.web.server.tls import TlsFiles

if TYPE_CHECKING:
    from wardgate.web.grpc_server import GrpcServer

_READY_SECONDS = 30.0
"""How long the first round of readiness checks may take to hold."""


class Worker:
    """Start it, drain it; it owns the sockets from the start on."""

    def __init__(
        self,
        settings: Settings,
        sockets: Sequence[socket.socket],
        *,
        index: int = 0,
        engine_socket: Path | None = None,
        rescue: Rescued | None = None,
    ) -> None:
        """Take what the process serves; `engine_socket` None runs the engine in this process.

        `rescue` has the supervisor answer for this process should it die.
        """
        self._settings = settings
        self._sockets = sockets
        self._index = index
        self._engine_socket = engine_socket
        self._rescue = rescue
        self._gateway: Gateway | None = None
        self._server: HttpServer | None = None
        self._grpc: GrpcServer | None = None

    async def start(self) -> None:
        """Open the gateway, accept, and return once it is ready. Raises a WardgateError."""
        settings = self._settings
        joined = self._engine_socket
        engine = await join_engine(settings, joined) if joined else None
        self._gateway = await Gateway.open(settings, chain=f"worker-{self._index}", engine=engine)
        self._server = HttpServer(
            self._gateway.app,
            self._sockets,
            limits=Limits(
                header_bytes=settings.limits.header_bytes,
                header_seconds=settings.limits.header_seconds,
                idle_seconds=settings.limits.idle_seconds,
                connections=settings.limits.connections,
            ),
            tls=tls_files(settings),
            refused=self._refused,
            rescue=self._rescue,
        )
        collector.settle()
        await self._server.start()
        if settings.server.grpc_port is not None:
            self._grpc = await _start_grpc(settings, self._gateway, settings.server.grpc_port)
        readiness = self._gateway.readiness
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await readiness.first.wait()
        except TimeoutError:
            raise NotReady(f"The gateway did not become ready: {readiness.missing}.") from None

    async def drain(self) -> None:
        """Turn not ready, let requests in flight end, and close everything."""
        if self._gateway is None:
            return
        self._gateway.readiness.draining = True
        seconds = self._settings.server.drain_seconds
        servers = [server for server in (self._server, self._grpc) if server is not None]
        await asyncio.gather(*(server.drain(seconds) for server in servers))
        await self._gateway.close()
        if self._rescue is not None:
            self._rescue.close()

    def _refused(self, error: type[WardgateError], peer: str | None) -> None:
        """Record a refusal that the HTTP server made before the gateway saw a request."""
        if self._gateway is not None:
            self._gateway.flow.turn_away("server", error(), peer)


async def _start_grpc(settings: Settings, gateway: Gateway, port: int) -> GrpcServer:
    """Start the gRPC server. Its library takes 0.2 s to load: only where it is asked for."""
    from wardgate.web.grpc_server import GrpcLimits, GrpcServer  # noqa: PLC0415
    from wardgate.web.oip_grpc import Calls  # noqa: PLC0415

    limits = settings.limits
    calls = Calls(
        OipModels(gateway.flow, limits, gateway.tensors),
        gateway.readiness,
        digest=BodyDigest(settings.state),
        gateway_version=VERSION,
    )
    server = GrpcServer(
        calls,
        settings.server.host,
        port,
        limits=GrpcLimits(
            message_bytes=limits.body_bytes,
            header_bytes=limits.header_bytes,
            header_seconds=limits.header_seconds,
            idle_seconds=limits.idle_seconds,
            connections=limits.connections,
            call_seconds=limits.timeout_ms / 1000,
        ),
        tls=tls_files(settings),
    )
    await server.start()
    return server


def tls_files(settings: Settings) -> TlsFiles | None:
    """Return the TLS files of the settings, or None for plain HTTP."""
    server = settings.server
    if server.tls_cert is None or server.tls_key is None:
        return None
    return TlsFiles(server.tls_cert, server.tls_key, server.client_ca)
