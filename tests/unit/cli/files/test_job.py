"""A job: order kept, memory bounded, every row once whatever ends it."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
from concurrent.futures import Future

import pytest

from wardgate.cli.files import job as module
from wardgate.cli.files import source as sources
from wardgate.cli.files.crew import Done
from wardgate.cli.files.job import Job
from wardgate.cli.files.source import LineSource
from wardgate.cli.journal import Journal, Stopped
from wardgate.cli.jsonl import Broken, Lines

LINES = b"".join(b"%d\n" % n for n in range(100))


class Hands:
    """A crew that does what it was given when it is asked for it, the newest first."""

    def __init__(self, processes: int = 2, fails_at: int | None = None) -> None:
        self.processes, self.deaths, self._fails_at = processes, 0, fails_at
        self.waiting: list[tuple[list, Future]] = []
        self.most = 0

    def submit(self, items):
        future = Later(self)
        self.waiting.append((items, future))
        self.most = max(self.most, len(self.waiting))
        return future

    def work(self) -> None:
        while self.waiting:
            items, future = self.waiting.pop()
            numbers = [number for number, _ in items]
            if self._fails_at is not None and self._fails_at in numbers:
                future.set_exception(Stopped("It keeps dying."))
                continue
            rows = [Broken("odd", "odd") if n % 10 == 0 else raw for n, raw in items]
            future.set_result(Done(rows, {"NAME": len(rows)}))


class Later(Future):
    def __init__(self, hands: Hands) -> None:
        super().__init__()
        self._hands = hands

    def result(self, timeout=None):
        self._hands.work()
        return super().result(timeout)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(sources, "CHUNK_BYTES", 10)
    monkeypatch.setattr(module, "_COMMIT_BYTES", 1)


@pytest.fixture
def job(tmp_path):
    """Return a way to run what is left of a job; gives its journal, closed."""

    def run(hands: Hands | None = None, content: bytes = LINES, show=lambda _: None, patch=None):
        lines = Lines(io.BytesIO(content))
        source = LineSource(lines, len(content))
        journal = Journal(tmp_path / "out", tmp_path / "errors", {})
        if patch is not None:
            patch(journal)
        assert source.skip(journal.place)
        try:
            Job(source, journal, hands or Hands(), show).run()
        finally:
            journal.close()
        return journal

    return run


EXPECTED = [f"{n}" for n in range(100) if (n + 1) % 10]


def written(tmp_path) -> list[str]:
    return (tmp_path / "out").read_text().splitlines()


def faults(tmp_path) -> list[int]:
    return [json.loads(line)["line"] for line in (tmp_path / "errors").read_text().splitlines()]


def test_order_is_kept_and_the_window_is_bounded(job, tmp_path) -> None:
    hands, shown = Hands(), []
    journal = job(hands, show=shown.append)
    assert written(tmp_path) == EXPECTED
    assert faults(tmp_path) == list(range(10, 101, 10))
    assert journal.done
    assert (journal.tally.lines, journal.tally.answered, journal.tally.broken) == (100, 90, 10)
    assert journal.tally.labels == {"NAME": 100}
    assert hands.most == 8
    assert [place.offset for place in shown] == sorted(place.offset for place in shown)
    assert shown[-1].offset == len(LINES)


def test_the_window_is_bounded_in_bytes(job, monkeypatch) -> None:
    monkeypatch.setattr(module, "_AHEAD_BYTES", 15)
    hands = Hands()
    job(hands)
    assert hands.most == 2


def test_what_stands_before_a_failure_is_committed_and_the_job_goes_on(job, tmp_path) -> None:
    with pytest.raises(Stopped, match="keeps dying"):
        job(Hands(fails_at=50))
    assert 0 < len(written(tmp_path)) < 50
    assert job().done
    assert written(tmp_path) == EXPECTED


def test_an_input_that_breaks_off_is_written_up_to_there(job, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(LineSource, "chunks", breaking(LineSource.chunks))
    with pytest.raises(Stopped, match="IN cannot be read: Input/output error"):
        job()
    assert len(written(tmp_path)) > 0
    monkeypatch.undo()
    monkeypatch.setattr(sources, "CHUNK_BYTES", 10)
    assert job().done
    assert written(tmp_path) == EXPECTED


def breaking(real):
    def chunks(self):
        for number, chunk in enumerate(real(self)):
            if number == 5:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            yield chunk

    return chunks


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_lets_what_is_in_flight_end(job, tmp_path, number) -> None:
    sent = []

    def show(_) -> None:
        if not sent:
            sent.append(os.kill(os.getpid(), number))

    before = signal.getsignal(number)
    with pytest.raises(Stopped) as end:
        job(show=show)
    assert end.value.detail == ""
    assert 10 < len(written(tmp_path)) < 90
    assert signal.getsignal(number) is before
    assert job().done
    assert written(tmp_path) == EXPECTED
    assert faults(tmp_path) == list(range(10, 101, 10))


def test_the_second_interrupt_commits_nothing_more(job, tmp_path) -> None:
    def show(_) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped):
        job(show=show)
    first = written(tmp_path)
    assert len(first) < 10
    assert job().done
    assert written(tmp_path) == EXPECTED


def test_an_interrupt_ends_the_wait_for_a_pipe(job, tmp_path, monkeypatch) -> None:
    def chunks(self):
        yield from list(real(self))[:3]
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError  # the read was interrupted before

    real = LineSource.chunks
    monkeypatch.setattr(LineSource, "chunks", chunks)
    with pytest.raises(Stopped):
        job()
    assert len(written(tmp_path)) > 0


@pytest.mark.parametrize("call", range(1, 8))
def test_a_full_disk_is_told_and_the_job_goes_on(job, tmp_path, call) -> None:
    def full(journal) -> None:
        real, calls = journal.commit, []

        def commit(*given, **named):
            calls.append(given)
            if len(calls) == call:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(*given, **named)

        journal.commit = commit

    with pytest.raises(Stopped, match=r"No space left on device\. What was committed is safe"):
        job(patch=full)
    assert job().done
    assert written(tmp_path) == EXPECTED


def test_a_reader_that_left_is_no_full_disk(job) -> None:
    def gone(journal) -> None:
        def commit(*_, **__):
            raise BrokenPipeError

        journal.commit = commit

    with pytest.raises(BrokenPipeError):
        job(patch=gone)


def test_seconds_and_deaths_add_up_over_runs(job) -> None:
    hands = Hands(fails_at=50)
    hands.deaths = 2
    with pytest.raises(Stopped):
        job(hands)
    hands = Hands()
    hands.deaths = 3
    journal = job(hands)
    assert journal.tally.retried == 5
    assert journal.tally.seconds > 0
