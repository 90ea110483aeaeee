"""Processes that work on items of files, each owned by a thread of this one.

A process that dies, or does not answer in time, is replaced, and its items are done again one by
one: the item that it dies of is reported as broken, and the others lose nothing.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from wardgate.cli.files.forms import Form, Item, pack
from wardgate.cli.files.process import READY
from wardgate.cli.journal import Stopped
from wardgate.cli.jsonl import Broken

COMMAND = (sys.executable, "-m", "wardgate.cli.files.process")
START_SECONDS = 60.0
DEATHS_AT_MOST = 64
"""Of all processes in one run; more are no item's fault."""
_SECONDS = 60.0
_SECONDS_PER_MIB = 60.0
"""A process that needs longer for its items is taken for hung."""
_FATAL = Broken("process-died", "the process that worked on it died or hung, twice")


class _Died(Exception):
    """A process ended before it answered."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of items, in their order; what was found by type in those that are written."""

    rows: list[bytes | Broken]
    counts: Counter[str]


@dataclass(frozen=True, slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    link: Connection


class Crew:
    """Up to `processes` processes with one form and policy; each is started when it is needed."""

    def __init__(
        self,
        form: Form,
        choice: Mapping[str, Any],
        *,
        processes: int,
        command: tuple[str, ...] = COMMAND,
        patience: Callable[[int], float] = lambda size: _SECONDS + _SECONDS_PER_MIB * size / 2**20,
    ) -> None:
        """Take what `Choice.pack` gives.

        `patience` gives the seconds that a process may take for so many bytes.
        """
        self._said = marshal.dumps((pack(form), dict(choice)))
        self._command, self._patience = command, patience
        self._pool = ThreadPoolExecutor(processes, "deid")
        self._local = threading.local()
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._closed = False
        self.processes = processes
        self.deaths = 0

    def submit(self, items: list[Item]) -> Future[Done]:
        """Have items worked on; the future raises Stopped where none can be worked on any more."""
        return self._pool.submit(self._work, items)

    def close(self) -> None:
        """End the processes at once, whatever they do."""
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.process.kill()
        self._pool.shutdown(cancel_futures=True)
        for worker in list(self._workers):
            self._end(worker)

    # -- in a thread of the pool ------------------------------------------------------------------

    def _work(self, items: list[Item]) -> Done:
        with contextlib.suppress(_Died):
            return self._ask(items)
        parts = [self._alone(item) for item in items]
        counts: Counter[str] = Counter()
        for part in parts:
            counts.update(part.counts)
        return Done([row for part in parts for row in part.rows], counts)

    def _alone(self, item: Item) -> Done:
        for _ in range(2):
            with contextlib.suppress(_Died):
                return self._ask([item])
        return Done([_FATAL], Counter())

    def _ask(self, items: list[Item]) -> Done:
        """Have one process work on items. Raises _Died, or Stopped."""
        worker: _Worker | None = getattr(self._local, "worker", None)
        if worker is None:
            worker = self._local.worker = self._start()
        size = sum(len(raw) for _, raw in items if raw is not None)
        reply = self._exchange(worker, marshal.dumps(items), self._patience(size))
        if reply is None:
            self._local.worker = None
            self._end(worker)
            with self._lock:
                self.deaths += 1
                if self._closed or self.deaths > DEATHS_AT_MOST:
                    raise Stopped("The processes that de-identify keep dying.")
            raise _Died
        said: Any = marshal.loads(reply)  # noqa: S302 -- written by our own child
        if isinstance(said, str):
            raise Stopped(f"OUT cannot be written: {said}.")
        rows, counts = said
        return Done(
            [row if isinstance(row, bytes) else Broken(*row) for row in rows], Counter(counts)
        )

    def _start(self) -> _Worker:
        # A Ctrl-C on the terminal goes to all processes of the group; the owner decides what ends.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        ours, theirs = Pipe()
        with theirs, self._lock:
            if self._closed:
                raise Stopped
            try:
                process = subprocess.Popen(  # noqa: S603 -- ourselves
                    [*self._command, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                )
            except OSError as error:
                raise Stopped(f"No process can be started: {error.strerror}.") from None
            worker = _Worker(process, ours)
            self._workers.add(worker)
        if self._exchange(worker, self._said, START_SECONDS) != READY:
            self._end(worker)
            raise Stopped("A process that de-identifies did not start.")
        return worker

    @staticmethod
    def _exchange(worker: _Worker, message: bytes, seconds: float) -> bytes | None:
        """Send a message and return the answer; None where the process died or its time passed."""
        watch = threading.Timer(seconds, worker.process.kill)
        watch.daemon = True
        watch.start()
        try:
            worker.link.send_bytes(message)
            return worker.link.recv_bytes()
        except (EOFError, OSError):
            return None
        finally:
            watch.cancel()

    def _end(self, worker: _Worker) -> None:
        worker.process.kill()
        worker.process.wait()
        worker.link.close()
        with self._lock:
            self._workers.discard(worker)
