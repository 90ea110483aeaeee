"""`wardgate deid` on files, as a user runs it, cut off in every way; no line twice, none left out."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.e2e.processes import until

LINES = 4_000
NOTE = (
    "Seen by Dr. Amy Lee, MRN: 00482913, ph. (617) 555-0142; case {}. " + "No change today. " * 20
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "in.jsonl"
    with path.open("w") as file:
        for n in range(LINES):
            broken = n % 1_000 == 7
            file.write(
                "{Jane\n" if broken else json.dumps({"id": n, "text": NOTE.format(n)}) + "\n"
            )
    return path


@pytest.fixture
def begin(source: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a way to begin a job; whatever is left is killed."""
    begun: list[subprocess.Popen[str]] = []

    def start(target: Path, **options: object) -> subprocess.Popen[str]:
        popen = subprocess.Popen(
            [sys.executable, "-m", "wardgate", "deid", "--jsonl", str(source), str(target)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )
        begun.append(popen)
        return popen

    yield start
    for popen in begun:
        if popen.poll() is None:
            popen.kill()
        popen.communicate()


def is_under_way(target: Path) -> bool:
    """Whether some lines are committed and others are not."""
    path = target.with_name(target.name + ".journal")
    return path.exists() and json.loads(path.read_bytes())["in"]["line"] > 0


def check_whole(target: Path, popen: subprocess.Popen[str]) -> None:
    out, err = popen.communicate(timeout=120)
    assert popen.returncode == 3, err
    said = json.loads(out)
    assert (said["lines"], said["broken"]) == (LINES, 4)
    with target.open() as file:
        ids = []
        for line in file:
            record = json.loads(line)
            ids.append(record["id"])
            assert not {"Amy", "00482913", "555-0142"} & set(record["deidentified"].split())
    assert ids == [n for n in range(LINES) if n % 1_000 != 7]
    errors = target.with_name(target.name + ".errors").read_text()
    assert [json.loads(line)["line"] for line in errors.splitlines()] == [
        n + 1 for n in range(LINES) if n % 1_000 == 7
    ]
    assert "Jane" not in errors + out + err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_cut_off_goes_on(begin, tmp_path, number) -> None:
    target = tmp_path / "out"
    popen = begin(target)
    until(partial(is_under_way, target))
    popen.send_signal(number)
    _, err = popen.communicate(timeout=60)
    assert popen.returncode == (-number if number == signal.SIGKILL else 130)
    assert "Traceback" not in err
    done = json.loads((tmp_path / "out.journal").read_bytes())
    assert 0 < done["in"]["line"] < LINES
    check_whole(target, begin(target))


def test_processes_that_are_killed_cost_nothing(begin, tmp_path) -> None:
    target = tmp_path / "out"
    popen = begin(target)
    until(partial(is_under_way, target))
    children = Path(f"/proc/{popen.pid}/task").glob("*/children")
    for child in [int(pid) for file in children for pid in file.read_text().split()]:
        os.kill(child, signal.SIGKILL)
    check_whole(target, popen)
    assert json.loads((tmp_path / "out.journal").read_bytes())["tally"]["retried"] >= 1


def test_a_full_disk_is_told_and_room_lets_it_go_on(begin, tmp_path) -> None:
    target = tmp_path / "out"

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    popen = begin(target, preexec_fn=little)
    _, err = popen.communicate(timeout=60)
    assert popen.returncode == 1
    assert "cannot be written" in err
    assert "Run the same command again to go on after line" in err
    check_whole(target, begin(target))


def test_a_reader_that_leaves_ends_it_quietly(source) -> None:
    popen = subprocess.Popen(
        [sys.executable, "-m", "wardgate", "deid", "--jsonl", str(source), "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert popen.stdout is not None
    assert b"deidentified" in popen.stdout.readline()
    popen.stdout.close()
    assert popen.stderr is not None
    shown = popen.stderr.read()
    popen.stderr.close()
    assert popen.wait(60) == 1
    assert b"Traceback" not in shown
    assert b"Exception" not in shown
