from __future__ import annotations

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS

from wardgate.cli.bench.environment import model
from wardgate.cli.bench.sim import timing
from wardgate.cli.bench.sim.timing import Chosen
from wardgate.engine.batch import Bucket
from wardgate.engine.calibrate import Calibration, Layout

PLAN = (Bucket(8, 32, 0.001), Bucket(16, 4, 0.002), Bucket(256, 1, 0.04))


@pytest.mark.parametrize("wide", [0, 2])
def test_what_the_engine_chose_is_read_from_its_log(wide) -> None:
    said = str(Calibration(2, Layout(2, 1), wide, {"a" * 64: PLAN}, 9252.4, 3.0))
    found = timing.chosen(f"INFO starting\nINFO wardgate engine: {said}\nINFO more 9x9\n")
    assert found == Chosen(2, 1, wide, 9252.0, {8: 32, 16: 4, 256: 1})


def test_a_log_that_does_not_say_it_gives_nothing() -> None:
    assert timing.chosen("INFO starting\n") is None


def test_each_shape_that_the_engine_may_make_is_timed(monkeypatch) -> None:
    monkeypatch.setattr(timing, "TOGETHER_SECONDS", 0.01)
    monkeypatch.setattr(timing, "REPEATS", 1)
    shipped = model("sentiment", "int8", SCENARIOS.parent / "systems")
    engine = Chosen(1, 1, 0, 5000.0, {16: 3, 256: 1})
    found = timing.measure(shipped, ["a fine film .", "Dr. Amy Lee called 555-0100 ."], engine)
    found.check()
    assert [(rows, length) for rows, length, _ in found.times[1]] == [
        (1, 16), (2, 16), (3, 16), (1, 256),
    ]  # fmt: skip
    assert all(seconds > 0 for _, _, seconds in found.times[1])
    assert [bucket.rows for bucket in found.buckets] == [3, 1]
    assert found.speed[0] == 1.0
    assert list(found.speed) == sorted(found.speed)
    assert all(note.rows and note.seconds > 0 for note in found.notes)
