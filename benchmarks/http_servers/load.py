"""A small closed-loop HTTP/1.1 load: N kept-alive connections, one request in flight on each."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

REQUEST = (
    b"POST /echo HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\nAccept: */*\r\n"
    b"Authorization: Bearer " + b"x" * 600 + b"\r\nContent-Type: application/json\r\n"
    b"Content-Length: 150\r\n\r\n" + b"y" * 150
)


@dataclass(frozen=True, slots=True)
class Load:
    """What one run gave."""

    requests: int
    seconds: float
    cpu_seconds: float
    """Processor time of the server's process."""
    p50_us: float
    p99_us: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """Processor time of the server for one request, microseconds."""
        return self.cpu_seconds / self.requests * 1e6


class _Caller(asyncio.Protocol):
    """Sends a request, reads the reply by its content-length, sends the next."""

    def __init__(self, left: list[int], done: asyncio.Future[None], times: list[float]) -> None:
        self.left, self.done, self.times = left, done, times
        self.buffer = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.send()

    def send(self) -> None:
        if self.left[0] <= 0:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self.left[0] -= 1
        self.began = time.perf_counter()
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) >= length:
            assert head.startswith(b"HTTP/1.1 200"), head
            self.buffer = b""
            self.times.append(time.perf_counter() - self.began)
            self.send()


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of the children it has now, seconds."""
    pids = [str(pid)]
    for task in Path(f"/proc/{pid}/task").iterdir():
        pids += (task / "children").read_text().split()
    total = 0
    for each in pids:
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / 100


async def _run(port: int, requests: int, callers: int) -> tuple[float, list[float]]:
    loop = asyncio.get_running_loop()
    left = [requests]
    times: list[float] = []
    began = time.perf_counter()
    waits = []
    for _ in range(callers):
        done = loop.create_future()
        waits.append(done)
        await loop.create_connection(lambda d=done: _Caller(left, d, times), "127.0.0.1", port)
    await asyncio.gather(*waits)
    return time.perf_counter() - began, times


def run(port: int, pid: int, *, requests: int, callers: int) -> Load:
    """Send `requests` by `callers` at once to the server `pid` on `port`."""
    before = cpu_seconds(pid)
    seconds, times = uvloop.run(_run(port, requests, callers))
    times.sort()
    return Load(
        requests,
        seconds,
        cpu_seconds(pid) - before,
        times[len(times) // 2] * 1e6,
        times[len(times) * 99 // 100] * 1e6,
    )
