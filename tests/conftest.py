"""The real gateway for tests: in process, and as the processes a user starts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import hypothesis
import pytest
import pytest_asyncio

from wardgate.auth.issuer import DevelopmentIssuer
from wardgate.settings import Settings
from wardgate.web.app import Gateway, load_models, start_engine

for _name in [name for name in os.environ if name.startswith("WARDGATE_")]:
    del os.environ[_name]  # a developer's own settings are no part of a test

# The same examples in every run on CI: new ones are for developers' machines.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI") == "true":
    hypothesis.settings.load_profile("ci")

ORIGIN = "http://gateway.test"


@dataclass
class Running:
    """A gateway in this process, and tokens for it."""

    gateway: Gateway
    settings: Settings
    issuer: DevelopmentIssuer

    def token(self, *scopes: str, **claims: object) -> str:
        """Return a token with these scopes, the usual ones where none are given."""
        given = {"scopes": scopes} if scopes else {}
        return self.issuer.issue(subject="tester", now=time.time(), **given, **claims)  # type: ignore[arg-type]

    def bearer(self, *scopes: str, **claims: object) -> dict[str, str]:
        """Return the header with such a token."""
        return {"authorization": f"Bearer {self.token(*scopes, **claims)}"}

    def client(self) -> httpx.AsyncClient:
        """Return a client that calls the application without a socket."""
        transport = httpx.ASGITransport(app=self.gateway.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[object]:
    """The embedded engine with the shipped models, warmed once for all tests."""
    settings = Settings(
        state=tmp_path_factory.mktemp("engine"), engine={"sessions": 1, "threads": 1}
    )
    started = await start_engine(settings, load_models(settings))
    yield started
    await started.close()


class Shared:
    """An engine that outlives the gateways that use it."""

    def __init__(self, engine: object) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    async def close(self) -> None:
        """Leave the engine to its fixture."""


@pytest.fixture(scope="session")
def open_gateway(
    engine: object, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., contextlib.AbstractAsyncContextManager[Running]]:
    """Return a way to open a gateway with settings of one's own."""

    @contextlib.asynccontextmanager
    async def opened(**groups: object) -> AsyncIterator[Running]:
        state = tmp_path_factory.mktemp("state")
        state.chmod(0o700)
        settings = Settings(**{"state": state, "deid": {"processes": 0}, **groups})  # type: ignore[arg-type]
        gateway = await Gateway.open(settings, chain="worker-0", engine=Shared(engine))  # type: ignore[arg-type]
        try:
            await gateway.readiness.refresh()
            yield Running(gateway, settings, DevelopmentIssuer.open(settings.state))
        finally:
            await gateway.close()

    return opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running(
    open_gateway: Callable[..., contextlib.AbstractAsyncContextManager[Running]],
) -> AsyncIterator[Running]:
    """A gateway with the default settings, shared by the tests that leave no trace in it."""
    async with open_gateway() as found:
        yield found


@dataclass
class Process:
    """A gateway that runs as a user starts it."""

    popen: subprocess.Popen[str]
    state: Path
    url: str
    metrics: str

    def wardgate(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command against the same state folder."""
        return run_wardgate(*arguments, state=self.state, **options)  # type: ignore[arg-type]

    def token(self, *arguments: str) -> str:
        """Return a token of its development issuer."""
        return self.wardgate("token", *arguments, check=True).stdout.strip()

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 40.0) -> int:
        """Send a signal and return the exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(seconds)


def run_wardgate(
    *arguments: str, state: Path, check: bool = False, stdin: str | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "wardgate", *arguments],
        env={**os.environ, "WARDGATE_STATE": str(state), **env},
        input=stdin,
        capture_output=True,
        text=True,
        check=check,
        timeout=120,
    )


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Return a way to start `wardgate serve`; whatever is left is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*flags: str, state: Path | None = None, **env: str) -> Process:
        home = state or tmp_path / "state"
        log = tmp_path / f"stderr-{len(started)}.log"
        with log.open("w") as stderr:
            popen = subprocess.Popen(
                [sys.executable, "-m", "wardgate", "serve", "--port", "0", *flags],
                env={**os.environ, "WARDGATE_STATE": str(home), **env},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        started.append(popen)
        assert popen.stdout is not None
        line = popen.stdout.readline().split()
        assert line[:1] == ["ready"], log.read_text()
        return Process(popen, home, line[1], line[line.index("metrics") + 1])

    yield begin
    for popen in started:
        if popen.poll() is None:
            popen.kill()
        popen.wait()
        if popen.stdout is not None:
            popen.stdout.close()


@pytest.fixture
def needs(request: pytest.FixtureRequest) -> Callable[[bool, str], None]:
    """Skip where a real component cannot be had; with CI=true that is a failure."""

    def check(there: bool, reason: str) -> None:
        if not there:
            if os.environ.get("CI") == "true":
                pytest.fail(f"needed on CI: {reason}")
            pytest.skip(reason)

    return check


def problem_of(reply: httpx.Response) -> dict[str, object]:
    """Return the problem in a reply, checked for form (RFC 9457 §3.1)."""
    assert reply.headers["content-type"] == "application/problem+json"
    found = json.loads(reply.content)
    assert found["status"] == reply.status_code
    assert {"type", "title", "status", "detail", "instance"} <= found.keys()
    assert reply.headers["cache-control"] == "no-store"
    return found
