"""Interactive beside bulk, at the real gateway, for less than a second each."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS, quick

from wardgate.cli.bench import beside, scenario


def short(name, **changes):
    found = scenario.read(SCENARIOS / f"{name}.toml")
    return replace(quick(found), model="sentiment", rounds=1, seconds=0.6, warm=0.2, **changes)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    said = []
    few, many = short("interactive"), short("bulk")
    many = replace(many, loads=(replace(many.loads[0], level=8.0, lanes=8),))
    path = beside.beside(few, many, tmp_path_factory.mktemp("out"), said.append)
    return json.loads(path.read_text()), said


def test_both_are_measured_alone_and_together(result) -> None:
    content, _ = result
    (one,) = content["rounds"]
    names = ("interactive_alone", "interactive_beside", "bulk_alone", "bulk_beside")
    # On a busy machine one of them may have had no answer in its half second.
    assert sum(one[name]["requests"] for name in names) > 0
    assert all("bottleneck" in one[name] for name in names)
    assert {"interactive_p95_ratio", "bulk_share_kept"} <= set(one)


def test_the_result_says_of_which_notes(result) -> None:
    content, said = result
    assert content["bulk_notes"]["characters_p50"] == 500
    assert content["notes"]["characters_p95"] <= 160
    assert any("times that of an idle engine" in line for line in said)
