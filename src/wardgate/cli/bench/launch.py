"""Starts a system, waits until it is ready, and ends it with all that it started, on Ctrl-C too."""

from __future__ import annotations

import datetime as dt
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click

from wardgate.cli.bench import probe
from wardgate.cli.bench.environment import Model
from wardgate.cli.bench.probe import Batches
from wardgate.cli.bench.scenario import Entry, Scenario
from wardgate.cli.bench.system import System
from wardgate.cli.bench.wire import Target
from wardgate.engine import certificates
from wardgate.engine.cpus import available

READY_SECONDS = 180.0
"""How long a system may take to start; some load a cluster first."""
STOP_SECONDS = 30.0
_HOST = "127.0.0.1"


class Failed(click.ClickException):
    """A system did not start, or gave wrong answers; one sentence."""


@dataclass(frozen=True, slots=True)
class Running:
    """A system that is ready."""

    target: Target
    pid: int
    counts: Path
    metrics: str
    """URL of its metrics, or nothing."""
    started_seconds: float
    log: Path
    """What it says."""

    def batches(self) -> Batches:
        """Return its counters of batches: its own metrics, else what our model code counted."""
        return probe.counted(self.counts) if not self.metrics else probe.scraped(self.metrics)

    def tree(self) -> list[int]:
        """Return its processes."""
        return probe.tree(self.pid)


@contextmanager
def running(
    system: System, entry: Entry, model: Model, scenario: Scenario, python: Path
) -> Iterator[Running]:
    """Run a system for one round. Raises Failed where it does not become ready."""
    with tempfile.TemporaryDirectory(prefix="wardgate-bench-") as temporary:
        home = Path(temporary)
        names = _names(system, model, scenario, python, home)
        call = system.call(entry.protocol)
        command = [*system.command, *call.arguments]
        if entry.tls:
            if not system.tls:
                raise Failed(f"{system.name} has no TLS here")
            _certify(home)
            command += system.tls
        words = [word.format_map(names) for word in [*command, *entry.arguments]]
        variables = _variables(system, entry, model, names)
        log = home / "log"
        began = time.perf_counter()
        with log.open("wb") as out:
            process = subprocess.Popen(  # noqa: S603 -- what a file of systems/ names
                words,
                env=variables,
                cwd=system.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C reaches the harness alone, which ends it
                preexec_fn=_pin(scenario.processors.system),  # noqa: PLW1509 -- there are no threads
            )
        try:
            scheme = "https" if entry.tls else "http"
            context = ssl.create_default_context(cafile=home / "ca.pem") if entry.tls else None
            path = system.ready.format_map(names)
            _wait(system, f"{scheme}://{_HOST}:{names['port']}{path}", process, log, context)
            yield Running(
                Target(
                    _HOST,
                    int(names[call.port]),
                    call.path.format_map(names),
                    _token(system, names, variables),
                    str(home / "ca.pem") if entry.tls else None,
                ),
                process.pid,
                home / "counts",
                f"http://{_HOST}:{names['metrics_port']}{system.metrics}" if system.metrics else "",
                time.perf_counter() - began,
                log,
            )
        finally:
            _stop(process)


def _names(
    system: System, model: Model, scenario: Scenario, python: Path, home: Path
) -> dict[str, str]:
    for folder in ("state", "counts"):
        (home / folder).mkdir(mode=0o700)
    processors = len(scenario.processors.system) or available()
    ports = dict(zip(("port", "grpc_port", "metrics_port"), _free_ports(3), strict=True))
    return {
        **ports,
        "python": str(python),
        "systems": str(system.folder.resolve()),
        "state": str(home / "state"),
        "counts": str(home / "counts"),
        "model": str(model.entry / "model.onnx"),
        "tokenizer": str(model.entry / "tokenizer.json"),
        "entry": str(model.entry),
        "registry": str(model.registry),
        "name": model.name,
        "labels": ",".join(model.manifest["labels"]),
        "max_length": str(model.manifest["max_length"]),
        "threads": str(scenario.threads),
        "processors": str(processors),
        "cert": str(home / "cert.pem"),
        "key": str(home / "key.pem"),
    }


def _variables(
    system: System, entry: Entry, model: Model, names: Mapping[str, str]
) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WARDGATE_")}
    registry = () if model.shipped else system.registry_environment
    given = (*system.environment, *registry, *entry.environment)
    return {**kept, **{key: value.format_map(names) for key, value in given}}


def _free_ports(count: int) -> list[str]:
    taken = [socket.socket() for _ in range(count)]
    try:
        for each in taken:
            each.bind((_HOST, 0))
        return [str(each.getsockname()[1]) for each in taken]
    finally:
        for each in taken:
            each.close()


def _pin(processors: tuple[int, ...]) -> Callable[[], None] | None:
    return (lambda: os.sched_setaffinity(0, processors)) if processors else None


def _certify(home: Path) -> None:
    made = certificates.issue(dt.datetime.now(dt.UTC), host=_HOST)
    for name, content in (("ca", made.ca), ("cert", made.server), ("key", made.server_key)):
        path = home / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_bytes(content)


def _wait(
    system: System,
    url: str,
    process: subprocess.Popen[bytes],
    log: Path,
    context: ssl.SSLContext | None,
) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Failed(f"{system.name} ended at its start: {_last(log)}")
        if _ready(system, url, log, context):
            return
        time.sleep(0.05)
    raise Failed(f"{system.name} was not ready within {READY_SECONDS:.0f} s: {_last(log)}")


def _ready(system: System, url: str, log: Path, context: ssl.SSLContext | None) -> bool:
    if system.ready_line:
        lines = log.read_text("utf-8", "replace").splitlines()
        return any(line.startswith(system.ready_line) for line in lines)
    try:
        with urllib.request.urlopen(  # noqa: S310 -- loopback
            url, timeout=1, context=context
        ):
            return True
    except (OSError, urllib.error.URLError):
        return False


def _last(log: Path) -> str:
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "it said nothing"


def _token(system: System, names: Mapping[str, str], variables: Mapping[str, str]) -> str | None:
    if not system.token:
        return None
    done = subprocess.run(  # noqa: S603 -- what a file of systems/ names
        [word.format_map(names) for word in system.token],
        env=dict(variables),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{system.name} gave no token: {done.stderr.strip()[-200:]}")
    return done.stdout.strip()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, even what left its group."""
    started = {pid: probe.started(pid) for pid in probe.tree(process.pid)}
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    end = time.monotonic() + STOP_SECONDS
    while left := [pid for pid, when in started.items() if when and probe.started(pid) == when]:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            break
        time.sleep(0.01)
    process.wait(STOP_SECONDS)
