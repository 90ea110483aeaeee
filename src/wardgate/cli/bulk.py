"""A bulk job: lines in, predictions out, in their order; it can be cut off and go on.

Memory is bounded: a window of requests, each of bounded rows and bytes. What is ready at the front
of the window is committed at once, so that a cut costs what was in flight and no more.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from wardgate.cli.form import Fault, Form, Line
from wardgate.cli.journal import Journal, Refused, Stopped
from wardgate.cli.jsonl import Broken, Lines, Place, dump
from wardgate.cli.progress import Progress
from wardgate.cli.sender import Row, Sender

REQUEST_BYTES = 256 << 10
"""A request ends with the line that passes this; the gateway's own bound is 1 MiB."""
_AHEAD = 4
"""Requests in the window for each that may be in flight: the others wait or are done."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines of one request, broken ones among them, and the place after the last."""

    items: list[Line | Fault]
    place: Place


_Window = deque[tuple[Batch, asyncio.Task[list[Row | Broken]]]]
"""Requests that were begun and are not yet committed, in the order of their lines."""


@dataclass(slots=True)
class Job:
    """One run of a job, from where the journal says to the end of IN."""

    lines: Lines
    size: int
    """Bytes of IN."""
    journal: Journal
    form: Form
    sender: Sender
    concurrency: int
    show: Callable[[Place], None]

    async def run(self) -> None:
        """Answer every line that is left. Raises Stopped, or OSError of a file."""
        begun, before = time.monotonic(), self.journal.tally
        batches = self._batches()
        window: _Window = deque()
        more = True
        try:
            while more or window:
                more = more and await self._fill(window, batches)
                if window:
                    await asyncio.wait({window[0][1]})
                    self.journal.tally = replace(
                        self.journal.tally,
                        seconds=before.seconds + time.monotonic() - begun,
                        retried=before.retried + self.sender.retried,
                    )
                    await self._write(window)
        finally:
            for _, task in window:
                task.cancel()
            await asyncio.gather(*(task for _, task in window), return_exceptions=True)
        if self.lines.offset < self.size:
            raise Stopped
        await self._commit(b"", b"", self.journal.place, done=True)

    async def _fill(self, window: _Window, batches: Iterator[Batch]) -> bool:
        """Send what the window has room for; False where nothing more is to be sent."""
        while len(window) < _AHEAD * self.concurrency:
            # in a thread: a slow file holds up no answer
            batch = (
                None if self.sender.stop.is_set() else await asyncio.to_thread(next, batches, None)
            )
            if batch is None:
                return False
            texts = [item.text for item in batch.items if isinstance(item, Line)]
            window.append((batch, asyncio.create_task(self.sender.answer(texts))))
        return True

    async def _write(self, window: _Window) -> None:
        """Commit what is ready at the front. Raises what a request there ended with."""
        rows, broken, place = bytearray(), bytearray(), self.journal.place
        while window and window[0][1].done() and window[0][1].exception() is None:
            batch, task = window.popleft()
            self._put(batch, task.result(), rows, broken)
            place = batch.place
        if place != self.journal.place:
            await self._commit(bytes(rows), bytes(broken), place)
            self.show(place)
        if window and window[0][1].done():
            window[0][1].result()

    async def _commit(
        self, rows: bytes, broken: bytes, place: Place, *, done: bool = False
    ) -> None:
        try:
            await asyncio.to_thread(self.journal.commit, rows, broken, place, done=done)
        except OSError as error:
            raise Stopped(
                f"{self.journal.target} or a file beside it cannot be written: {error.strerror}. "
                "What was committed is safe."
            ) from None

    def _batches(self) -> Iterator[Batch]:
        """Cut what is left of IN into requests."""
        lines, items, rows, begun = self.lines, [], 0, self.lines.offset
        for raw in lines:
            if raw is None or raw.strip():
                items.append(self.form.read(lines.line, raw))
                rows += isinstance(items[-1], Line)
            if (
                rows >= self.sender.most
                or len(items) >= 2 * self.sender.most
                or lines.offset - begun >= REQUEST_BYTES
            ):
                self._check_size(lines.offset <= self.size)
                yield Batch(items, lines.place)
                items, rows, begun = [], 0, lines.offset
        self._check_size(lines.offset == self.size)
        if lines.offset > begun:
            yield Batch(items, lines.place)

    def _check_size(self, same: bool) -> None:
        if not same:
            raise Stopped("IN was changed while it was read.")

    def _put(
        self, batch: Batch, answers: list[Row | Broken], rows: bytearray, broken: bytearray
    ) -> None:
        """Write a batch down, line by line in order, and count it."""
        tally, left = self.journal.tally, iter(answers)
        for item in batch.items:
            answer = item.why if isinstance(item, Fault) else next(left)
            tally.lines += 1
            if isinstance(answer, Broken):
                tally.broken += 1
                broken += Fault(item.number, answer).written()
            else:
                assert isinstance(item, Line)
                try:
                    rows += self.form.write(item, answer)
                    label = str(answer["label"])
                except KeyError:
                    raise Stopped("The answer is not that of a Wardgate gateway.") from None
                tally.answered += 1
                tally.labels[label] = tally.labels.get(label, 0) + 1


def run(
    source: Path,
    target: Path,
    errors: Path,
    *,
    form: Form,
    options: dict[str, Any],
    concurrency: int,
    sender: Callable[[asyncio.Event], Sender],
) -> None:
    """Run a job or go on with it, and print its report; `options` decide what is written.

    `sender` is called in the event loop.

    Raises Refused, ClickException, or Abort after Ctrl-C.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(source.open("rb"))
            found = os.fstat(file.fileno())
        except OSError as error:
            raise click.ClickException(f"{source}: {error.strerror}.") from None
        if not stat.S_ISREG(found.st_mode):
            raise Refused(f"{source} is not a regular file: a job could not go on with it.")
        size = found.st_size
        job = {
            "size of IN": size,
            **options,
            "keep-text": form.keep_text,
            "under": form.under,
            "errors": os.path.relpath(errors, target.parent),
        }
        journal = Journal(target, errors, job)
        stack.callback(journal.close)
        lines = Lines(file)
        try:
            same = lines.skip(journal.place)
        except OSError as error:
            raise click.ClickException(f"{source}: {error.strerror}.") from None
        if not same:
            raise Refused(f"{source} is not the file that the job of {target} was begun with.")
        if journal.done:
            click.echo(f"{target} is complete; there is nothing to do.", err=True)
        else:
            with Progress(size, journal) as progress:
                why = _ended(
                    lambda stop: Job(
                        lines, size, journal, form, sender(stop), concurrency, progress.show
                    )
                )
            if why is not None:
                again = f"Run the same command again to go on after line {journal.place.line:,}."
                if why:
                    raise click.ClickException(f"{why} {again}")
                click.echo(f"Stopped. {again}", err=True)
                raise click.Abort
        tally = {**asdict(journal.tally), "seconds": round(journal.tally.seconds, 2)}
        click.echo(dump(tally).decode())


def _ended(make: Callable[[asyncio.Event], Job]) -> str | None:
    """Run a job; return None at its end, or why it stopped: nothing where the user wished it."""
    try:
        asyncio.run(_drive(make))
    except Stopped as end:
        return end.detail
    except (asyncio.CancelledError, KeyboardInterrupt):
        return ""
    except OSError as error:
        return f"A file cannot be read: {error.strerror}."
    return None


async def _drive(make: Callable[[asyncio.Event], Job]) -> None:
    """Run a job; the first Ctrl-C or SIGTERM lets what is in flight end, the second does not."""
    stop, loop, me = asyncio.Event(), asyncio.get_running_loop(), asyncio.current_task()

    def interrupt() -> None:
        if stop.is_set() and me is not None:
            me.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        job = make(stop)
        async with job.sender.client:
            await job.run()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
