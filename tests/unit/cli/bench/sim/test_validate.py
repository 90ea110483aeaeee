"""The simulation against the real gateway: that it can be done. How near it comes is for a machine
at rest to say (`benchmarks/results`)."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS, measured, quick

from wardgate.cli.bench import scenario
from wardgate.cli.bench.sim import timing, validate
from wardgate.cli.bench.sim.service import Service
from wardgate.cli.bench.table import Invalid


def test_the_real_gateway_and_the_simulation_meet_the_same_load(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(timing, "TOGETHER_SECONDS", 0.02)
    monkeypatch.setattr(timing, "REPEATS", 1)
    found = replace(
        quick(scenario.read(SCENARIOS / "validate.toml")), seconds=0.6, warm=0.2, rounds=1
    )
    said = []
    path, _ = validate.validate(found, (0.4,), tmp_path, said.append)
    content = json.loads(path.read_text())
    assert Service.from_json(content["service"]).sessions == 1
    (one,) = content["loads"]
    assert one["measured"][0]["requests"] == one["simulated"][0]["requests"]
    assert set(one["off"]) == {"requests_per_second", "p95_ms"}
    assert one["real"]["p95_ms"] > 0
    assert one["simulation"]["p95_ms"] > 0
    assert any("40% of the capacity" in line for line in said)


@pytest.mark.parametrize(
    ("rate", "p95", "within"),
    [(1.0, 1.0, True), (1.09, 1.18, True), (1.2, 1.0, False), (1.0, 0.7, False)],
)
def test_what_is_within(rate, p95, within) -> None:
    real = measured("wardgate", 1.0, 10, 100, rng=random.Random(1))
    made = {
        "requests_per_second": real["requests_per_second"] * rate,
        "p95_ms": real["p95_ms"] * p95,
    }
    found = validate.compared([real], [made])
    assert found["within"] is within
    assert found["off"]["p95_ms"] == pytest.approx(p95 - 1, abs=1e-3)


def test_two_closed_loads_are_needed() -> None:
    with pytest.raises(Invalid, match="one caller and one of many"):
        validate._service(scenario.read(SCENARIOS / "soak.toml"), None, None, None)


def test_what_a_measurement_says_of_a_loop() -> None:
    found = {
        "requests_per_second": 50.0, "mean_ms": 20.0,
        "load": {"level": 1.0}, "generator": {"cpu_share": 0.1},
    }  # fmt: skip
    seen = validate.seen(found)
    assert (seen.callers, seen.mean) == (1, 0.02)
    assert seen.client == pytest.approx(0.002)
