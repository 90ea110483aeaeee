from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.cli.bench.sim.conftest import made

from wardgate.cli.bench.sim import service
from wardgate.cli.bench.sim.service import Clock, Note, Service
from wardgate.cli.bench.table import Invalid

SHOTS = ((1, 16, 0.010), (4, 16, 0.022), (1, 32, 0.016), (4, 32, 0.040))


def test_it_comes_back_from_a_file(tmp_path) -> None:
    path = tmp_path / "service.json"
    path.write_text(json.dumps({"machine": {}, **made().to_json()}))
    assert service.read(path) == made()


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"buckets": []},
        {"notes": []},
        {"speed": [0.0]},
        {"rate": 0},
        {"times": {"2": [[1, 16, 0.1]]}},
        {"notes": [{"rows": [65], "seconds": 0.0}]},
        {"sessions": "many"},
        {"overhead": {"unknown": 1}},
    ],
)
def test_what_is_not_whole_is_refused(tmp_path, change) -> None:
    path = tmp_path / "service.json"
    path.write_text(json.dumps(made().to_json() | change))
    with pytest.raises(Invalid):
        service.read(path)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_what_is_no_measurement_is_refused(tmp_path, text) -> None:
    (tmp_path / "a.json").write_text(text)
    for name in ("a.json", "none.json"):
        with pytest.raises(Invalid):
            service.read(tmp_path / name)


def test_times_lie_between_those_that_were_measured() -> None:
    clock = Clock(SHOTS)
    for rows, length, seconds in SHOTS:
        assert clock.seconds(rows, length) == seconds
    assert clock.seconds(1, 24) == pytest.approx(0.013)
    assert clock.seconds(2, 16) == pytest.approx(0.014)
    assert clock.seconds(8, 32) == pytest.approx(0.080)  # beyond: by the row
    assert clock.seconds(1, 64) == pytest.approx(0.032)  # beyond: by the token
    assert clock.seconds(1, 4) == 0.010  # below: as the shortest


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 64), st.integers(1, 64))
def test_more_rows_and_longer_ones_never_take_less(few, more, short, long) -> None:
    clock = Clock(SHOTS)
    (few, more), (short, long) = sorted((few, more)), sorted((short, long))
    assert clock.seconds(few, short) <= clock.seconds(more, long) + 1e-12


def test_a_machine_of_another_size() -> None:
    larger = made(speed=(1.0, 1.6)).resized(sessions=8, processors=4)
    assert larger.sessions == 8
    assert larger.speed == pytest.approx((1.0, 1.6, 2.4, 3.2))
    assert larger.rate == pytest.approx(20_000)
    assert made().resized(processors=1).speed == (1.0,)
    assert made().resized() == made()


def test_notes_keep_their_windows() -> None:
    found = Service.from_json(json.loads(json.dumps(made().to_json())))
    assert found.notes[2] == Note((50, 50), 0.0003)
