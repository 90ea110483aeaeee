"""Gateways as processes of their own, with every place where they could leave something."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from wardgate.auth.issuer import DevelopmentIssuer

QUICK = {"WARDGATE_ENGINE__SESSIONS": "1", "WARDGATE_ENGINE__THREADS": "1"}
"""Nothing to try out at warm-up, so that a start is quick."""


def until(condition: Callable[[], object], seconds: float = 30.0, why: str = "") -> Any:
    """Ask again and again, and return the first answer that is true; fail at the deadline."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {why or condition}"
        time.sleep(0.02)


def descendants(pid: int) -> dict[int, str]:
    """Return the processes below one, with what they were started as."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found: dict[int, str] = {}
    pending = [pid]
    while pending:
        for child in parents.get(pending.pop(), ()):
            with contextlib.suppress(OSError):
                found[child] = (
                    Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                )
            pending.append(child)
    return found


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@dataclass
class Gateway:
    """A running gateway; `home` holds its state, temporary files, working folder and output."""

    popen: subprocess.Popen[bytes]
    home: Path
    url: str = ""
    metrics_url: str = ""
    grpc: str = ""
    """HOST:PORT, where it was started with `--grpc-port`."""

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def stdout(self) -> str:
        return (self.home / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.home / "stderr").read_text()

    def token(self, *scopes: str, subject: str = "tester", **options: Any) -> str:
        """Return a token of its development issuer."""
        if scopes:
            options["scopes"] = scopes
        issuer = DevelopmentIssuer.open(self.state)
        return issuer.issue(subject=subject, now=time.time(), **options)

    def bearer(self, *scopes: str, **options: Any) -> dict[str, str]:
        """Return the header with such a token."""
        return {"authorization": f"Bearer {self.token(*scopes, **options)}"}

    def client(self, **options: Any) -> httpx.Client:
        """Return a client for it."""
        given = {"base_url": self.url, "trust_env": False, "timeout": 30, **options}
        return httpx.Client(**given)

    def metrics(self) -> str:
        """Return what its metrics port says."""
        return httpx.get(f"{self.metrics_url}/metrics", trust_env=False, timeout=10).text

    def metric(self, name: str, *labels: str) -> float:
        """Return the sum of the samples of a name whose labels hold all of `labels`."""
        total = 0.0
        for line in self.metrics().splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(label in sample for label in labels):
                total += float(value)
        return total

    def processes(self, part: str = "") -> list[int]:
        """Return the processes below it whose command line holds `part`."""
        return [pid for pid, line in descendants(self.popen.pid).items() if part in line]

    def engine(self) -> int:
        """Return the engine process: of the supervisor's children the one without any."""
        return until(lambda: [pid for pid in self._children() if not descendants(pid)])[0]

    def workers(self) -> list[int]:
        """Return the workers: each has a process for long texts."""
        return [pid for pid in self._children() if descendants(pid)]

    def _children(self) -> list[int]:
        return [pid for pid in self.processes(" _child ") if alive(pid)]

    def stop(self, number: int = signal.SIGTERM, seconds: float = 40.0) -> int:
        """Send a signal and return the exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(seconds)

    def verify(self) -> subprocess.CompletedProcess[str]:
        """Run `wardgate audit verify` on its record."""
        return command("audit", "verify", "--state", str(self.state))


def command(
    *arguments: str, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "wardgate", *arguments],
        cwd=cwd,
        env={**os.environ, **QUICK, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@contextlib.contextmanager
def launched(
    home: Path, *flags: str, program: str = "serve", file_bytes: int = 0, **env: str
) -> Iterator[Gateway]:
    """Start a gateway in a session of its own and do not wait; whatever is left is killed.

    Core files are allowed, and go to a working folder of its own. `file_bytes` bounds every file
    that it writes: a full disk, as far as SQLite can tell.
    """
    for name in ("state", "tmp", "cwd", "user"):
        (home / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    def limits() -> None:
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        if file_bytes:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))

    with (home / "stdout").open("wb") as out, (home / "stderr").open("wb") as err:
        popen = subprocess.Popen(
            [sys.executable, "-m", "wardgate", program, "--port", "0", *flags],
            cwd=home / "cwd",
            env={
                **os.environ,
                **QUICK,
                "WARDGATE_STATE": str(home / "state"),
                "TMPDIR": str(home / "tmp"),
                "HOME": str(home / "user"),
                "XDG_CACHE_HOME": str(home / "user"),
                **env,
            },
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=limits,  # noqa: PLW1509 -- it only sets limits
        )
    try:
        yield Gateway(popen, home)
    finally:
        left = descendants(popen.pid)
        if popen.poll() is None:
            popen.kill()
        popen.wait()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def gateway(home: Path, *flags: str, **options: Any) -> Iterator[Gateway]:
    """Start a gateway and wait until it says that it is ready."""
    with launched(home, *flags, **options) as found:
        await_ready(found)
        yield found


def await_ready(found: Gateway) -> None:
    """Wait for the line that says where it listens."""

    def line() -> list[str]:
        assert found.popen.poll() is None, found.stderr
        lines = [
            each for each in found.stdout.splitlines(keepends=True) if each.startswith("ready ")
        ]
        return lines[-1].split() if lines and lines[-1].endswith("\n") else []

    words = until(line, 60, "ready")
    found.url, found.metrics_url = words[1], words[words.index("metrics") + 1]
    if "grpc" in words:
        found.grpc = words[words.index("grpc") + 1]
