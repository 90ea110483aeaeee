from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest
from tests.unit.cli.bench.conftest import Server

from wardgate.cli.bench import generator
from wardgate.cli.bench.generator import Job
from wardgate.cli.bench.scenario import Load
from wardgate.cli.bench.wire import Target


def job(port, load, **changes):
    given = {"seconds": 0.4, "warm": 0.1, "timeout": 2.0, "seed": 1, **changes}
    return Job(Target("127.0.0.1", port, "/"), "http1", "text", "m", ["a", "b"], load, **given)


def test_a_job_comes_back_from_json() -> None:
    one = job(80, Load("bursty", 5.0, 4.0, 9), processors=(0, 1))
    assert Job.from_json(one.to_json()) == one


@pytest.mark.parametrize(
    ("load", "least", "most"),
    [(Load("closed", 2.0, lanes=2), 20, 10**6), (Load("poisson", 100.0, lanes=8), 20, 65)],
)
async def test_it_measures(load, least, most) -> None:
    async with Server() as server:
        found = await generator.measure(job(server.port, load))
    assert least < found["requests"] < most
    assert found["errors"] == {}
    assert found["requests_per_second"] == pytest.approx(found["requests"] / 0.4)
    assert 0 < found["generator"]["cpu_share"] < 2


async def test_it_runs_as_a_process_on_the_processors_that_it_is_given() -> None:
    core = min(os.sched_getaffinity(0))
    async with Server() as server:
        text = job(server.port, Load("closed", 1.0, lanes=1), processors=(core,)).to_json()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wardgate.cli.bench.generator",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate(text.encode())
    found = json.loads(out)
    assert found["generator"]["processors"] == [core]
    assert found["requests"] > 5


async def test_notes_are_asked_one_by_one() -> None:
    async with Server() as server:
        replies = await generator.ask(job(server.port, Load("closed", 1.0, lanes=1)))
    assert replies == [(200, Server.REPLY)] * 2


async def test_where_nothing_listens_it_fails() -> None:
    with pytest.raises(OSError):
        await generator.measure(job(1, Load("closed", 1.0, lanes=1)))


def test_a_fault_of_its_own_ends_it(monkeypatch, capsys) -> None:
    ended = []
    monkeypatch.setattr(generator.os, "_exit", ended.append)
    generator._give_up(None, {"message": "m", "exception": ValueError("broken")})
    assert ended == [1]
    assert "ValueError: broken" in capsys.readouterr().err
