"""The launcher: what the process that it becomes no longer has."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from wardgate.engine import tritonlaunch

SHOW = """
import json, os, resource
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(),
    "core": resource.getrlimit(resource.RLIMIT_CORE), "umask": os.umask(0),
    "no_new_privs": status["NoNewPrivs"].strip(), "environ": sorted(os.environ),
}))
"""
PYTHON = "/usr/bin/python3"  # one that any user may run

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's"),
    pytest.mark.skipif(not Path(PYTHON).exists(), reason="there is no system Python"),
]


def launch(uid: int, parent: int, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", tritonlaunch.__file__, str(uid), str(parent), *command],
        env={"PATH": "/usr/bin"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_it_drops_what_the_command_does_not_need() -> None:
    done = launch(-1, os.getpid(), PYTHON, "-I", "-c", SHOW)
    found = json.loads(done.stdout)
    assert found["uid"] == list(os.getresuid())
    assert found["core"] == [0, 0]
    assert found["umask"] == 0o077
    assert found["no_new_privs"] == "1"
    assert set(found["environ"]) <= {"PATH", "LC_CTYPE"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the user")
def test_root_becomes_a_user_without_groups() -> None:
    found = json.loads(launch(61999, os.getpid(), PYTHON, "-I", "-c", SHOW).stdout)
    assert found["uid"] == [61999] * 3
    assert found["gid"] == [61999] * 3
    assert found["groups"] == []


def test_nothing_runs_for_a_parent_that_is_gone() -> None:
    done = launch(-1, os.getpid() + 1_000_000, PYTHON, "-c", "print('ran')")
    assert (done.returncode, done.stdout) == (1, "")


def test_the_command_dies_with_its_parent() -> None:
    start = (
        "import os, subprocess, sys\n"
        f"command = [sys.executable, '-I', '-S', {tritonlaunch.__file__!r}, '-1', str(os.getpid()),"
        " '/bin/sleep', '60']\n"
        "print(subprocess.Popen(command, stdout=subprocess.PIPE).pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    try:
        assert select.select([child], [], [], 30)[0]
    finally:
        os.close(child)


def open_files(process: int) -> list[str]:
    found = []
    for each in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(each.readlink()))
    return found


def test_all_that_the_command_started_ends_with_it_and_what_sees_to_that_holds_nothing() -> None:
    script = "sleep 60 & echo $!; exec sleep 60"
    with subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            tritonlaunch.__file__,
            "-1",
            str(os.getpid()),
            "/bin/sh",
            "-c",
            script,
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        started = int(command.stdout.readline())
        children = Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text()
        (watcher,) = set(map(int, children.split())) - {started}
        ends = os.pidfd_open(started), os.pidfd_open(watcher)
        try:
            until = time.monotonic() + 30
            while open_files(watcher) != ["anon_inode:[pidfd]"]:  # it may be closing the others
                assert time.monotonic() < until
            command.kill()
            for end in ends:
                assert select.select([end], [], [], 30)[0]
        finally:
            for end in ends:
                os.close(end)
