"""A Triton server that runs: whether it answers, what its log may say, and how it ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import secrets
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from wardgate.engine import tritonlog
from wardgate.errors import EngineUnavailable

PROBE_SECONDS, PROBE_TIMEOUT, PROBES = 2.0, 5.0, 3
"""A server that misses so many probes in a row hangs, and is killed."""
_LINE = 4096
"""Bytes of a line of the log that are looked at."""
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 -- where shm_open(3) puts it
_LOCK = re.compile(r"(wardgate-[0-9a-f]{16}-)lock")
"""Name of a lock: whoever may write there may choose any other, with wildcards in it too."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a client needs to reach the server. No `repr` shows a secret."""

    address: str
    ca: bytes
    cert: bytes
    key: bytes = field(repr=False)
    header: str
    """Metadata key of the control channel alone."""
    secret: str = field(repr=False)
    """Its value."""
    uid: int | None = None
    """The server's user where it has one of its own: who makes shared memory gives it to them."""


class SharedMemory:
    """The names of one server's shared memory, held as long as this process lives or needs them.

    A locked file beside says so. The lock is the kernel's (flock(2)): it ends with this process
    however that ends, and means the same in every container that shares this memory, where a
    process id does not. Raises OSError where the file cannot be made.
    """

    def __init__(self) -> None:
        self._lock: int | None = None
        while self._lock is None:
            self.prefix = f"wardgate-{secrets.token_hex(8)}-"
            path = _SHARED_MEMORY / f"{self.prefix}lock"
            made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(made, fcntl.LOCK_EX)
            if os.fstat(made).st_nlink:
                self._lock = made
            else:  # another gateway's `sweep` came between the two calls and took it away
                os.close(made)

    def remove(self) -> None:
        """Take away what is left under these names. May be called twice."""
        if self._lock is not None:
            _remove(self.prefix)
            os.close(self._lock)
            self._lock = None


class Process:
    """A server that runs, with its channel for probes and the reader of its log."""

    def __init__(
        self,
        native: asyncio.subprocess.Process,
        memory: SharedMemory,
        access: Access,
        on_notice: Callable[[str], None],
    ) -> None:
        self._native = native
        self._memory = memory
        self._reader = asyncio.create_task(_read(native.stdout, on_notice))
        self._channel = grpc.aio.secure_channel(
            access.address,
            grpc.ssl_channel_credentials(access.ca, access.key, access.cert),
            options=[
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.min_reconnect_backoff_ms", 50),
                ("grpc.max_reconnect_backoff_ms", 200),
                ("grpc.enable_http_proxy", 0),
            ],
        )
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._native.pid

    async def ready(self, seconds: float) -> None:
        """Wait until the server answers. Raises EngineUnavailable after `seconds` or at its end."""
        probe = asyncio.create_task(self._probe(seconds))
        end = asyncio.create_task(self._native.wait())
        try:
            await asyncio.wait({probe, end}, return_when=asyncio.FIRST_COMPLETED)
            if end.done():
                raise EngineUnavailable("The Triton server ended while it started.")
            if not probe.result():
                raise EngineUnavailable("The Triton server did not answer in time.")
        finally:
            for task in (probe, end):
                task.cancel()
            await asyncio.wait({probe, end})

    async def ended(self) -> None:
        """Wait until the process ends or has missed too many probes."""
        end = asyncio.create_task(self._native.wait())
        missed = 0
        try:
            while missed < PROBES:
                await asyncio.wait({end}, timeout=PROBE_SECONDS)
                if end.done():
                    return
                missed = 0 if await self._probe(PROBE_TIMEOUT) else missed + 1
        finally:
            end.cancel()
            await asyncio.wait({end})

    async def stop(self, *, grace: float) -> None:
        """End the server and its models' processes; take away the shared memory they leave."""
        group = self._native.pid
        if self._native.returncode is None and grace > 0:
            self._native.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._native.wait(), grace)
        with suppress(ProcessLookupError):  # before it leads its group there is no other process
            os.killpg(group, signal.SIGKILL)
        with suppress(ProcessLookupError):
            self._native.kill()
        await self._native.wait()
        self._reader.cancel()
        await asyncio.wait({self._reader})
        await self._channel.close()
        self._memory.remove()

    async def _probe(self, seconds: float) -> bool:
        try:
            reply = await self._stub.ServerReady(
                service_pb2.ServerReadyRequest(), timeout=seconds, wait_for_ready=True
            )
        except grpc.aio.AioRpcError:
            return False
        return bool(reply.ready)


async def _read(stream: asyncio.StreamReader | None, on_notice: Callable[[str], None]) -> None:
    """Read the log to its end and say what may be said of it."""
    assert stream is not None
    rest = b""
    while chunk := await stream.read(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[:_LINE]
        for line in lines:
            said = tritonlog.sentence(line[:_LINE].decode("utf-8", "replace"))
            if said is not None:
                on_notice(said)


def sweep() -> None:
    """Take away the shared memory of servers whose gateway is gone, and no other's."""
    for path in _SHARED_MEMORY.glob("wardgate-*-lock"):
        name = _LOCK.fullmatch(path.name)
        with suppress(OSError):  # its gateway lives, or it is another user's
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if name is not None:
                    _remove(name[1])
            finally:
                os.close(descriptor)


def _remove(prefix: str) -> None:
    """Take away the regions of a prefix, and its lock as the last: the next `sweep` needs it."""
    lock = _SHARED_MEMORY / f"{prefix}lock"
    for left in [*(each for each in _SHARED_MEMORY.glob(f"{prefix}*") if each != lock), lock]:
        with suppress(OSError):  # another user's: theirs to take away
            left.unlink(missing_ok=True)
