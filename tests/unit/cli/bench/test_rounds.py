"""The harness against the real thing: plain FastAPI and the gateway, over each protocol."""

from __future__ import annotations

import json

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS

from wardgate.cli.bench import results, rounds, scenario

TEXT = """
title = "small"
rounds = 1
seconds = 1
warm = 0.2
[notes]
file = "notes.jsonl"
count = 30
phi = 0.5
[load]
kind = "closed"
concurrency = 2
[[system]]
name = "fastapi"
[[system]]
name = "wardgate"
label = "wardgate-h2"
protocol = "http2"
tls = true
[[system]]
name = "wardgate"
label = "wardgate-grpc"
protocol = "grpc"
[[system]]
name = "fastapi"
label = "wrong"
env = { LABELS = "positive,negative" }
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenario")
    quick = "env = { WARDGATE_ENGINE__SESSIONS = 1, WARDGATE_ENGINE__THREADS = 1 }\n"
    text = "[[system]]".join(
        part + quick if 'name = "wardgate"' in part else part for part in TEXT.split("[[system]]")
    )
    (folder / "small.toml").write_text(text)
    (folder / "systems").symlink_to(SCENARIOS.parent / "systems")
    (folder / "notes.jsonl").symlink_to(SCENARIOS.parent / "notes.jsonl")
    said = []
    path = rounds.run(scenario.read(folder / "small.toml"), folder / "out", said.append)
    return results.read(path), said


def test_all_are_measured_in_the_same_way(result) -> None:
    found, _ = result
    series = {each.label: each for each in found.series()}
    assert set(series) == {"fastapi", "wardgate-h2", "wardgate-grpc"}
    for each in series.values():
        assert each.errors == 0
        (one,) = each.rounds
        assert one["requests"] > 5
        assert len(each.latencies()) == one["requests"]
        assert one["memory_mib"] > 50
        assert one["cpu_ms_a_request"] > 0
        assert one["batches"]["rows_a_batch"] >= 1
    hops = series["wardgate-h2"].mean_of("hops_ms")
    assert {"auth", "deid", "infer", "outcome"} <= set(hops)
    assert series["fastapi"].mean_of("hops_ms") == {}


def test_a_system_that_answers_wrongly_is_out_and_told(result) -> None:
    found, said = result
    assert "wrong answer" in found.content["systems"]["wrong"]["failed"]
    assert any("wrong is out" in line for line in said)
    assert found.content["systems"]["fastapi"]["golden"]["notes"] > 0


def test_the_result_says_what_was_run(result) -> None:
    found, _ = result
    assert found.scenario["name"] == "small"
    assert found.content["notes"]["count"] == 30
    assert found.content["machine"]["processors"] >= 1
    told = found.content["systems"]["wardgate-h2"]
    assert told["protocol"] == "http2 over TLS 1.3"
    assert told["versions"]["wardgate"]
    # no text, no token, no path of this machine
    text = json.dumps(found.content)
    assert "Bearer" not in text
    assert str(SCENARIOS.parents[1]) not in text
