"""Latency while the model changes, against before and after: open loop at half the capacity.

Run `python benchmarks/model_change.py [--engine onnx|triton] [--requests 10000] [--workers 1]`; the
result is `model-change.json` or `model-change-triton.json`. Version 2 is the shipped model under
another version. In the window `during` a promotion and rollbacks take turns as an operator would
have them, with a pause between them; in `without_a_pause` each follows the last at once. `changing`
are those requests of a window that were sent while a change was under way. A request's time counts
from the moment at which it should have been sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import load
from servers import SHIPPED, System, memory, notes, wardgate, write

CONNECTIONS = 64


class _Connection(load.Connection):
    """Idle ones wait in the pool."""

    def __init__(self, pool: _Pool) -> None:
        self.pool = pool
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.pool.idle.append(self)

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self.transport.write(request)

    def answered(self, status: bytes) -> None:
        self.pool.answered(self, self.due, status)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's
        if not self.pool.closing:
            self.pool.lost += 1
            self.pool.done.set()


class _Pool:
    """Sends at given times, on whichever connection is free; what finds none waits its turn."""

    def __init__(self) -> None:
        self.idle: deque[_Connection] = deque()
        self.waiting: deque[tuple[bytes, float]] = deque()
        self.seconds: list[float] = []
        self.sent: list[float] = []
        """When each of `seconds` should have been sent."""
        self.failed = self.lost = 0
        self.closing = False
        self.last = 0
        self.done = asyncio.Event()

    def offer(self, request: bytes, due: float) -> None:
        if self.idle:
            self.idle.popleft().send(request, due)
        else:
            self.waiting.append((request, due))

    def answered(self, connection: _Connection, due: float, status: bytes) -> None:
        self.seconds.append(time.perf_counter() - due)
        self.sent.append(due)
        self.failed += status != b"200"
        if len(self.seconds) == self.last:
            self.done.set()
        if self.waiting:
            connection.send(*self.waiting.popleft())
        else:
            self.idle.append(connection)


Span = tuple[float, float]
"""Begin and end, of `time.perf_counter`."""


async def window(
    url: str, requests: list[bytes], rate: float, count: int, changes: Sequence[Span] = ()
) -> dict[str, Any]:
    """Send `count` requests, `rate` a second, and return what became of them.

    `changes` may grow meanwhile.
    """
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    pool = _Pool()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: _Connection(pool), parts.hostname, parts.port)
    begin = time.perf_counter()
    for number in range(count):
        due = begin + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        pool.offer(requests[number % len(requests)], due)
    pool.last = count
    if len(pool.seconds) < count:
        await pool.done.wait()
    took = time.perf_counter() - begin
    pool.closing = True
    for connection in pool.idle:
        connection.transport.close()
    found: dict[str, Any] = {
        "failed": pool.failed + pool.lost,
        "requests_per_second": round(count / took, 1),
        **_percentiles(pool.seconds),
    }
    if changes:
        found["changes"] = len(changes)
        found["seconds_a_change"] = [round(end - begin, 1) for begin, end in changes]
        found["changing"] = _percentiles(
            [
                seconds
                for due, seconds in zip(pool.sent, pool.seconds, strict=True)
                if any(begin <= due < end for begin, end in changes)
            ]
        )
    return found


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "requests": len(ordered),
        "p50_ms": round(ordered[len(ordered) // 2] * 1e3, 3),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1e3, 3),
        "p999_ms": round(ordered[int(len(ordered) * 0.999)] * 1e3, 3),
        "max_ms": round(ordered[-1] * 1e3, 3),
    }


def _go_last() -> None:
    """Give way: the operator's command stands for one on another machine."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def change(state: Path, *arguments: str) -> None:
    """Run `wardgate models ...` to its end; raises where it fails."""
    subprocess.run(
        [sys.executable, "-m", "wardgate", "models", *arguments],
        env={**os.environ, "WARDGATE_STATE": str(state)},
        check=True, capture_output=True, preexec_fn=_go_last,
    )  # fmt: skip


async def during(
    sent: Callable[[list[Span]], Coroutine[None, None, dict[str, Any]]],
    go: Callable[[], None],
    seconds: float,
    pause: float,
) -> dict[str, Any]:
    """One window of `seconds` with changes in it, `pause` after its begin and between them."""
    changes: list[Span] = []
    load_ = asyncio.create_task(sent(changes))
    end = time.perf_counter() + seconds
    while True:
        await asyncio.wait({load_}, timeout=pause)
        if load_.done() or time.perf_counter() + pause / 2 > end:
            return await load_
        begin = time.perf_counter()
        await asyncio.to_thread(go)
        changes.append((begin, time.perf_counter()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--engine", choices=("onnx", "triton"), default="onnx")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--pause", type=float, default=20.0, help="between changes, seconds")
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second; 0 measures")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        home = Path(folder)
        home.chmod(0o700)
        registry = home / "registry"
        for version in ("1", "2"):
            place = registry / "sentiment" / version
            shutil.copytree(SHIPPED / "1" if (SHIPPED / "1").is_dir() else SHIPPED, place)
            manifest = json.loads((place / "manifest.json").read_text())
            (place / "manifest.json").write_text(json.dumps({**manifest, "version": version}))
        shutil.move(registry / "sentiment" / "2", home / "later")
        environment = {
            "WARDGATE_REGISTRY__FOLDER": str(registry),
            "WARDGATE_REGISTRY__INSECURE_ALLOW_UNSIGNED": "true",
        }
        state = home / "state"
        with wardgate(
            "--workers", str(given.workers), "--engine", given.engine,
            state=memory(), WARDGATE_STATE=str(state), **environment,
        ) as system:  # fmt: skip
            shutil.move(home / "later", registry / "sentiment" / "2")
            assert system.token is not None
            requests = [
                load.post(
                    system.url,
                    json.dumps({"model": "sentiment", "text": text, "timeout_ms": 30_000}).encode(),
                    token=system.token,
                )
                for text in notes()
            ]
            result = asyncio.run(_measure(given, system, state, requests))
    write("model-change" if given.engine == "onnx" else f"model-change-{given.engine}", result)


async def _measure(
    given: argparse.Namespace, system: System, state: Path, requests: list[bytes]
) -> dict[str, Any]:
    capacity = 0.0
    if not given.rate:
        capacity = (
            await load.closed_loop(system.url, requests, callers=32, seconds=8, warm=3)
        ).rate
    rate = given.rate or capacity / 2
    count = given.requests
    await window(system.url, requests, rate, count // 10)
    orders = chain([("promote", "sentiment", "2")], repeat(("rollback", "sentiment")))
    sent = partial(window, system.url, requests, rate, count)
    go = partial(during, sent, lambda: change(state, *next(orders)), count / rate)
    before = await sent()
    spaced = await go(given.pause)
    after = await sent()
    harsh = await go(0.0)
    return {
        "what": __doc__,
        "engine": given.engine,
        "workers": given.workers,
        "capacity_requests_per_second": round(capacity, 1),
        "offered_requests_per_second": round(rate, 1),
        "pause_seconds": given.pause,
        "before": before,
        "during": spaced,
        "after": after,
        "without_a_pause": harsh,
        "p99_ratio": round(spaced["p99_ms"] / before["p99_ms"], 3),
        "p99_ratio_changing": round(spaced["changing"]["p99_ms"] / before["p99_ms"], 3),
        "p99_ratio_without_a_pause": round(harsh["p99_ms"] / before["p99_ms"], 3),
    }


if __name__ == "__main__":
    main()
