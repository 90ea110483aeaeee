"""Lets the process that loads a model at our own Triton go last, until the model may serve.

Triton gives each model of the Python backend a process. Importing, loading and warming up take it
seconds of processor time, which those that serve would wait for. The process itself may lower its
priority, but not raise it again; whoever has CAP_SYS_NICE may do both for it. Linux only.

SCHED_IDLE (sched(7)) gives way at once; a mere nice value lets a thread finish its slice first, of
some milliseconds, and every step of a model that serves would wait for that. Under full load an
idle thread hardly runs, so after a while a nice value takes its place.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

NICE = 10
IDLE_SECONDS = 60.0
_CAP_SYS_NICE = 23
"""linux/capability.h"""
_LOOK_SECONDS = 0.05
_PROC = Path("/proc")


@asynccontextmanager
async def aside(server: int, model: str) -> AsyncIterator[None]:
    """While inside, `model`'s process, a child of the process `server`, gives way to all others.

    Without the right to raise its priority again nothing is changed.
    """
    if not may():
        yield
        return
    look = asyncio.create_task(_lower(server, model))
    try:
        yield
    finally:
        look.cancel()
        await asyncio.wait({look})
        for process in children(server, model):
            _set(process, os.SCHED_OTHER, 0)


def may() -> bool:
    """Whether this process may set the priority of others (capabilities(7))."""
    with suppress(OSError):
        for line in (_PROC / "self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_NICE & 1)
    return False


def children(server: int, model: str) -> Iterator[Path]:
    """Yield the folders in `/proc` of the children of `server` that run `model`."""
    wanted = f"/{model}/".encode()
    for process in _PROC.iterdir():
        if not process.name.isdigit():
            continue
        with suppress(OSError, ValueError, IndexError):  # it may have ended
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == server and wanted in (process / "cmdline").read_bytes():
                yield process


async def _lower(server: int, model: str) -> None:
    """Look for the process until cancelled: Triton starts it at a time of its own."""
    loop = asyncio.get_running_loop()
    until = loop.time() + IDLE_SECONDS
    while True:
        policy = os.SCHED_IDLE if loop.time() < until else os.SCHED_OTHER
        for process in children(server, model):
            _set(process, policy, NICE)
        await asyncio.sleep(_LOOK_SECONDS)


def _set(process: Path, policy: int, nice: int) -> None:
    """Set policy and nice value of every thread; threads that they start take them over."""
    with suppress(OSError):
        for thread in (process / "task").iterdir():
            with suppress(OSError):
                os.sched_setscheduler(int(thread.name), policy, os.sched_param(0))
                os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)
