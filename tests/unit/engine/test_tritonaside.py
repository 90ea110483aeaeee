"""The priority of a model's process while it loads, on the real server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from triton_bench import loaded
from wardgate.engine import tritonaside
from wardgate.engine.tensors import served_name
from wardgate.engine.tritonaside import NICE, aside, children, may

needs_right = pytest.mark.skipif(not may(), reason="needs CAP_SYS_NICE")


def waiting(argument: str) -> subprocess.Popen[bytes]:
    """A process that waits for the end of its input, with an argument to be found by."""
    command = [sys.executable, "-c", "import sys; sys.stdin.read()", argument]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def nice_values(process) -> set[int]:
    return {
        os.getpriority(os.PRIO_PROCESS, int(thread.name)) for thread in (process / "task").iterdir()
    }


@needs_right
def test_a_model_goes_last_while_it_loads_and_not_when_it_serves(triton):
    model, seen = loaded(version="6"), set()
    name, server = served_name(model.id), triton.server._process.pid

    async def load():
        work = asyncio.create_task(triton.engine.load(model))
        while not work.done():
            for process in children(server, name):
                seen.update(nice_values(process))
            await asyncio.sleep(0.005)
        await work

    triton.run(load())
    assert NICE in seen
    (process,) = children(server, name)
    assert nice_values(process) == {0}
    assert os.sched_getscheduler(int(process.name)) == os.SCHED_OTHER
    triton.run(triton.engine.unload(model.id.digest))


@needs_right
async def test_only_the_child_that_runs_the_model_is_touched():
    with waiting("/x/this/1") as one, waiting("/x/that/1") as other:
        usual = os.getpriority(os.PRIO_PROCESS, other.pid)
        async with aside(os.getpid(), "this"):
            while os.getpriority(os.PRIO_PROCESS, one.pid) != NICE:
                await asyncio.sleep(0.005)
            assert os.sched_getscheduler(one.pid) == os.SCHED_IDLE
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
