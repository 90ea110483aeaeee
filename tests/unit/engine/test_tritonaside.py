"""The priority of a model's process while it loads, on the real server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from triton_bench import loaded
from wardgate.engine import tritonaside
from wardgate.engine.tensors import served_name
from wardgate.engine.tritonaside import NICE, aside, may
from wardgate.errors import EngineUnavailable

needs_right = pytest.mark.skipif(not may(), reason="needs CAP_SYS_NICE")


def waiting(argument: str) -> subprocess.Popen[bytes]:
    """A process that waits for the end of its input, with an argument to be found by."""
    command = [sys.executable, "-c", "import sys; sys.stdin.read()", argument]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def threads(name: str) -> list[int]:
    """The threads of the process that runs a model."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):  # it may have ended
            words = (process / "cmdline").read_bytes() if process.name.isdigit() else b""
            if f"/{name}/".encode() in words:
                found += [int(thread.name) for thread in (process / "task").iterdir()]
    return found


@needs_right
def test_a_model_goes_last_while_it_loads_and_not_when_it_serves(triton):
    model, seen = loaded(version="6"), set()
    name = served_name(model.id)

    async def load():
        work = asyncio.create_task(triton.engine.load(model))
        while not work.done():
            with suppress(OSError):
                seen.update(map(os.sched_getscheduler, threads(name)))
            await asyncio.sleep(0.005)
        await work

    triton.run(load())
    assert os.SCHED_IDLE in seen
    assert set(map(os.sched_getscheduler, threads(name))) == {os.SCHED_OTHER}
    assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads(name)} == {0}
    triton.run(triton.engine.unload(model.id.digest))


@needs_right
def test_a_model_whose_process_was_killed_comes_back(triton):
    name = served_name(triton.model.id)
    (old, *_) = threads(name)
    os.kill(old, signal.SIGKILL)
    with suppress(EngineUnavailable):  # Triton itself calls it ready for ever
        triton.run(triton.infer([4]))
    triton.settle()
    assert triton.run(triton.infer([4])).tolist() == [[4, 4]]
    assert old not in threads(name)
    assert set(map(os.sched_getscheduler, threads(name))) == {os.SCHED_OTHER}


@needs_right
async def test_only_the_child_that_runs_the_model_is_touched():
    with waiting("/x/this/1") as one, waiting("/x/that/1") as other:
        usual = os.getpriority(os.PRIO_PROCESS, other.pid)
        async with aside(os.getpid(), "this"):
            while os.sched_getscheduler(one.pid) != os.SCHED_IDLE:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.005)
            assert os.getpriority(os.PRIO_PROCESS, one.pid) == NICE
            assert os.getpriority(os.PRIO_PROCESS, other.pid) == usual
        assert os.getpriority(os.PRIO_PROCESS, one.pid) == 0
        for process in (one, other):
            process.stdin.close()


async def test_without_the_right_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(tritonaside, "may", lambda: False)
    with waiting("/x/this/1") as one:
        before = os.getpriority(os.PRIO_PROCESS, one.pid)
        async with aside(os.getpid(), "this"):
            assert os.getpriority(os.PRIO_PROCESS, one.pid) == before
        assert os.getpriority(os.PRIO_PROCESS, one.pid) == before
        one.stdin.close()
