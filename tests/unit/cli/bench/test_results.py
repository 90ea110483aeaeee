from __future__ import annotations

import json

import pytest
from tests.unit.cli.bench.conftest import content

from wardgate.cli.bench import results
from wardgate.cli.bench.table import Invalid

TWO = {"fastapi": (10, 50), "wardgate": (5, 100)}


def test_series_are_by_system_and_load_over_rounds(written) -> None:
    found = written(TWO)
    series = found.series()
    assert [(each.label, each.level) for each in series] == [
        (label, level) for label in TWO for level in (1.0, 8.0, 32.0)
    ]
    one = series[0]
    assert len(one.rounds) == 5
    assert one.mean("requests_per_second") == pytest.approx(50, rel=0.03)
    assert len(one.latencies()) == 2500
    assert one.mean_of("hops_ms") == {}
    assert series[3].mean_of("hops_ms")["infer"] == pytest.approx(8.0)
    assert (one.load, series[1].load) == ("1 caller", "8 callers")
    assert results.labels([found]) == list(TWO)


def test_doubts_and_errors_are_gathered(written, tmp_path) -> None:
    made = content(TWO)
    made["rounds"][0]["measured"][0]["bottleneck"] = ["late"]
    made["rounds"][1]["measured"][0] |= {"bottleneck": ["late"], "errors": {"503": 2}}
    path = tmp_path / "a.json"
    results.write(path, made)
    one = results.read(path).series()[0]
    assert (one.doubts, one.errors) == (["late"], 2)


def test_a_folder_may_hold_other_files(written, tmp_path) -> None:
    written(TWO, name="a")
    written(TWO, name="b")
    (tmp_path / "results" / "other.json").write_text("{}")
    assert [r.scenario["name"] for r in results.read_all(tmp_path / "results")] == ["a", "b"]
    assert len(results.read_all(tmp_path / "results" / "a.json")) == 1


def test_what_is_no_result_is_refused(tmp_path) -> None:
    with pytest.raises(Invalid, match="holds no result"):
        results.read_all(tmp_path)
    path = tmp_path / "a.json"
    for text in ("", "[]", json.dumps({"format": "other"})):
        path.write_text(text)
        with pytest.raises(Invalid, match="is no result"):
            results.read(path)
    with pytest.raises(Invalid, match="No such file"):
        results.read(tmp_path / "none.json")
