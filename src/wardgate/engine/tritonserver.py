"""Starts and supervises the real Triton server of the `nvidia-pytriton` wheel, locked.

It listens on loopback alone, gRPC alone, under mutual TLS with certificates of this start; all but
inference and health needs a random key besides. Certificates and keys are in memory files that the
server inherits: no path leads to them, and nothing of them outlives the process. Where this process
is root the server runs as a user of its own. It sees no variable of the gateway, writes no core
file, and dies with the gateway, however that ends. Its log is read and answered in our own
sentences; nothing of it is passed on.

The key is an argument of the server's command line, which local users may read: it parts the
control channel from the others, and what keeps strangers out is the certificate.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from wardgate.engine import tritonfiles, tritonlaunch
from wardgate.engine.certificates import Certificates, issue
from wardgate.engine.tritonaside import aside, may, process_of, runs
from wardgate.engine.tritonprocess import Access, Process, SharedMemory, sweep
from wardgate.errors import EngineUnavailable

START_SECONDS = 30.0
"""From the launch until the server answers; it loads no model in this time."""
STOP_SECONDS = 10.0
"""From SIGTERM to SIGKILL; Triton is told to give runs in flight half of it."""
BACKOFF_LEAST, BACKOFF_MOST = 0.1, 10.0
"""Pause before a restart, seconds; doubled each time, until the server has held for the longest."""
RESTRICTED = (
    "metadata", "shared-memory", "model-config", "model-repository", "statistics", "trace",
    "logging",
)  # fmt: skip
"""Protocols that need the key: all of `--grpc-restricted-protocol` but `inference` and `health`."""


class TritonServer:
    """One server over the model repository `repository`, which it only reads.

    That folder must stay in its place while the server runs; what is in it may come and go.
    `home` is a folder for its files while it runs, made with mode 0700. `threads` for each model
    instance on a processor, 0 shares out what there is. After a crash `on_change(False)` is called,
    and `on_change(True)` once it answers again: at the same address, with the same certificates,
    and without a model. `on_notice` gets our own sentences for the log. Linux only.
    """

    def __init__(
        self,
        repository: Path,
        *,
        home: Path,
        threads: int = 0,
        on_change: Callable[[bool], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        self._repository = repository
        self._home = home
        self._threads = threads
        self._on_change = on_change or (lambda _: None)
        self._on_notice = on_notice or (lambda _: None)
        self._access: Access | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._process: Process | None = None
        self._seen: dict[str, str] = {}
        """Processes of models, once they were seen."""

    @property
    def access(self) -> Access:
        """How to reach it. Raises EngineUnavailable before `start` and after `close`."""
        if self._access is None:
            raise EngineUnavailable
        return self._access

    async def start(self) -> Access:
        """Start the server and wait until it answers.

        Raises EngineUnavailable, with our own sentence, where it is not installed or cannot start.
        """
        if sys.platform != "linux":
            raise EngineUnavailable("Triton runs on Linux alone; name another's with --triton-url.")
        uid = tritonfiles.own_user()
        installed = tritonfiles.find(others=uid is not None)
        if uid is not None and not installed.open_to_all:
            uid = None
            self._on_notice(
                "Triton runs as the gateway's user: the Python environment lies where no other "
                "user may read."
            )
        self._make_home(installed)
        certificates = issue(dt.datetime.now(dt.UTC))
        name, secret = secrets.token_hex(8), secrets.token_hex(32)
        port = _free_port()
        access = Access(
            address=f"127.0.0.1:{port}",
            ca=certificates.ca,
            cert=certificates.client,
            key=certificates.client_key,
            header=f"triton-grpc-protocol-{name}",
            secret=secret,
            uid=uid,
        )
        self._launch = _Launch(
            installed=installed,
            repository=self._repository,
            home=self._home,
            certificates=certificates,
            access=access,
            restricted=f"{','.join(RESTRICTED)}:{name}={secret}",
            port=port,
            threads=self._threads,
            on_notice=self._on_notice,
        )
        try:
            self._process = await self._launch.run()
        except BaseException:
            self._remove_home()
            raise
        self._access = access
        self._supervisor = asyncio.create_task(self._supervise())
        return access

    def aside(self, model: str) -> AbstractAsyncContextManager[None]:
        """While inside, the process that loads `model` gives way to all others."""
        return aside(0 if self._process is None else self._process.pid, model)

    def runs(self, model: str) -> bool:
        """Tell whether the process of a model lives, False only where it was seen before.

        Triton calls a model ready whose process was killed, and starts no other.
        """
        seen = self._seen.get(model)
        if self._process is None or (seen is not None and runs(seen, model)):
            return True
        found = process_of(self._process.pid, model)
        if found is not None:
            self._seen[model] = found
        return found is not None or seen is None

    async def close(self) -> None:
        """Stop the server, its models' processes and all that it left. May be called twice."""
        supervisor, self._supervisor, self._access = self._supervisor, None, None
        if supervisor is None:
            return
        supervisor.cancel()
        await asyncio.wait([supervisor])
        process, self._process = self._process, None
        try:
            if process is not None:
                await process.stop(grace=STOP_SECONDS)
        finally:
            self._remove_home()

    async def _supervise(self) -> None:
        """Wait for the server's end, and start it again, ever later where it does not hold."""
        loop = asyncio.get_running_loop()
        pause = BACKOFF_LEAST
        while True:
            since = loop.time()
            if self._process is not None:
                await self._process.ended()
                self._on_change(False)
                self._on_notice("Triton ended by itself and is started again.")
                await self._process.stop(grace=0)  # `close` does it again if it comes in between
                self._process = None
                self._seen.clear()
                if loop.time() - since > BACKOFF_MOST:
                    pause = BACKOFF_LEAST
            await asyncio.sleep(pause)
            pause = min(2 * pause, BACKOFF_MOST)
            try:
                self._process = await self._launch.run()
            except EngineUnavailable as refused:
                self._on_notice(refused.detail)
            else:
                self._on_change(True)

    def _make_home(self, installed: tritonfiles.Installed) -> None:
        try:
            self._remove_home()
            sweep()
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._home.chmod(0o700)
            tritonfiles.backends(installed, self._home / "backends")
        except OSError:
            raise EngineUnavailable("Triton's folder cannot be written.") from None

    def _remove_home(self) -> None:
        shutil.rmtree(self._home / "backends", ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Launch:
    """All that a start of the server needs; a restart is the same again."""

    installed: tritonfiles.Installed
    repository: Path
    home: Path
    certificates: Certificates
    access: Access
    restricted: str
    port: int
    threads: int
    on_notice: Callable[[str], None]

    async def run(self) -> Process:
        """Launch the server and wait until it answers. Raises EngineUnavailable."""
        memory: SharedMemory | None = None
        files: list[int] = []
        try:
            try:
                memory = SharedMemory()
                # All of it reaches the server as open files: it needs no way through the folders
                # above, which are this user's alone.
                for folder in (self.repository, self.home / "backends"):
                    files.append(os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))  # noqa: PERF401 -- each is closed if the next fails
                made = self.certificates
                files += (
                    _memory_file(content, self.access.uid)
                    for content in (made.ca, made.server, made.server_key)
                )
                native = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-I", "-S", tritonlaunch.__file__),
                    str(-1 if self.access.uid is None else self.access.uid),
                    str(os.getpid()),
                    str(self.installed.server),
                    *self._options(memory.prefix, *files),
                    cwd=self.home,
                    env=self.installed.environment(self.threads, raised=may()),
                    pass_fds=files,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                )
            except BaseException as error:
                if memory is not None:
                    memory.remove()
                if not isinstance(error, OSError):
                    raise
                raise EngineUnavailable("The Triton server could not be launched.") from None
        finally:
            for descriptor in files:
                os.close(descriptor)
        process = Process(native, memory, self.access, self.on_notice)
        try:
            await process.ready(START_SECONDS)
        except BaseException:
            await asyncio.shield(process.stop(grace=0))
            raise
        return process

    def _options(self, prefix: str, *files: int) -> list[str]:
        repository, backends, ca, cert, key = (f"/proc/self/fd/{number}" for number in files)
        return [
            f"--model-repository={repository}",
            "--model-control-mode=explicit",
            "--disable-auto-complete-config",
            # One model that fails to load must not make the server count as not ready.
            "--strict-readiness=false",
            "--exit-on-error=true",
            f"--exit-timeout-secs={int(STOP_SECONDS / 2)}",
            "--allow-http=false",
            "--allow-metrics=false",
            "--allow-sagemaker=false",
            "--allow-vertex-ai=false",
            "--allow-grpc=true",
            # our own keepalive probes, also while a load keeps a call silent for minutes
            "--grpc-http2-min-recv-ping-interval-without-data=5000",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={self.port}",
            "--grpc-use-ssl=true",
            "--grpc-use-ssl-mutual=true",
            f"--grpc-server-cert={cert}",
            f"--grpc-server-key={key}",
            f"--grpc-root-cert={ca}",
            f"--grpc-restricted-protocol={self.restricted}",
            "--log-verbose=0",
            f"--backend-directory={backends}",
            f"--cache-directory={backends}",
            f"--repoagent-directory={backends}",
            f"--backend-config=python,shm-region-prefix-name={prefix}",
            "--backend-config=python,shm-default-byte-size=4194304",
            "--backend-config=python,shm-growth-byte-size=4194304",
        ]


def _memory_file(content: bytes, owner: int | None) -> int:
    """Return a file without a name that holds `content` and that `owner` alone may read."""
    descriptor = os.memfd_create("wardgate", os.MFD_CLOEXEC)
    os.fchmod(descriptor, 0o400)
    os.write(descriptor, content)
    if owner is not None:
        os.fchown(descriptor, owner, owner)
    return descriptor


def _free_port() -> int:
    """Return a port that is free now; should another take it first, they have no certificate."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
