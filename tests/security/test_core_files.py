"""A crash in the middle of a request leaves no core file: it would hold the note."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.e2e.processes import Gateway, alive, gateway, until

NOTE = "Patient: Thaddeus Okonkwo, MRN: 84720913, seen 07/22/1951. " * 3000
CAP_SYS_PTRACE = 19
"""linux/capability.h"""
CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


@pytest.fixture(scope="module", autouse=True)
def _cores_are_written(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without this machine writing core files for others the test could not fail."""
    folder = tmp_path_factory.mktemp("control")

    def limits() -> None:
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    subprocess.run([sys.executable, "-c", CRASH], cwd=folder, preexec_fn=limits, check=False)
    if not any(folder.iterdir()):
        pytest.skip("this machine writes no core files into the working folder")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("core"), "--workers", "2") as found:
        yield found


@contextlib.contextmanager
def requests_in_flight(found: Gateway) -> Iterator[None]:
    """Keep long notes in flight until the block ends."""
    stop = threading.Event()
    headers = found.bearer()

    def send() -> None:
        with found.client(headers=headers) as client:
            while not stop.is_set():
                with contextlib.suppress(httpx.HTTPError):
                    client.post("/v1/predict", json={"model": "sentiment", "text": NOTE})

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: found.metric("wardgate_in_flight") > 0, why="a request in flight")
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def cores(found: Gateway) -> list[Path]:
    return [path for path in found.home.rglob("core*") if path.is_file()]


def every_process(found: Gateway) -> list[int]:
    return [found.popen.pid, *found.processes()]


def test_no_process_may_write_a_core_file(running: Gateway) -> None:
    pids = every_process(running)
    assert len(pids) == 6, "supervisor, engine, two workers, a process for long texts for each"
    for pid in pids:
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)


def test_no_other_process_may_read_the_memory_of_one(running: Gateway) -> None:
    """`dumpable` is off: a core_pattern that pipes to a program ignores the limit."""
    capabilities = int(re.findall(r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text())[0], 16)
    if capabilities >> CAP_SYS_PTRACE & 1:
        pytest.skip("this user may read the memory of any process")
    for pid in every_process(running):
        with pytest.raises(PermissionError):
            Path(f"/proc/{pid}/environ").read_bytes()


def test_a_crash_in_mid_request_leaves_no_core_file(running: Gateway) -> None:
    with requests_in_flight(running):
        pids = running.processes()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSEGV)
        until(lambda: not any(map(alive, pids)), why="all have crashed")
        assert cores(running) == []
        pids = every_process(running)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGABRT)
        assert running.popen.wait(20) == -signal.SIGABRT
        until(lambda: not any(map(alive, pids)), why="all have crashed")
    assert cores(running) == []
