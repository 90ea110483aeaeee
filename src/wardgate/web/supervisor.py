"""`--workers N`: owns the listening sockets, keeps N gateway workers and one engine process alive.

The sockets are bound here and inherited, so that a worker that dies loses no connection of the
backlog: its peers and its replacement accept them. Callers that a dead worker leaves waiting are
answered with 503 (`rescue.py`). A process that ends on its own is replaced, with
back-off where it keeps dying. It decides nothing about requests and sees none.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from wardgate.errors import EngineUnavailable
from wardgate.settings import Settings
from wardgate.telemetry import WORKER_RESTARTS
from wardgate.web.channel import Channel, unless
from wardgate.web.metrics import Summed, snapshot
from wardgate.web.rescue import Rescuer

log = logging.getLogger("wardgate")
_BACKOFF = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before the first, second, ... restart of a process that keeps dying."""
_STEADY = 30.0
"""A process that lived this many seconds starts again at the first back-off."""


@dataclass(slots=True)
class Child:
    """One process under supervision, and its replacements."""

    name: str
    role: str
    index: int
    start: dict[str, object]
    sockets: Sequence[socket.socket]
    on_metrics: Callable[[str, list[object]], None]
    on_end: Callable[[str], None]
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the process has ended for the first time, or will not be started again."""
    stopping: bool = False
    process: subprocess.Popen[bytes] | None = None
    channel: Channel | None = None
    rescues: set[asyncio.Task[None]] = field(default_factory=set)
    """Answers to the callers of processes that ended."""

    async def run(self) -> None:
        """Keep the process alive until `stop`; cancel only after `stop`."""
        failures = 0
        while not self.stopping:
            began = time.monotonic()
            try:
                await self._once()
            except OSError:  # no process, descriptor or memory left at the moment
                log.error("%s could not be started", self.name)  # noqa: TRY400 -- no traceback
            self.ready.clear()
            self.ended.set()
            self.on_end(self.name)
            if self.stopping:
                await asyncio.gather(*self.rescues)
                return
            failures = 0 if time.monotonic() - began > _STEADY else failures + 1
            WORKER_RESTARTS.labels(self.role).inc()
            log.warning("%s ended; it is replaced", self.name)
            await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])

    def stop(self) -> None:
        """Ask the process to drain and end."""
        self.stopping = True
        if self.channel is not None:
            self.channel.send({"drain": True})

    def kill(self) -> None:
        """End the process at once."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()

    async def _once(self) -> None:
        """Start the process and follow it to its end."""
        ours, theirs = socket.socketpair()
        descriptors = [sock.fileno() for sock in self.sockets]
        rescuer = Rescuer() if self.role == "worker" else None
        rescue = rescuer.descriptors if rescuer else ()
        try:
            with theirs:
                self.process = subprocess.Popen(  # noqa: ASYNC220, S603 -- our own; returns at once
                    [sys.executable, "-m", "wardgate", "_child", str(theirs.fileno())],
                    pass_fds=[theirs.fileno(), *descriptors, *rescue],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C reaches the supervisor alone, which drains
                )
        except OSError:
            ours.close()
            if rescuer:
                rescuer.started()
                await rescuer.end()
            raise
        if rescuer:
            rescuer.started()
        self.channel = await Channel.of(ours)
        self.channel.send(
            {
                **self.start,
                "role": self.role,
                "index": self.index,
                "sockets": descriptors,
                "rescue": rescue,
            }
        )
        if self.stopping:
            self.channel.send({"drain": True})
        while (message := await self.channel.receive()) is not None:
            if "ready" in message:
                self.ready.set()
            elif "metrics" in message:
                self.on_metrics(self.name, message["metrics"])
        self.channel.close()
        await asyncio.to_thread(self._reap)
        if rescuer:  # beside the replacement's start
            rescue_of = asyncio.create_task(rescuer.end())
            self.rescues.add(rescue_of)
            rescue_of.add_done_callback(self.rescues.discard)

    def _reap(self) -> None:
        """Wait for the process; one that closed its channel and stays is killed."""
        assert self.process is not None
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Supervisor:
    """All processes of a gateway with several workers."""

    def __init__(
        self, settings: Settings, listening: Sequence[socket.socket], engine_socket: Path
    ) -> None:
        """Take the settings, the bound sockets and the place of the engine's socket."""
        self.summed = Summed()
        self.registry = CollectorRegistry()
        self.registry.register(self.summed)
        start: dict[str, object] = {
            "settings": settings.model_dump(mode="json"),
            "engine_socket": str(engine_socket),
        }
        self._drain_seconds = settings.server.drain_seconds
        self._listening = listening
        self.engine = self._child("engine", "engine", 0, start, ())
        self.workers = [
            self._child(f"worker-{index}", "worker", index, start, listening)
            for index in range(settings.server.workers)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start every process; returns when all are ready.

        Raises EngineUnavailable where one ends before: it has said why in the log.
        """
        self._tasks = [asyncio.create_task(self.engine.run(), name="engine")]
        self._tasks.append(asyncio.create_task(self._own_metrics(), name="metrics"))
        await self._ready(self.engine)
        self._tasks += [asyncio.create_task(w.run(), name=w.name) for w in self.workers]
        for worker in self.workers:
            await self._ready(worker)

    async def drain(self) -> None:
        """Drain the workers, then end the engine; whatever stays past its time is killed.

        Once the workers have closed their copies of the sockets a new caller is refused at once,
        rather than left waiting in a backlog that nobody will serve.
        """
        for listener in self._listening:
            listener.close()
        if not self.engine.ready.is_set():  # still warming up: it has nothing to bring to an end
            self.engine.stopping = True
            self.engine.kill()
        await self._end(self.workers, self._drain_seconds + 5)
        await self._end([self.engine], 5)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ready(self, child: Child) -> None:
        if not await unless(child.ended, child.ready.wait()):
            raise EngineUnavailable(f"{child.name} could not start.")

    async def _end(self, children: Sequence[Child], seconds: float) -> None:
        names = {child.name for child in children}
        for child in children:
            child.stop()
        tasks = [task for task in self._tasks if task.get_name() in names]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            if late:
                for child in children:
                    child.kill()
                await asyncio.wait(late, timeout=5)

    async def _own_metrics(self) -> None:
        """Add the supervisor's own samples to the sum, once a second."""
        while True:
            self.summed.update("supervisor", snapshot())
            await asyncio.sleep(1)

    def _child(
        self,
        name: str,
        role: str,
        index: int,
        start: dict[str, object],
        sockets: Sequence[socket.socket],
    ) -> Child:
        return Child(
            name=name,
            role=role,
            index=index,
            start=start,
            sockets=sockets,
            on_metrics=self.summed.update,  # type: ignore[arg-type]
            on_end=self.summed.ended,
        )
