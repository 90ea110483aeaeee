from __future__ import annotations

from tests.unit.cli.bench.conftest import SCENARIOS

from wardgate.cli.bench import prepare, scenario
from wardgate.cli.bench.environment import Absent

ASKED = ["a moving , beautifully acted and deeply satisfying film ."]


def test_systems_get_their_right_answers_and_are_told() -> None:
    told = {}
    found = scenario.changed(scenario.read(SCENARIOS / "smoke.toml"), only=("fastapi", "wardgate"))
    ready = prepare.prepare(found, ASKED, told, lambda line: None)
    assert [each.entry.label for each in ready] == ["fastapi", "wardgate"]
    assert all(len(each.golden) == 1 for each in ready)
    assert told["wardgate"]["versions"]["wardgate"]
    assert told["fastapi"]["model_sha256"] == told["wardgate"]["model_sha256"]


def test_one_that_does_not_install_is_told_and_left_out(monkeypatch) -> None:
    def absent(system):
        raise Absent("no such package")

    monkeypatch.setattr(prepare, "python", absent)
    told, said = {}, []
    found = scenario.changed(scenario.read(SCENARIOS / "smoke.toml"), only=("wardgate",))
    assert prepare.prepare(found, ASKED, told, said.append) == []
    assert told["wardgate"]["absent"] == "no such package"
    assert said


def test_of_notes_only_lengths_are_told() -> None:
    assert prepare.lengths(["a" * 10] * 19 + ["b" * 500]) == {
        "count": 20, "characters_mean": 34.5, "characters_p50": 10,
        "characters_p95": 500, "characters_max": 500,
    }  # fmt: skip
