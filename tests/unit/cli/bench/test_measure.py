from __future__ import annotations

import json
import sys

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS

from wardgate.cli.bench import measure, scenario
from wardgate.cli.bench.generator import Job
from wardgate.cli.bench.launch import Failed
from wardgate.cli.bench.scenario import Load
from wardgate.cli.bench.table import Invalid
from wardgate.cli.bench.wire import Target

STUB = "import json, sys; job = json.load(sys.stdin); print(json.dumps({'seed': job['seed']}))"


def job(seed, port=1):
    target = Target("127.0.0.1", port, "/")
    load = Load("closed", 1.0, lanes=1)
    return Job(target, "http1", "text", "m", ["a"], load, 0.1, 0.0, 1.0, seed)


def test_where_nothing_listens_the_generator_says_so() -> None:
    with pytest.raises(Failed, match="the load generator ended: "):
        measure.generate(job(1), job(2))


def test_what_each_measured_comes_back(monkeypatch) -> None:
    popen = measure.subprocess.Popen
    monkeypatch.setattr(
        measure.subprocess,
        "Popen",
        lambda words, **more: popen([sys.executable, "-c", STUB], **more),
    )
    assert measure.generate(job(1), job(2)) == [{"seed": 1}, {"seed": 2}]


def test_a_line_says_what_speaks_against_it() -> None:
    found = {"requests_per_second": 9.0, "p50_ms": 1.0, "p95_ms": 2.0,
             "bottleneck": ["it was late"], "errors": {"429": 1}}  # fmt: skip
    assert measure.line(found) == (
        "9.0 requests/s, p50 1.0 ms, p95 2.0 ms; it was late; {'429': 1} errors"
    )


def test_capacity_needs_a_closed_load_and_answers(monkeypatch) -> None:
    found = scenario.read(SCENARIOS / "validate.toml")
    loads = []
    answer = {
        "requests_per_second": 5.0,
        "p50_ms": 1.0,
        "p95_ms": 2.0,
        "bottleneck": [],
        "errors": {},
    }
    monkeypatch.setattr(measure, "measure", lambda there, job, load: loads.append(load) or answer)
    assert measure.capacity(found, None, job(1), lambda line: None) == answer
    assert loads[0].level == 32
    answer["requests_per_second"] = 0.0
    with pytest.raises(Failed):
        measure.capacity(found, None, job(1), lambda line: None)
    with pytest.raises(Invalid):
        measure.capacity(scenario.read(SCENARIOS / "capacity.toml"), None, job(1), json.dumps)
