"""Processes are started, replaced where they die, and ended; `tests/e2e` shows it under load."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from wardgate.engine.remote import RemoteEngine
from wardgate.errors import EngineUnavailable
from wardgate.settings import Settings
from wardgate.telemetry import WORKER_RESTARTS
from wardgate.web import supervisor as module
from wardgate.web.supervisor import Supervisor


@pytest.fixture
def settings(tmp_path) -> Settings:
    tmp_path.chmod(0o700)
    return Settings(
        state=tmp_path,
        server={"workers": 2, "drain_seconds": 1},
        engine={"sessions": 1, "threads": 1},
        deid={"processes": 0},
    )


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_an_engine_process_that_dies_is_replaced_and_one_that_is_stopped_is_not(
    settings, tmp_path
) -> None:
    supervisor = Supervisor(settings, [], tmp_path / "engine.sock")
    engine = supervisor.engine
    restarts = WORKER_RESTARTS.labels("engine")._value.get()
    task = asyncio.create_task(engine.run())
    try:
        await asyncio.wait_for(engine.ready.wait(), 60)
        first = engine.process.pid
        assert os.getpgid(first) == first  # Ctrl-C in the terminal reaches the supervisor alone
        await until(lambda: list(supervisor.summed.collect()))
        os.kill(first, signal.SIGKILL)
        await asyncio.wait_for(engine.ended.wait(), 10)
        assert not engine.ready.is_set()
        await asyncio.wait_for(engine.ready.wait(), 60)
        assert engine.process.pid != first
        assert WORKER_RESTARTS.labels("engine")._value.get() == restarts + 1
        remote = RemoteEngine(tmp_path / "engine.sock")
        await remote.start()
        assert [model.name for model in await remote.check()] == ["sentiment"]
        await remote.close()
    finally:
        engine.stop()
        await asyncio.wait_for(task, 30)
    assert engine.process.returncode == 0
    assert not (tmp_path / "engine.sock").exists()
    for pid in (first, engine.process.pid):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_gateway_whose_engine_cannot_start_says_so_and_leaves_no_process(
    settings, tmp_path, capfd
) -> None:
    absent = settings.model_copy(
        update={"registry": settings.registry.model_copy(update={"models": ("absent",)})}
    )
    supervisor = Supervisor(absent, [], tmp_path / "engine.sock")
    with pytest.raises(EngineUnavailable, match="engine could not start"):
        await asyncio.wait_for(supervisor.start(), 60)
    await supervisor.drain()
    assert supervisor.engine.process.poll() is not None
    assert all(worker.process is None for worker in supervisor.workers)
    assert "Traceback" not in capfd.readouterr().err


async def test_a_process_that_keeps_dying_is_started_ever_more_slowly(
    settings, tmp_path, monkeypatch
) -> None:
    supervisor = Supervisor(settings, [], tmp_path / "engine.sock")
    child = supervisor.engine
    waits: list[float] = []
    real = asyncio.sleep

    async def once() -> None:
        child.stopping = len(waits) == 8

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await real(0)

    monkeypatch.setattr(type(child), "_once", lambda self: once())
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    await child.run()
    assert waits == [0.2, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0, 5.0]
    assert child.ended.is_set()


async def test_every_process_has_a_name_and_its_own_index(settings, tmp_path) -> None:
    supervisor = Supervisor(settings, [], Path("engine.sock"))
    assert supervisor.engine.name == "engine"
    assert [(w.name, w.role, w.index) for w in supervisor.workers] == [
        ("worker-0", "worker", 0),
        ("worker-1", "worker", 1),
    ]
    assert supervisor.engine.sockets == ()
    await supervisor.drain()


async def test_a_kill_of_what_is_not_there_does_nothing(settings, tmp_path) -> None:
    child = Supervisor(settings, [], tmp_path / "engine.sock").engine
    child.kill()
    child.stop()
    with contextlib.suppress(asyncio.CancelledError):
        await child.run()
    assert child.process is None
