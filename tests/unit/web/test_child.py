"""A process under the supervisor, told over its channel what to be and when to end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.conftest import Shared

from wardgate.engine.remote import RemoteEngine
from wardgate.errors import ModelUnknown
from wardgate.settings import Settings
from wardgate.web import child
from wardgate.web.channel import Channel
from wardgate.web.rescue import Rescuer
from wardgate.web.server.serve import bind

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Process:
    """The supervisor's end, and the task that stands for the process."""

    def __init__(self, channel: Channel, task: asyncio.Task[None]) -> None:
        self.channel, self.task = channel, task

    async def until(self, key: str) -> dict[str, object]:
        """Return the next message of a kind."""
        async with asyncio.timeout(30):
            while key not in (message := await self.channel.receive() or {key: None}):
                pass
        return message


@pytest_asyncio.fixture(loop_scope="session")
async def begin(engine, monkeypatch, tmp_path) -> AsyncIterator:
    tmp_path.chmod(0o700)
    path = tmp_path / "engine.sock"
    begun: list[Process] = []
    begun_rescuers: list[Rescuer] = []

    async def start_engine(*_: object) -> Shared:
        return Shared(engine)

    monkeypatch.setattr(child, "start_engine", start_engine)

    async def start(role: str, *sockets: socket.socket, **groups: object) -> Process:
        settings = Settings(state=tmp_path, deid={"processes": 0}, **groups)
        ours, theirs = socket.socketpair()
        channel = await Channel.of(ours)
        process = Process(channel, asyncio.create_task(child.run(theirs)))
        begun.append(process)
        rescuer = Rescuer()
        begun_rescuers.append(rescuer)
        rescue = [os.dup(descriptor) for descriptor in rescuer.descriptors]
        rescuer.started()
        channel.send(
            {
                "role": role,
                "index": 0,
                "settings": settings.model_dump(mode="json"),
                "engine_socket": str(path),
                "sockets": [sock.detach() for sock in sockets],
                "rescue": rescue,
            }
        )
        return process

    start.path = path
    yield start
    for process in begun:
        process.channel.close()
        await asyncio.gather(
            process.task, process.channel.writer.wait_closed(), return_exceptions=True
        )
    for rescuer in begun_rescuers:
        await rescuer.end()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


async def test_an_engine_serves_until_it_is_told_to_drain(begin) -> None:
    process = await begin("engine")
    assert await process.until("ready") == {"ready": True}
    assert (await process.until("metrics"))["metrics"]
    remote = RemoteEngine(begin.path)
    await remote.start()
    assert [model.name for model in await remote.check()] == ["sentiment"]
    await remote.close()
    process.channel.send({"drain": True})
    await asyncio.wait_for(process.task, 30)
    assert not begin.path.exists()


async def test_an_engine_outlives_a_signal_to_the_whole_group(begin) -> None:
    """The workers' last requests need it; the supervisor ends it."""
    process = await begin("engine")
    await process.until("ready")
    os.kill(os.getpid(), signal.SIGTERM)
    await process.until("metrics")
    assert not process.task.done()
    assert begin.path.exists()


async def test_a_process_ends_with_its_supervisor(begin) -> None:
    process = await begin("engine")
    await process.until("ready")
    process.channel.close()
    await asyncio.wait_for(process.task, 30)
    assert not begin.path.exists()


async def test_a_worker_serves_on_sockets_that_it_inherits_and_ends_on_sigterm(begin) -> None:
    await (await begin("engine")).until("ready")
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    worker = await begin("worker", listener)
    await worker.until("ready")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    reply = await asyncio.wait_for(reader.read(), 10)
    assert reply.startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(worker.task, 30)
    names = {family[0] for family in (await worker.until("metrics"))["metrics"]}
    assert "wardgate_requests" in names


async def test_what_keeps_a_process_from_starting_is_raised(begin) -> None:
    process = await begin("engine", registry={"models": ("absent",)})
    with pytest.raises(ModelUnknown):
        await asyncio.wait_for(process.task, 30)


async def test_a_supervisor_that_is_gone_before_the_start(begin) -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    await asyncio.wait_for(child.run(theirs), 10)
