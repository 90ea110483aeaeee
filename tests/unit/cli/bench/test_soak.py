"""The soak against the real gateway, for seconds in place of an hour."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS, quick

from wardgate.cli.bench import scenario, soak


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    found = quick(scenario.read(SCENARIOS / "soak.toml"))
    said = []
    out = tmp_path_factory.mktemp("soak")
    path, flat = soak.soak(replace(found, seconds=0.5), 2.0, 0.3, out, said.append)
    return path, json.loads(path.read_text()), flat, said


def test_the_file_is_dated_and_says_what_was_run(result) -> None:
    path, content, _, _ = result
    assert path.name.startswith("soak-2")
    assert content["format"] == soak.FORMAT
    assert content["scenario"]["name"] == "soak"
    assert content["share"] == 0.3
    assert content["machine"]["processors"] >= 1


def test_each_window_has_latencies_memory_and_descriptors(result) -> None:
    _, content, flat, said = result
    assert len(content["windows"]) == 2
    for window in content["windows"]:
        assert window["memory_mib"] > 50
        assert window["descriptors"] > 10
        assert window["p99_ms"] >= 0
    assert {each["figure"] for each in content["trends"]} == {"memory_mib", "descriptors", "p99_ms"}
    assert flat is (content["errors"] == 0)  # two windows say nothing of growth
    assert any("too few windows to say" in line for line in said)
