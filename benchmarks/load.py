"""A closed-loop HTTP/1.1 load generator: fixed concurrency, kept-alive connections, raw sockets.

It parses no more of a reply than its length and status, so that on two cores it takes little from
what it measures; its own share of a core is in the result.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Load:
    """What one run gave. Times in milliseconds."""

    requests: int
    errors: int
    seconds: float
    generator_cpu_share: float
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    def percentile(self, share: float) -> float:
        """Return the latency below which `share` of the requests stayed, milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def summary(self) -> dict[str, float]:
        """Return the figures that go into a result file; raises where any request failed."""
        if self.errors:
            raise RuntimeError(f"{self.errors} of {self.requests} requests failed")
        return {
            "requests": self.requests,
            "requests_per_second": round(self.rate, 1),
            "p50_ms": round(self.percentile(0.50), 3),
            "p95_ms": round(self.percentile(0.95), 3),
            "p99_ms": round(self.percentile(0.99), 3),
            "generator_cpu_share": round(self.generator_cpu_share, 3),
        }


class Connection(asyncio.Protocol):
    """One kept-alive connection; `answered` is called with the status of each whole reply."""

    transport: asyncio.WriteTransport
    buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Take bytes until the reply is whole."""
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        start = self.buffer.lower().find(b"content-length:", 0, head) + 15
        length = int(self.buffer[start : self.buffer.find(b"\r\n", start)])
        if len(self.buffer) < head + 4 + length:
            return
        status, self.buffer = self.buffer[9:12], b""
        self.answered(status)

    def answered(self, status: bytes) -> None:
        """Take note of a reply, and send what comes next."""
        raise NotImplementedError


class _Caller(Connection):
    """Sends the next request as soon as the last is answered."""

    def __init__(self, run: _Run, offset: int) -> None:
        self.run = run
        self.place = offset
        self.sent = 0.0
        self.left = run.requests_each or -1
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's
        if not self.done.done():
            self.done.set_result(None)

    def answered(self, status: bytes) -> None:
        now = time.perf_counter()
        self.run.record(now - self.sent, ok=status == b"200")
        self.left -= 1
        if now >= self.run.end or self.left == 0:
            self.transport.close()
        else:
            self._send()

    def _send(self) -> None:
        requests = self.run.requests
        self.place = (self.place + self.run.step) % len(requests)
        self.sent = time.perf_counter()
        self.transport.write(requests[self.place])


class _Run:
    def __init__(
        self,
        requests: Sequence[bytes],
        begin: float,
        end: float,
        step: int,
        requests_each: int | None,
    ) -> None:
        self.requests, self.begin, self.end, self.step = requests, begin, end, step
        self.requests_each = requests_each
        self.latencies: list[float] = []
        self.errors = 0

    def record(self, seconds: float, *, ok: bool) -> None:
        if time.perf_counter() - seconds >= self.begin:
            self.latencies.append(seconds * 1000)
            self.errors += not ok


def post(url: str, body: bytes, *, token: str | None = None) -> bytes:
    """Return the bytes of one POST request."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    )
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    return head.encode() + b"\r\n" + body


async def closed_loop(
    url: str,
    requests: Sequence[bytes],
    *,
    callers: int,
    seconds: float = 3_600.0,
    warm: float = 0.0,
    requests_each: int | None = None,
) -> Load:
    """Keep `callers` requests in flight for `seconds`, after `warm` seconds that do not count.

    `requests_each` ends each caller after so many requests.
    """
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    begin = time.perf_counter() + warm
    run = _Run(requests, begin, begin + seconds, callers, requests_each)
    cpu = time.process_time()
    made = [
        await loop.create_connection(
            lambda place=place: _Caller(run, place),  # type: ignore[misc]
            parts.hostname,
            parts.port,
        )
        for place in range(callers)
    ]
    await asyncio.gather(*(caller.done for _, caller in made))
    spent = time.process_time() - cpu
    took = time.perf_counter() - begin
    return Load(len(run.latencies), run.errors, took, spent / (took + warm), run.latencies)


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a process with all its threads (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def resident_mib(pid: int) -> float:
    """Resident memory of a process, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def median(values: Sequence[float]) -> float:
    """Median, rounded for a result file."""
    return round(statistics.median(values), 3)
