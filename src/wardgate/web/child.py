"""A process under the supervisor: a gateway worker or the engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from pathlib import Path

from wardgate.control.store import ControlStore
from wardgate.engine.server import EngineServer
from wardgate.settings import Settings, given
from wardgate.web.app import open_recorder
from wardgate.web.channel import Channel, unless
from wardgate.web.engines import start_engine
from wardgate.web.metrics import snapshot
from wardgate.web.models import load_models, open_driver
from wardgate.web.rescue import Rescued
from wardgate.web.worker import Worker

log = logging.getLogger("wardgate")
_METRICS_SECONDS = 1.0


async def run(control: socket.socket) -> None:
    """Start as the first message says, serve until told to drain or the supervisor is gone."""
    control.set_inheritable(False)
    channel = await Channel.of(control)
    start = await channel.receive()
    if start is None:
        channel.close()
        return
    settings = given(start["settings"])
    engine_socket = Path(start["engine_socket"])
    role: _Engine | Worker
    if start["role"] == "engine":
        role = _Engine(settings, engine_socket)
    else:
        sockets = [socket.socket(fileno=descriptor) for descriptor in start["sockets"]]
        for inherited in sockets:  # a process of ours must not hold them open once they are closed
            inherited.set_inheritable(False)
        notes, marks = start["rescue"]
        role = Worker(
            settings,
            sockets,
            index=start["index"],
            engine_socket=engine_socket,
            rescue=Rescued(socket.socket(fileno=notes), marks),
        )
    stop = asyncio.Event()
    # A service manager may signal the whole group: the engine must outlive the workers' last
    # requests, so it ends when the supervisor says so, or is gone.
    ended_by_signal = asyncio.Event() if start["role"] == "engine" else stop
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended_by_signal.set)
    listen = asyncio.create_task(_until_drain(channel, stop))
    tasks = [listen]
    try:
        if await unless(stop, role.start()):
            channel.send({"ready": True})
            tasks.append(asyncio.create_task(_send_metrics(channel)))
            await stop.wait()
    finally:
        await role.drain()
        channel.send({"metrics": snapshot()})
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        channel.close()
        with contextlib.suppress(ConnectionError):
            await channel.writer.wait_closed()


async def _until_drain(channel: Channel, stop: asyncio.Event) -> None:
    while (message := await channel.receive()) is not None:
        if "drain" in message:
            break
    stop.set()


async def _send_metrics(channel: Channel) -> None:
    while True:
        channel.send({"metrics": snapshot()})
        await asyncio.sleep(_METRICS_SECONDS)


class _Engine:
    """The engine process: the engine for all workers, and the driver of its models."""

    def __init__(self, settings: Settings, path: Path) -> None:
        self._settings = settings
        self._path = path
        self._parts = contextlib.AsyncExitStack()

    async def start(self) -> None:
        settings = self._settings
        engine = await start_engine(settings, load_models(settings), self._path)
        self._parts.push_async_callback(engine.close)
        control = ControlStore(settings.state)
        self._parts.callback(control.close)
        recorder = open_recorder(settings, "engine")
        self._parts.push_async_callback(recorder.close)
        driver = open_driver(settings, control, engine, recorder)
        driver.start()
        self._parts.push_async_callback(driver.close)
        server = EngineServer(engine, self._path)
        await server.start()
        self._parts.push_async_callback(server.close)

    async def drain(self) -> None:
        await self._parts.aclose()
