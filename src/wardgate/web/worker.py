"""One gateway process: the gateway behind an HTTP server on sockets that it was given."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

from wardgate.engine.remote import RemoteEngine
from wardgate.errors import NotReady, WardgateError
from wardgate.settings import Settings
from wardgate.telemetry import REFUSALS
from wardgate.web.app import Gateway
from wardgate.web.server.limits import Limits
from wardgate.web.server.serve import HttpServer
from wardgate.web.server.tls import TlsFiles

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
    ) -> None:
        """Take what the process serves; `engine_socket` None runs the engine in this process."""
        self._settings = settings
        self._sockets = sockets
        self._index = index
        self._engine_socket = engine_socket
        self._gateway: Gateway | None = None
        self._server: HttpServer | None = None

    async def start(self) -> None:
        """Open the gateway, accept, and return once it is ready. Raises a WardgateError."""
        settings = self._settings
        engine = RemoteEngine(self._engine_socket) if self._engine_socket else None
        if engine is not None:
            await engine.start()
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
            refused=count_refusal,
        )
        await self._server.start()
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
        if self._server is not None:
            await self._server.drain(self._settings.server.drain_seconds)
        await self._gateway.close()


def count_refusal(error: type[WardgateError]) -> None:
    """Count a refusal that the HTTP server made before the gateway saw a request."""
    REFUSALS.labels("server", error.slug).inc()


def tls_files(settings: Settings) -> TlsFiles | None:
    """Return the TLS files of the settings, or None for plain HTTP."""
    server = settings.server
    if server.tls_cert is None or server.tls_key is None:
        return None
    return TlsFiles(server.tls_cert, server.tls_key, server.client_ca)
