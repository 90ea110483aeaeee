"""A job over a file: chunks go to the processes, and what comes back is committed in its order.

Memory is bounded: a window of chunks, and a bounded number of bytes that wait for the next commit.
A cut costs what was in flight and no more. Ctrl-C or SIGTERM lets what is in flight end; the second
does not.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from types import FrameType
from typing import Protocol

from wardgate.cli.files.crew import Crew, Done
from wardgate.cli.files.source import Chunk, Source
from wardgate.cli.journal import Stopped, Tally
from wardgate.cli.jsonl import Broken, Place

_AHEAD = 4
"""Chunks in the window for each process: the others wait or are done."""
_AHEAD_BYTES = 64 << 20
"""Bytes in the window from which no chunk is added."""
_COMMIT_SECONDS = 1.0
_COMMIT_BYTES = 8 << 20
"""Whichever comes first."""


class Sink(Protocol):
    """Where rows go: `Journal`, or `Stream`."""

    place: Place
    tally: Tally
    done: bool

    def commit(self, rows: bytes, broken: bytes, place: Place, *, done: bool = False) -> None:
        """Write rows and broken lines, and then that all before `place` is done."""


class Job:
    """One run of a job, from where its sink says to the end of its source."""

    def __init__(
        self, source: Source, sink: Sink, crew: Crew, show: Callable[[Place], None]
    ) -> None:
        self._source, self._sink, self._crew, self._show = source, sink, crew, show
        self._begun, self._before = time.monotonic(), replace(sink.tally)
        self._committed = self._begun
        self._rows, self._broken, self._place = bytearray(), bytearray(), sink.place
        self._stop = threading.Event()
        self._reading = False
        self._end: Stopped | None = None
        """Why no more is read."""

    def run(self) -> None:
        """Do what is left. Raises Stopped, or BrokenPipeError of standard output.

        Stopped has no detail where the user wished it. What was ready at the front is committed.
        """
        window: deque[tuple[Chunk, Future[Done]]] = deque()
        chunks = self._source.chunks()
        more = True
        with self._signals():
            try:
                while more or window:
                    more = more and self._fill(window, chunks)
                    if window:
                        chunk, future = window[0]
                        self._put(chunk, future.result())
                        window.popleft()
                        if self._is_due():
                            self._commit()
            except KeyboardInterrupt:  # the second; it may have come in the middle of a commit
                raise Stopped from None
            except Stopped as end:
                self._end = end
            if self._end is None and self._stop.is_set():
                self._end = Stopped()
            self._commit(done=self._end is None)
            if self._end is not None:
                raise self._end

    def _fill(self, window: deque[tuple[Chunk, Future[Done]]], chunks: Iterator[Chunk]) -> bool:
        """Have worked on what the window has room for; False where no more is to be."""
        held = sum(len(raw) for chunk, _ in window for _, raw in chunk.items if raw is not None)
        while len(window) < _AHEAD * self._crew.processes and held < _AHEAD_BYTES:
            chunk = self._read(chunks)
            if chunk is None:
                return False
            held += sum(len(raw) for _, raw in chunk.items if raw is not None)
            window.append((chunk, self._crew.submit(chunk.items)))
        return True

    def _read(self, chunks: Iterator[Chunk]) -> Chunk | None:
        chunk = None
        # a pipe may have nothing for long: an interrupt ends the wait, and what was read of it
        with contextlib.suppress(KeyboardInterrupt):
            self._reading = True
            if not self._stop.is_set():
                try:
                    chunk = next(chunks, None)
                except Stopped as end:
                    self._end = end
                except OSError as error:
                    self._end = Stopped(f"IN cannot be read: {error.strerror}.")
        self._reading = False
        return chunk

    def _put(self, chunk: Chunk, done: Done) -> None:
        """Keep what became of a chunk for the next commit, and count it."""
        tally = self._sink.tally
        self._rows += self._source.encode(chunk, done.rows)
        for item, row in zip(chunk.items, done.rows, strict=True):
            if isinstance(row, Broken):
                self._broken += self._source.fault(item, row)
                tally.broken += 1
        tally.lines += len(done.rows)
        tally.answered = tally.lines - tally.broken
        for label, count in done.counts.items():
            tally.labels[label] = tally.labels.get(label, 0) + count
        tally.retried = self._before.retried + self._crew.deaths
        self._place = chunk.place

    def _is_due(self) -> bool:
        waited = time.monotonic() - self._committed
        return len(self._rows) >= _COMMIT_BYTES or waited >= _COMMIT_SECONDS

    def _commit(self, *, done: bool = False) -> None:
        tally = self._sink.tally
        tally.seconds = self._before.seconds + time.monotonic() - self._begun
        try:
            self._sink.commit(bytes(self._rows), bytes(self._broken), self._place, done=done)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Stopped(
                f"OUT or a file beside it cannot be written: {error.strerror}. "
                "What was committed is safe."
            ) from None
        self._rows.clear()
        self._broken.clear()
        self._committed = time.monotonic()
        self._show(self._place)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 -- its form
            again = self._stop.is_set()
            self._stop.set()
            if again or self._reading:
                raise KeyboardInterrupt

        before = {
            number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
