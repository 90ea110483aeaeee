"""Results as `bench run` writes them, made up, and small servers that stall."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from pathlib import Path

import pytest

from wardgate.cli.bench import results
from wardgate.cli.bench.histogram import Latencies

SCENARIOS = Path(__file__).parents[4] / "benchmarks" / "scenarios"
HOPS = {"auth": 0.1, "read": 0.1, "deid": 1.2, "tokenize": 0.2, "infer": 8.0, "outcome": 1.5}


def measured(label, level, ms, rate, *, rng, kind="closed", **changes):
    """One measurement; latencies around `ms`."""
    values = [rng.lognormvariate(0, 0.4) * ms for _ in range(500)]
    taken = Latencies.of(values)
    return {
        "system": label,
        "load": {"kind": kind, "level": level, "burst": 1.0, "lanes": int(level)},
        "requests": 500,
        "errors": {},
        "seconds": 2.0,
        "requests_per_second": rate * rng.uniform(0.97, 1.03),
        **taken.summary(),
        "mean_ms": sum(values) / 500,
        "histogram": taken.encode(),
        "hops_ms": HOPS if label.startswith("wardgate") else {},
        "generator": {
            "cpu_share": 0.1,
            "waited_for_cpu_share": 0.0,
            "lag": {"p99_ms": 0.2},
            "processors": [0],
        },
        "memory_mib": 300.0 + len(label),
        "processes": 1,
        "cpu_ms_a_request": 2000 / rate,
        "start_seconds": 1.0,
        "system_processors": [0],
        "batches": {"runs": 100, "rows_a_batch": 1 + level / 8, "padding_share": 0.02 * level / 8},
        "bottleneck": [],
        **changes,
    }


def content(systems, *, rounds=5, levels=(1.0, 8.0, 32.0), name="made", **changes):
    """A whole result: `systems` gives milliseconds and requests per second at one caller."""
    rng = random.Random(5)
    return {
        "commit": "0123456789abcdef",
        "time": "2026-01-01T00:00:00Z",
        "machine": {"cpu": "a processor", "processors": 2, "memory_gib": 8, "gpu": "",
                    "system": "Linux", "governor": "", "load_before": 0.1},
        "scenario": {
            "name": name, "title": "Made up", "about": "Of no machine.", "model": "sentiment",
            "rounds": rounds, "seconds": 2.0, "warm": 1.0, "seed": 1, "threads": 0,
            "processors": {"system": [], "generator": []},
            "systems": [{"label": label, "name": label} for label in systems],
        },
        "notes": {"count": 100, "characters_p50": 110, "characters_p95": 500},
        "systems": {
            label: {"title": label, "about": "It answers.", "protocol": "http1",
                    "model": "sentiment", "precision": "int8", "model_sha256": "ab" * 32,
                    "versions": {"numpy": "1"}, "golden": {"notes": 8, "farthest_score": 0.0}}
            for label in systems
        },
        "rounds": [
            {"measured": [
                measured(label, level, ms * level**0.8, rate * level**0.2, rng=rng)
                for label, (ms, rate) in systems.items()
                for level in levels
            ]}
            for _ in range(rounds)
        ],
        **changes,
    }  # fmt: skip


@pytest.fixture
def written(tmp_path):
    """Return a way to write such a result and read it back."""

    def write(systems, folder="results", **changes):
        made = content(systems, **changes)
        path = tmp_path / folder / f"{made['scenario']['name']}.json"
        results.write(path, made)
        return results.read(path)

    return write


class Server:
    """An HTTP/1.1 server that answers at once, but stands still from time to time.

    `stalls` are (start, length) in seconds from its first request: what comes meanwhile is answered
    when the stall is over.
    """

    REPLY = b'{"label": "positive", "score": 0.9}'

    def __init__(self, stalls=(), head=b"", chunked=False, status=b"200 OK") -> None:
        self.stalls, self.head, self.chunked, self.status = stalls, head, chunked, status
        self.requests, self.connections = 0, 0
        self._began = None
        self._tasks = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # transports close in the loop's next turns

    async def _serve(self, reader, writer):
        self.connections += 1
        self._tasks.append(asyncio.current_task())
        loop = asyncio.get_running_loop()
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                at = head.lower().index(b"content-length:") + 15
                await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))
                self.requests += 1
                self._began = self._began or loop.time()
                for start, length in self.stalls:
                    left = self._began + start + length - loop.time()
                    if 0 < left < length:
                        await asyncio.sleep(left)
                writer.write(self._reply())
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # who called has gone, or the test is over
        finally:
            writer.close()

    def _reply(self):
        if self.chunked:
            half = len(self.REPLY) // 2
            body = b"".join(
                b"%x\r\n%s\r\n" % (len(part), part)
                for part in (self.REPLY[:half], self.REPLY[half:], b"")
            )
            return b"HTTP/1.1 %s\r\nTransfer-Encoding: chunked\r\n\r\n%s" % (self.status, body)
        return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (
            self.status, self.head, len(self.REPLY), self.REPLY,
        )  # fmt: skip


QUICK = (("WARDGATE_ENGINE__SESSIONS", "1"), ("WARDGATE_ENGINE__THREADS", "1"))


def quick(found):
    """A scenario whose gateway starts sooner, with fewer notes and callers."""
    few = dataclasses.replace(found.notes, count=30)
    systems = tuple(dataclasses.replace(each, environment=QUICK) for each in found.systems)
    loads = tuple(
        dataclasses.replace(each, level=min(each.level, 8.0), lanes=min(each.lanes, 8))
        if not each.open
        else each
        for each in found.loads
    )
    return dataclasses.replace(found, notes=few, systems=systems, loads=loads, timeout=10.0)
