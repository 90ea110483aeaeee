from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS

from wardgate.cli.bench import trials
from wardgate.cli.bench.launch import Failed


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(trials, "ends_on_terminate", lambda: None)


@pytest.fixture
def asked(monkeypatch):
    """What the commands asked for."""
    found = []

    def take(answer):
        return lambda *given: found.append(given) or answer

    monkeypatch.setattr(trials.capacities, "find", take(Path("c.json")))
    monkeypatch.setattr(trials.overloads, "overload", take(Path("o.json")))
    monkeypatch.setattr(trials.besides, "beside", take(Path("b.json")))
    monkeypatch.setattr(trials.soaking, "soak", take((Path("s.json"), True)))
    return found


def test_capacity(wardgate, asked) -> None:
    given = ("--p95", 40, "--workers", 1, "--workers", 2, "--target", 500, "--seconds", 2)
    done = wardgate("bench", "capacity", SCENARIOS / "capacity.toml", *given)
    assert (done.code, done.out) == (0, "c.json\n")
    ((found, question, *_),) = asked
    assert found.seconds == 2
    assert (question.p95_ms, question.workers, question.target) == (40, (1, 2), 500)
    assert (question.precision, question.tries, question.headroom) == (0.05, 3, 0.3)


def test_overload_and_beside(wardgate, asked) -> None:
    assert wardgate("bench", "overload", SCENARIOS / "overload.toml", "--times", 3).code == 0
    pair = (SCENARIOS / "interactive.toml", SCENARIOS / "bulk.toml")
    assert wardgate("bench", "beside", *pair, "--rounds", 1).out == "b.json\n"
    assert asked[0][1] == 3
    assert (asked[1][0].rounds, asked[1][1].name) == (1, "bulk")


def test_soak_fails_where_something_grew(wardgate, asked, monkeypatch) -> None:
    command = ("bench", "soak", SCENARIOS / "soak.toml", "--seconds", 60)
    assert wardgate(*command).code == 0
    assert asked[0][1:3] == (60, 0.7)
    monkeypatch.setattr(trials.soaking, "soak", lambda *_: (Path("s.json"), False))
    done = wardgate(*command)
    assert (done.code, done.out) == (1, "s.json\n")


def test_a_system_that_fails_is_one_line(wardgate, monkeypatch) -> None:
    def fail(*_):
        raise Failed("it did not start")

    monkeypatch.setattr(trials.soaking, "soak", fail)
    done = wardgate("bench", "soak", SCENARIOS / "soak.toml")
    assert (done.code, done.err) == (1, "Error: it did not start\n")
