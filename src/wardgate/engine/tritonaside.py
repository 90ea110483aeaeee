"""Lets the process that loads a model at our own Triton go last, until the model may serve.

Triton gives each model of the Python backend a process. Importing, loading and warming up take it
seconds of processor time, which those that serve would wait for. The process itself may lower its
priority, but not raise it again; whoever has CAP_SYS_NICE may do both for it (setpriority(2)).
Linux only.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

NICE = 10
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
            _set(process, 0)


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
    while True:
        for process in children(server, model):
            _set(process, NICE)
        await asyncio.sleep(_LOOK_SECONDS)


def _set(process: Path, nice: int) -> None:
    """Set the nice value of every thread; threads that they start take it over."""
    with suppress(OSError):
        for thread in (process / "task").iterdir():
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)
