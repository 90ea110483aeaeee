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
_LOOK_SECONDS = 0.02
"""Pause between looks for the process: until it is seen it takes from those that serve."""
_AGAIN_SECONDS = 1.0
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
        for process in _children(server, _processes()):
            if runs(process, model):
                _set(process, os.SCHED_OTHER, 0)


def may() -> bool:
    """Whether this process may set the priority of others (capabilities(7))."""
    with suppress(OSError):
        for line in (_PROC / "self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_NICE & 1)
    return False


async def _lower(server: int, model: str) -> None:
    """Look for the process until cancelled: Triton starts it at a time of its own."""
    loop = asyncio.get_running_loop()
    until = loop.time() + IDLE_SECONDS
    strangers: set[str] = set()
    lowered: set[str] = set()
    while True:
        now = _processes()
        strangers &= now
        # A stranger is not read again: looking must take next to nothing.
        mine = set(_children(server, now - strangers))
        strangers = now - mine
        found = {process for process in mine if runs(process, model)}
        policy = os.SCHED_IDLE if loop.time() < until else os.SCHED_OTHER
        for process in found:
            _set(process, policy, NICE)
        # Once more soon: a thread may have been started while the others were set.
        settled = bool(found) and found <= lowered
        lowered = found
        await asyncio.sleep(_AGAIN_SECONDS if settled else _LOOK_SECONDS)


def process_of(server: int, model: str) -> str | None:
    """Return the process, a child of the process `server`, that runs `model`."""
    return next((each for each in _children(server, _processes()) if runs(each, model)), None)


def _processes() -> set[str]:
    return {each.name for each in os.scandir(_PROC) if each.name.isdigit()}


def _children(server: int, processes: set[str]) -> Iterator[str]:
    """Yield those of `processes` that are children of `server`."""
    for process in processes:
        with suppress(OSError, ValueError, IndexError):  # it may have ended
            stat = (_PROC / process / "stat").read_text()
            if int(stat.rpartition(")")[2].split()[1]) == server:
                yield process


def runs(process: str, model: str) -> bool:
    """Whether a process runs `model`; before its exec it does not yet, and dead no more."""
    with suppress(OSError):
        return f"/{model}/".encode() in (_PROC / process / "cmdline").read_bytes()
    return False


def _set(process: str, policy: int, nice: int) -> None:
    """Set policy and nice value of every thread; threads that they start take them over."""
    with suppress(OSError):
        for thread in os.scandir(_PROC / process / "task"):
            with suppress(OSError):
                os.sched_setscheduler(int(thread.name), policy, os.sched_param(0))
                os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)
