"""Reads memory and descriptors of a system from time to time, while it is under load."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from wardgate.cli.bench import probe

Reading = dict[str, float]


class Watch:
    """Reads every `seconds` from entering to leaving; `readings` has them all."""

    def __init__(self, tree: Callable[[], list[int]], seconds: float) -> None:
        self.readings: list[Reading] = []
        self._tree, self._seconds = tree, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _read(self) -> None:
        while True:
            self.readings.append(
                {"seconds": round(time.monotonic() - self._began, 2), **take(self._tree())}
            )
            if self._over.wait(self._seconds):
                return


def take(processes: list[int]) -> Reading:
    """Return a reading of processes: MiB, open descriptors, and how many processes there are."""
    return {
        "memory_mib": probe.memory_mib(processes),
        "descriptors": probe.descriptors(processes),
        "processes": len(processes),
    }
