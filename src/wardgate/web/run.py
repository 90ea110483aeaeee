"""The gateway as a whole, in one process or many: from bound sockets to the last request."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.registry import REGISTRY

from wardgate.auth.issuer import DevelopmentIssuer
from wardgate.corefiles import forbid_core_files
from wardgate.errors import SettingsInvalid
from wardgate.settings import Settings
from wardgate.web.channel import unless
from wardgate.web.grpc_port import reserve
from wardgate.web.metrics import application
from wardgate.web.process import GATEWAY_FILE, StateLock, open_state
from wardgate.web.server.serve import HttpServer, bind
from wardgate.web.supervisor import Supervisor
from wardgate.web.worker import Worker, tls_files

log = logging.getLogger("wardgate")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running gateway listens."""

    url: str
    metrics: str
    grpc: str | None = None
    """HOST:PORT, where gRPC is served."""

    def line(self) -> str:
        """Return the one line that `wardgate serve` prints once ready."""
        grpc = f" grpc {self.grpc}" if self.grpc else ""
        return f"ready {self.url}{grpc} metrics {self.metrics}"


async def run(settings: Settings, *, on_ready: Callable[[Addresses], Awaitable[bool]]) -> None:
    """Serve until SIGTERM or SIGINT, or until `on_ready` returns False; then drain.

    Raises a WardgateError where the gateway cannot start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with _serving(settings, stop) as addresses:
        if addresses is None:
            return
        ready = asyncio.ensure_future(on_ready(addresses))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait((ready, stopped), return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and await ready:
            await stopped
        for waiting in (ready, stopped):
            waiting.cancel()
        await asyncio.gather(ready, stopped, return_exceptions=True)


@asynccontextmanager
async def _serving(settings: Settings, stop: asyncio.Event) -> AsyncIterator[Addresses | None]:
    """Start everything, end it in reverse; None where `stop` came before all was ready."""
    forbid_core_files()
    state = open_state(settings.state)
    async with AsyncExitStack() as parts:
        parts.callback(StateLock(state).release)
        server = settings.server
        listener = _bind(server.host, server.port)
        parts.callback(listener.close)
        metrics_listener = _bind(server.metrics_host, server.metrics_port)
        grpc = None
        if server.grpc_port is not None:
            held = _bind(server.host, server.grpc_port, how=reserve)
            parts.callback(held.close)
            grpc = _address(held.getsockname())
            settings = _with_grpc_port(settings, held.getsockname()[1])
        tls = tls_files(settings)
        if tls is not None:
            tls.context()  # files that cannot be used stop the start before anything warms up
        scheme = "https" if tls else "http"
        addresses = Addresses(
            f"{scheme}://{_address(listener.getsockname())}",
            f"http://{_address(metrics_listener.getsockname())}",
            grpc,
        )
        if settings.development_issuer:
            DevelopmentIssuer.open(state)  # made once, before any worker starts
        serving: Worker | Supervisor
        if server.workers == 1:
            serving, registry = Worker(settings, [listener]), REGISTRY
        else:
            home = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="wardgate-")))
            serving = Supervisor(settings, [listener], home / "engine.sock")
            registry = serving.registry
        metrics = HttpServer(application(registry), [metrics_listener])
        await metrics.start()
        parts.push_async_callback(metrics.drain, 1.0)
        parts.push_async_callback(serving.drain)  # the first to end: metrics show the draining
        if not await unless(stop, serving.start()):
            yield None
            return
        _publish(state, addresses)
        parts.callback((state / GATEWAY_FILE).unlink, missing_ok=True)
        yield addresses


def _bind(
    host: str, port: int, *, how: Callable[[str, int], socket.socket] = bind
) -> socket.socket:
    try:
        return how(host, port)
    except OSError as error:
        raise SettingsInvalid(f"Cannot listen on {host} port {port}: {error.strerror}.") from None


def _with_grpc_port(settings: Settings, port: int) -> Settings:
    """Return the settings with the port that gRPC has got, for every worker."""
    server = settings.server.model_copy(update={"grpc_port": port})
    return settings.model_copy(update={"server": server})


def _address(name: tuple[object, ...]) -> str:
    """Return HOST:PORT for a URL; an IPv6 address in brackets."""
    host = str(name[0])
    return f"[{host}]:{name[1]}" if ":" in host else f"{host}:{name[1]}"


def _publish(state: Path, addresses: Addresses) -> None:
    """Leave the addresses where the client commands look."""
    draft = state / f"{GATEWAY_FILE}.new"
    content = {
        "url": addresses.url,
        "grpc": addresses.grpc,
        "metrics": addresses.metrics,
        "pid": os.getpid(),
    }
    draft.write_text(json.dumps(content))
    draft.replace(state / GATEWAY_FILE)
