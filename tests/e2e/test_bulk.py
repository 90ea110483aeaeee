"""Bulk jobs that are cut off: killed, interrupted, without a gateway, without room on the disk."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.processes import QUICK, Gateway, gateway, until

from wardgate.audit.read import search

LINES = 240
BATCH = 4
KEPT = ("id", "label", "score", "scores", "deidentified", "windows", "version")
"""Members that do not depend on the request."""


def content() -> bytes:
    made = []
    for n in range(LINES):
        word = ("wonderful", "awful", "better")[n % 3]
        line = {"id": n, "text": f"Mr. John Smith, case {n}, said that it was {word}."}
        made.append(b"{Jane" if n % 60 == 7 else json.dumps(line).encode())
    return b"\n".join(made) + b"\n"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bulk") / "in.jsonl"
    path.write_bytes(content())
    return path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway for the tests that leave it alive."""
    with gateway(tmp_path_factory.mktemp("running")) as found:
        yield found


@pytest.fixture(scope="module")
def begin(source: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a way to begin a job; whatever is left is killed."""
    begun: list[subprocess.Popen[str]] = []

    def start_job(state: Path, target: Path, *more: str, **options: Any) -> subprocess.Popen[str]:
        given = ["--jsonl", str(source), str(target), "--batch", str(BATCH), *more]
        popen = subprocess.Popen(
            [sys.executable, "-m", "wardgate", "predict", "--state", str(state), *given],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        begun.append(popen)
        return popen

    yield start_job
    for popen in begun:
        if popen.poll() is None:
            popen.kill()
        popen.communicate()


def place(target: Path) -> int:
    """Return how many lines the journal says are done."""
    path = target.with_name(target.name + ".journal")
    return int(json.loads(path.read_bytes())["in"]["line"]) if path.exists() else 0


def reached(target: Path, mark: int) -> bool:
    return place(target) >= mark


def finish(popen: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = popen.communicate(timeout=60)
    assert popen.returncode == 0, err
    assert "Jane" not in out + err
    report: dict[str, Any] = json.loads(out)
    return report


def rows(target: Path) -> list[dict[str, Any]]:
    """Return what a job wrote, without what depends on the request."""
    found = [json.loads(line) for line in target.read_bytes().splitlines()]
    return [{name: row[name] for name in KEPT} for row in found]


@dataclass(frozen=True)
class Whole:
    """What an uninterrupted job writes."""

    rows: list[dict[str, Any]]
    faults: bytes

    def check(self, target: Path) -> None:
        """Check that another job wrote the same, line by line."""
        found = rows(target)
        assert [row["id"] for row in found] == [row["id"] for row in self.rows]
        for row, expected in zip(found, self.rows, strict=True):
            # int8 scales depend on what else is in the engine's batch
            about = {name: pytest.approx(expected[name], abs=0.02) for name in ("score", "scores")}
            assert row == {**expected, **about}
        assert Path(f"{target}.errors").read_bytes() == self.faults


@pytest.fixture(scope="module")
def whole(running: Gateway, begin, tmp_path_factory) -> Whole:
    target = tmp_path_factory.mktemp("whole") / "out"
    report = finish(begin(running.state, target))
    assert (report["lines"], report["answered"], report["broken"]) == (LINES, LINES - 4, 4)
    return Whole(rows(target), Path(f"{target}.errors").read_bytes())


def check_intents(running: Gateway, since: int, *, answered: int, again: int = 0) -> None:
    """Check that each request made one intent with its rows, and few were sent twice."""
    folder = running.state / "audit"
    intents = [record["event"] for record in search(folder, kind="intent", since=since)]
    assert all(1 <= event["rows"] <= BATCH for event in intents)
    sent = sum(event["rows"] for event in intents)
    assert answered <= sent <= answered + again


def now() -> int:
    return time.time_ns() // 1000


def test_a_job_killed_in_the_middle_goes_on_without_loss_or_repeat(
    whole, running, begin, tmp_path
) -> None:
    target = tmp_path / "out"
    began = now()
    for mark in (40, 120, 200):
        killed = begin(running.state, target, "--concurrency", "2")
        until(partial(reached, target, mark))
        killed.kill()
        killed.wait()
    with target.open("ab") as torn:  # as a power loss may leave it
        torn.write(b'{"id": 99999, "label": "posi')
    done = begin(running.state, target)
    report = finish(done)
    assert report["lines"] == LINES
    whole.check(target)
    # what was in the window when it was killed is sent again, and nothing else
    check_intents(running, began, answered=LINES - 4, again=3 * 2 * 4 * BATCH)


def test_ctrl_c_lets_requests_end_and_nothing_is_sent_twice(
    whole, running, begin, tmp_path
) -> None:
    target = tmp_path / "out"
    began = now()
    first = begin(running.state, target, "--concurrency", "1")
    until(partial(reached, target, 20))
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=30)
    assert (first.returncode, out) == (130, "")
    assert f"Run the same command again to go on after line {place(target)}." in err
    assert 20 <= place(target) < LINES
    finish(begin(running.state, target))
    whole.check(target)
    check_intents(running, began, answered=LINES - 4)


def test_a_gateway_killed_in_the_middle_is_waited_for_as_long_as_patience_lasts(
    whole, begin, start, tmp_path
) -> None:
    running, waits, stops = start(**QUICK), tmp_path / "waits", tmp_path / "stops"
    waiting = begin(running.state, waits)
    stopping = begin(running.state, stops, "--patience", "0.5")
    until(lambda: place(waits) >= 20 and place(stops) >= 20)
    running.stop(signal.SIGKILL)
    _, err = stopping.communicate(timeout=30)
    assert stopping.returncode == 1
    assert "did not answer" in err
    assert f"Run the same command again to go on after line {place(stops)}." in err
    assert waiting.stderr is not None
    assert "Trying again for up to" in waiting.stderr.readline()
    again = start(state=running.state, **QUICK)  # on another port
    assert finish(waiting)["retried"] >= 1
    finish(begin(again.state, stops))
    whole.check(waits)
    whole.check(stops)


def test_a_full_disk_stops_the_job_which_goes_on_later(whole, running, begin, tmp_path) -> None:
    target = tmp_path / "out"

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))

    job = begin(running.state, target, preexec_fn=small)
    _, err = job.communicate(timeout=30)
    assert job.returncode == 1
    assert os.strerror(27) in err  # EFBIG
    assert "What was committed is safe. Run the same command again" in err
    finish(begin(running.state, target))
    whole.check(target)


def test_two_jobs_do_not_write_to_one_file(whole, running, begin, tmp_path) -> None:
    target = tmp_path / "out"
    first = begin(running.state, target, "--concurrency", "1")
    until(partial(reached, target, BATCH))
    first.send_signal(signal.SIGSTOP)
    second = begin(running.state, target)
    _, err = second.communicate(timeout=30)
    assert second.returncode == 2
    assert "Another job writes" in err
    first.send_signal(signal.SIGCONT)
    finish(first)
    whole.check(target)
