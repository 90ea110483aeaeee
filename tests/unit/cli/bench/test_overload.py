from __future__ import annotations

import contextlib
import json
import random
from types import SimpleNamespace

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS, measured

from wardgate.cli.bench import overload, scenario
from wardgate.cli.bench.generator import Job
from wardgate.cli.bench.scenario import Load
from wardgate.cli.bench.wire import Target

REFUSED = {"requests": 450, "p99_ms": 12.0}


@pytest.fixture
def result(monkeypatch, tmp_path):
    found = scenario.changed(scenario.read(SCENARIOS / "overload.toml"), rounds=2, seconds=0.1)
    job = Job(Target("h", 1, "/"), "http1", "predict", "m", [], Load("closed", 1.0), 0.1, 0, 1, 1)
    loads, said = [], []
    rng = random.Random(1)

    @contextlib.contextmanager
    def first(scene, say):
        yield {"systems": {}}, SimpleNamespace(tree=list), job

    def measure(there, one, load):
        loads.append(load)
        changes = {"refused": REFUSED, "errors": {"429": 450}, "requests_per_second": 90.0}
        return measured("wardgate", load.level, 5, 1, rng=rng, **changes)

    monkeypatch.setattr(overload, "first", first)
    monkeypatch.setattr(overload, "measure", measure)
    monkeypatch.setattr(
        overload, "capacity", lambda *_: measured("w", 32, 5, 1, rng=rng, requests_per_second=100.0)
    )
    path = overload.overload(found, 10.0, tmp_path, said.append)
    return json.loads(path.read_text()), loads, said


def test_ten_times_the_capacity_is_sent_over_many_connections(result) -> None:
    _, loads, _ = result
    assert [load.level for load in loads] == [1000.0] * 2
    assert loads[0].open
    assert loads[0].lanes == overload.LANES


def test_goodput_refusals_and_memory_are_told(result) -> None:
    content, _, said = result
    assert len(content["rounds"]) == 2
    one = content["rounds"][0]
    assert one["goodput_share"] == 0.9
    assert one["refused_share"] == 0.9
    assert one["refused_p99_ms"] == 12.0
    assert one["memory_mib"].keys() == {"first", "most", "last"}
    assert any("goodput 90.0% of the capacity" in line for line in said)
