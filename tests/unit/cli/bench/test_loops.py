"""The accounting: what a server's stall does to a closed loop's figures, and to an open one's."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.unit.cli.bench.conftest import Server

from wardgate.cli.bench import http1
from wardgate.cli.bench.histogram import Latencies
from wardgate.cli.bench.loops import Closed, Open
from wardgate.cli.bench.recorder import Recorder
from wardgate.cli.bench.wire import Target

STALL = (0.3, 0.5)
"""Start and length, seconds."""


async def drive(server, seconds, make, *, lanes, warm=0.0, patience=2.0):
    """Run a loop against a server; return its recorder."""
    target = Target("127.0.0.1", server.port, "/")
    box = []
    made = await http1.lanes(
        target,
        http1.requests(target, [b"{}"] * 3),
        lanes,
        lambda *a: box[0].answered(*a),  # noqa: PLW0108 -- it comes later
    )
    start = time.perf_counter()
    recorder = Recorder(start + warm, start + warm + seconds)
    box.append(make(recorder, start))
    await box[0].run(made, patience)
    for lane in made:
        lane.close()
    return recorder


def every(gap, seconds):
    """An open loop with a request due each `gap` seconds."""
    times = [gap * n for n in range(int(seconds / gap))]
    return lambda recorder, start: Open(recorder, 3, [start + at for at in times])


async def test_an_open_loop_counts_all_that_came_due_in_a_stall() -> None:
    async with Server(stalls=[STALL]) as server:
        found = await drive(server, 1.2, every(0.01, 1.2), lanes=4)
        assert len(found.latencies) == 120
        # Requests due while it stood still waited for what was left of the stall: half of them for
        # half of it and more.
        assert sum(each > 50 for each in found.latencies) >= 43
        assert sum(each > 250 for each in found.latencies) >= 23
        assert Latencies.of(found.latencies).percentile(0.75) > 150


async def test_what_is_due_waits_where_all_lanes_are_taken() -> None:
    async with Server(stalls=[(0.0, 0.4)]) as server:
        found = await drive(server, 0.5, every(0.05, 0.5), lanes=1)
        assert len(found.latencies) == 10
        assert max(found.latencies) > 350
        assert server.connections == 1


async def test_a_closed_loop_gives_up_too() -> None:
    async with Server(stalls=[(0.1, 100.0)]) as server:
        found = await drive(server, 0.3, lambda r, _: Closed(r, 3, 2), lanes=2, patience=0.2)
        assert found.errors == {"timeout": 2}


async def test_errors_are_counted_by_status() -> None:
    async with Server(status=b"503 Full") as server:
        found = await drive(server, 0.2, every(0.02, 0.2), lanes=2)
        assert found.errors == {"503": 10}


@pytest.mark.parametrize("kind", ["closed", "open"])
async def test_what_was_before_the_window_does_not_count(kind) -> None:
    make = every(0.01, 1.2) if kind == "open" else lambda r, _: Closed(r, 3, 1)
    async with Server() as server:
        found = await drive(server, 0.9, make, lanes=1, warm=0.3)
        assert server.requests > len(found.latencies) > 0
        if kind == "open":
            assert len(found.latencies) == 90
        assert len(found.lags) > 0


async def test_a_generator_that_is_held_up_says_so() -> None:
    async with Server() as server:
        task = asyncio.ensure_future(drive(server, 0.5, every(0.01, 0.5), lanes=4))
        await asyncio.sleep(0.2)
        time.sleep(0.15)  # noqa: ASYNC251 -- the fault that is meant
        found = await task
        assert max(found.lags) > 130
        assert len(found.latencies) == 50
