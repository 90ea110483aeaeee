"""Processes that die or hang cost no item but the one they die of."""

from __future__ import annotations

import json
import sys

import pytest

from wardgate.cli.files import crew as module
from wardgate.cli.files.choice import choose
from wardgate.cli.files.crew import Crew
from wardgate.cli.files.forms import JsonLine
from wardgate.cli.journal import Stopped
from wardgate.cli.jsonl import Broken

CHOICE = choose("safe_harbor", None, None).pack()


@pytest.fixture
def crew(worker):
    """Return a way to have a crew with the test's detector."""
    made = []

    def make(processes: int = 1, **options) -> Crew:
        made.append(Crew(JsonLine(), CHOICE, processes=processes, command=worker, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
        assert not each._workers


def items(*texts: str) -> list[tuple[int, bytes | None]]:
    return [(n, json.dumps({"text": text}).encode()) for n, text in enumerate(texts, 1)]


def told(rows) -> list[str]:
    return [
        row.code if isinstance(row, Broken) else json.loads(row)["deidentified"] for row in rows
    ]


def test_chunks_are_worked_on_by_several_processes(crew) -> None:
    many = crew(3)
    futures = [many.submit(items(f"Jane {n}", "x")) for n in range(12)]
    for n, future in enumerate(futures):
        done = future.result(60)
        assert told(done.rows) == [f"[NAME] {n}", "x"]
        assert done.counts == {"NAME": 1}
    assert 1 <= len(many._workers) <= 3


def test_an_item_that_a_process_dies_of_is_told_and_the_others_are_done(crew) -> None:
    one = crew()
    done = one.submit(items("Jane", "die", "Jane Jane", "fail")).result(60)
    assert told(done.rows) == ["[NAME]", "process-died", "[NAME] [NAME]", "detector-failed"]
    assert done.counts == {"NAME": 3}
    assert one.deaths == 3
    assert told(one.submit(items("Jane")).result(60).rows) == ["[NAME]"]


def test_a_process_that_died_by_chance_costs_nothing(crew) -> None:
    one = crew()
    done = one.submit(items("Jane", "once", "Jane")).result(60)
    assert told(done.rows) == ["[NAME]", "once", "[NAME]"]
    assert done.counts == {"NAME": 2}


def test_a_process_that_hangs_is_killed(crew) -> None:
    one = crew(patience=lambda size: 0.3)
    assert told(one.submit(items("hang", "Jane")).result(60).rows) == ["process-died", "[NAME]"]


def test_processes_that_keep_dying_end_the_job(crew, monkeypatch) -> None:
    monkeypatch.setattr(module, "DEATHS_AT_MOST", 1)
    with pytest.raises(Stopped, match="keep dying"):
        crew().submit(items("die", "x")).result(60)


def test_a_process_that_does_not_start_ends_the_job() -> None:
    for command in ((sys.executable, "-c", "0"), ("/nowhere",)):
        one = Crew(JsonLine(), CHOICE, processes=1, command=command)
        with pytest.raises(Stopped, match="start"):
            one.submit(items("x")).result(60)
        one.close()


def test_closing_ends_what_runs(crew) -> None:
    one = crew()
    assert told(one.submit(items("x")).result(60).rows) == ["x"]
    running = one.submit(items("hang"))
    waiting = one.submit(items("x"))
    assert not running.done()
    one.close()
    assert waiting.cancelled()
    assert running.cancelled() or isinstance(running.exception(0), Stopped)


def test_the_real_detector_finds_what_it_finds() -> None:
    one = Crew(JsonLine(), CHOICE, processes=1)
    done = one.submit(items("Dr. Amy Lee")).result(60)
    one.close()
    (clean,) = told(done.rows)
    assert "[NAME]" in clean
    assert "Amy" not in clean
