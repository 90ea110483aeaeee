"""The search against a system that is made up: it holds any rate up to 70 a second."""

from __future__ import annotations

import contextlib
import json
import random
from dataclasses import replace

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS, measured

from wardgate.cli.bench import capacity, scenario
from wardgate.cli.bench.capacity import Question
from wardgate.cli.bench.generator import Job
from wardgate.cli.bench.launch import Failed
from wardgate.cli.bench.prepare import Ready
from wardgate.cli.bench.search import replicas
from wardgate.cli.bench.wire import Target

QUESTION = Question(50.0, (1, 2), 0.05, 1, 1000.0, 0.3)


@pytest.fixture
def found(monkeypatch, tmp_path):
    """Find the capacity of a system that takes 70 a second for each worker; late from 60 on."""
    small = scenario.read(SCENARIOS / "capacity.toml")
    started = []

    @contextlib.contextmanager
    def start(scene, each, texts, asked, seed):
        started.append(each.entry.arguments)
        if "3" in each.entry.arguments:
            raise Failed("three are too many")
        job = Job(Target("h", 1, "/"), "http1", "predict", "m", [], scene.loads[0],
                  1.0, 0.0, 1.0, seed)  # fmt: skip
        yield 2 if "2" in each.entry.arguments else 1, job

    def measure(workers, job, load):
        kept = load.level <= 70 * workers
        late = ["the generator was late"] if load.level > 60 else []
        changes = {"p95_ms": 20.0 if kept else 80.0, "bottleneck": late}
        return measured("wardgate", load.level, 10, load.level, rng=random.Random(1), **changes)

    monkeypatch.setattr(capacity, "started", start)
    monkeypatch.setattr(capacity, "measure", measure)
    monkeypatch.setattr(
        capacity, "prepare", lambda s, *_: [Ready(s.systems[0], None, None, None, [])]
    )

    def run(question=QUESTION):
        said = []
        path = capacity.find(small, question, tmp_path, said.append)
        return json.loads(path.read_text()), said, started

    return run


def test_each_worker_count_has_its_rate_and_replicas(found) -> None:
    content, said, started = found()
    one, two = content["found"]
    assert 70 / 1.05 <= one["requests_per_second"] <= 70
    assert 140 / 1.05 <= two["requests_per_second"] <= 140
    for each in (one, two):
        assert each["replicas"] == replicas(1000.0, each["requests_per_second"], 0.3)
    assert started == [(), ("--workers", "2")]
    assert content["format"] == capacity.FORMAT
    assert "with 30% of each kept free" in " ".join(said)


def test_where_the_generator_was_late_it_says_that_there_may_be_more(found) -> None:
    content, said, _ = found()
    assert content["found"][0]["doubts"] == ["the generator was late"]
    assert any("it may hold more" in line for line in said)


def test_what_does_not_start_is_told(found) -> None:
    content, said, _ = found(replace(QUESTION, workers=(3,)))
    assert content["found"][0]["failed"] == "three are too many"
    assert any("not measured" in line for line in said)


def test_where_no_rate_holds_it_says_so(found) -> None:
    content, said, _ = found(replace(QUESTION, p95_ms=1.0, workers=(1,)))
    assert content["found"][0]["requests_per_second"] == 0.0
    assert "replicas" not in content["found"][0]
    assert any("no rate keeps" in line for line in said)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, True),
        ({"p95_ms": 51.0}, False),
        ({"errors": {"429": 1}, "requests": 1000}, True),
        ({"errors": {"429": 2}, "requests": 1000}, False),
        ({"requests": 0}, False),
    ],
)
def test_what_holds(changes, kept) -> None:
    assert capacity.holds({"requests": 500, "errors": {}, "p95_ms": 50.0, **changes}, 50.0) is kept
