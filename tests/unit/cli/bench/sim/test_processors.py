from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardgate.cli.bench.sim.processors import Processors

WORK = st.floats(0.01, 10)


def finish(processors):
    found = []
    while processors.next_end() < math.inf:
        found.append(processors.finish())
    return found


def test_a_lone_job_takes_its_work() -> None:
    processors = Processors((1.0, 1.5))
    processors.start(2.0, 3.0, "a")
    assert finish(processors) == [(5.0, "a")]


def test_two_share_what_the_machine_can_do() -> None:
    processors = Processors((1.0, 1.5))  # two at once: three quarters of a processor each
    processors.start(0.0, 3.0, "long")
    processors.start(0.0, 1.5, "short")
    assert finish(processors) == [(2.0, "short"), (3.5, "long")]


def test_threads_of_a_job_count_each() -> None:
    processors = Processors((1.0, 2.0))
    assert processors.alone(2) == 1.0
    assert processors.alone(4) == 0.5
    processors.start(0.0, 1.0, "wide", threads=2)
    processors.start(0.0, 1.0, "narrow")
    (first, _), (second, _) = finish(processors)
    assert first == second == pytest.approx(1.5)  # three threads on two processors


@settings(deadline=None, max_examples=40)
@given(st.lists(WORK, min_size=1, max_size=20), st.integers(1, 4))
def test_no_work_is_lost_and_the_shortest_ends_first(works, count) -> None:
    processors = Processors(tuple(float(n + 1) for n in range(count)))
    for number, work in enumerate(works):
        processors.start(0.0, work, number)
    ended = finish(processors)
    assert [works[job] for _, job in ended] == sorted(works)
    # While there are more jobs than processors all are busy; then each job has one of its own.
    last = sorted(works)
    now, done = 0.0, 0.0
    for place, work in enumerate(last):
        left = len(last) - place
        now += (work - done) * max(1.0, left / count)
        done = work
        assert ended[place][0] == pytest.approx(now)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(WORK, WORK), min_size=1, max_size=20))
def test_one_processor_is_busy_until_all_is_done(jobs) -> None:
    processors = Processors((1.0,))
    starts = sorted(jobs)
    busy = 0.0
    found = []
    for at, work in starts:
        while processors.next_end() <= at:
            found.append(processors.finish())
        processors.start(at, work, None)
        busy = max(busy, at) + work
    found += finish(processors)
    assert [end for end, _ in found] == sorted(end for end, _ in found)
    assert found[-1][0] == pytest.approx(busy)
