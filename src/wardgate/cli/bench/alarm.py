"""An alarm clock for an event loop, exact to the microsecond: loops round to milliseconds."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable
from contextlib import suppress

_MONOTONIC = 1
_ABSOLUTE = 1
_NONBLOCK = 0o4000
"""linux/time.h, linux/timerfd.h, asm-generic/fcntl.h"""
_NANO = 1_000_000_000


class _Spec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Alarm:
    """Calls `ring` on the loop when the time of `set` has come (timerfd_create(2))."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.timerfd_create(_MONOTONIC, _NONBLOCK)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop, self._ring = loop, ring
        loop.add_reader(self._file, self._rang)

    def set(self, when: float) -> None:
        """Ring once at `when`, seconds of `time.perf_counter`; at once where that is past."""
        nanoseconds = max(int(when * _NANO), time.perf_counter_ns() + 1)
        spec = _Spec(0, 0, *divmod(nanoseconds, _NANO))
        self._libc.timerfd_settime(self._file, _ABSOLUTE, ctypes.byref(spec), None)

    def close(self) -> None:
        """Ring no more."""
        self._loop.remove_reader(self._file)
        os.close(self._file)

    def _rang(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._file, 8)
        self._ring()
