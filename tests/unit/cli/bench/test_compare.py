from __future__ import annotations

import pytest

from wardgate.cli.bench.compare import Side, differences, warnings
from wardgate.cli.bench.table import Invalid

BEFORE = {"fastapi": (10, 50), "wardgate": (5, 100)}
AFTER = {"fastapi": (10, 50), "wardgate": (4, 130)}


@pytest.fixture
def sides(written, tmp_path):
    written(BEFORE, folder="before")
    written(AFTER, folder="after")
    return lambda a, b: (Side.read(f"{tmp_path}/{a}"), Side.read(f"{tmp_path}/{b}"))


def test_a_change_is_told_from_none(sides) -> None:
    found = list(differences(*sides("before", "after")))
    rates = {
        d.systems: d.verdict for d in found if d.figure == "requests/s" and d.load == "8 callers"
    }
    assert rates == {"fastapi": "no difference shown", "wardgate": "better"}
    p95 = next(d for d in found if d.systems == "wardgate" and d.figure == "p95")
    assert p95.verdict == "better"
    assert p95.ratio.value == pytest.approx(0.8, rel=0.15)
    assert warnings(*sides("before", "after")) == []


def test_two_systems_of_one_run_in_pairs(sides) -> None:
    found = list(differences(*sides("before:fastapi", "before/made.json:wardgate")))
    assert {d.systems for d in found} == {"fastapi -> wardgate"}
    rates = [d for d in found if d.figure == "requests/s"]
    assert [d.load for d in rates] == ["1 caller", "8 callers", "32 callers"]
    assert all(d.ratio.real for d in rates)
    assert rates[0].ratio.value == pytest.approx(2, rel=0.05)


def test_what_makes_it_another_measurement_is_told(written, tmp_path) -> None:
    written(BEFORE, folder="a")
    other = written(BEFORE, folder="b", notes={"count": 1})
    other.content["scenario"]["seconds"] = 9
    said = warnings(Side.read(f"{tmp_path}/a"), Side((other,), None))
    assert said == ["made: the notes differ", "made: 'seconds' differs"]


def test_nothing_in_common_is_refused(written, tmp_path) -> None:
    written(BEFORE, folder="a", name="one")
    written(BEFORE, folder="b", name="two")
    with pytest.raises(Invalid, match="in common"):
        list(differences(Side.read(f"{tmp_path}/a"), Side.read(f"{tmp_path}/b")))
    with pytest.raises(Invalid, match="no system 'x'"):
        Side.read(f"{tmp_path}/a:x")


def test_two_rounds_are_too_few(written, tmp_path) -> None:
    written(BEFORE, folder="a", rounds=2)
    written(AFTER, folder="b", rounds=2)
    found = differences(Side.read(f"{tmp_path}/a"), Side.read(f"{tmp_path}/b"))
    assert {d.verdict for d in found} == {"too few rounds to say"}
