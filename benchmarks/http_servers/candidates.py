"""How each candidate is started: its best settings for what is tested, from its own documentation."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files for a start under TLS."""

    cert: Path
    key: Path
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One server: `command(port, fd, tls)` gives its command line; None where it cannot do so."""

    name: str
    package: str
    command: Callable[[int, int | None, Tls | None], list[str] | None]

    @property
    def version(self) -> str:
        """Version of the installed package."""
        return version(self.package)

    def start(
        self, *, tls: Tls | None = None, listener: socket.socket | None = None
    ) -> tuple[subprocess.Popen[bytes], int] | None:
        """Start it; return the process and its port. None where it has no way to do so."""
        fd = None
        if listener is not None:
            port, fd = listener.getsockname()[1], listener.fileno()
        else:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = probe.getsockname()[1]
        command = self.command(port, fd, tls)
        if command is None:
            return None
        process = subprocess.Popen(
            command,
            cwd=HERE,
            pass_fds=() if fd is None else (fd,),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 15
        while time.monotonic() < end and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                time.sleep(0.5)
                return process, port
        process.kill()
        process.wait()
        return None


def _wardgate(port: int, fd: int | None, tls: Tls | None) -> list[str]:
    command = [sys.executable, "wardgate_server.py", "--port", str(port)]
    if fd is not None:
        command += ["--fd", str(fd)]
    if tls is not None:
        command += ["--cert", str(tls.cert), "--key", str(tls.key)]
        command += ["--ca", str(tls.ca)] if tls.ca else []
    return command


def _uvicorn(http: list[str]) -> Callable[[int, int | None, Tls | None], list[str]]:
    def command(port: int, fd: int | None, tls: Tls | None) -> list[str]:
        found = [sys.executable, "-m", "uvicorn", "app:app", "--loop", "uvloop", *http]
        found += ["--no-access-log", "--log-level", "critical", "--timeout-graceful-shutdown", "10"]
        found += ["--port", str(port)] if fd is None else ["--fd", str(fd)]
        if tls is not None:
            found += ["--ssl-certfile", str(tls.cert), "--ssl-keyfile", str(tls.key)]
            found += ["--ssl-ca-certs", str(tls.ca), "--ssl-cert-reqs", "2"] if tls.ca else []
        return found

    return command


def _hypercorn(port: int, fd: int | None, tls: Tls | None) -> list[str]:
    bind = f"127.0.0.1:{port}" if fd is None else f"fd://{fd}"
    command = [sys.executable, "-m", "hypercorn", "app:app", "--bind", bind]
    command += ["--worker-class", "uvloop", "--read-timeout", "9", "--graceful-timeout", "10"]
    if tls is not None:
        command += ["--certfile", str(tls.cert), "--keyfile", str(tls.key)]
        command += ["--ca-certs", str(tls.ca), "--verify-mode", "CERT_REQUIRED"] if tls.ca else []
    return command


def _granian(port: int, fd: int | None, tls: Tls | None) -> list[str] | None:
    if fd is not None:
        return None  # takes a host and port, or a path; no descriptor
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "app:app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop", "--no-ws"]
    command += ["--log-level", "critical", "--http1-header-read-timeout", "9000"]
    command += ["--workers-kill-timeout", "10"]
    if tls is not None:
        command += ["--ssl-certificate", str(tls.cert), "--ssl-keyfile", str(tls.key)]
        command += ["--ssl-protocol-min", "tls1.2"]
        command += ["--ssl-ca", str(tls.ca), "--ssl-client-verify"] if tls.ca else []
    return command


def candidates() -> list[Candidate]:
    """Return those that are installed."""
    found = [Candidate("wardgate", "wardgate", _wardgate)]
    if importlib.util.find_spec("uvicorn"):
        found.append(Candidate("uvicorn", "uvicorn", _uvicorn(["--http", "httptools"])))
        if importlib.util.find_spec("zttp"):
            http = ["--http", "zttp", "--http2"]
            found.append(Candidate("uvicorn-zttp", "uvicorn", _uvicorn(http)))
    if importlib.util.find_spec("hypercorn"):
        found.append(Candidate("hypercorn", "hypercorn", _hypercorn))
    if importlib.util.find_spec("granian"):
        found.append(Candidate("granian", "granian", _granian))
    return found
