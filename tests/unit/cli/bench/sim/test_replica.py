"""The gateway's own planner and admission, on simulated time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.cli.bench.sim.conftest import call, drain, fixed, made, replica

from wardgate.cli.bench.sim.replica import GOOD, LOST
from wardgate.cli.bench.sim.service import Overhead
from wardgate.setting_groups import Admission
from wardgate.types import Priority

CALLS = st.lists(
    st.tuples(
        st.floats(0, 0.2),
        st.lists(st.integers(1, 64), min_size=1, max_size=3),
        st.sampled_from(Priority),
        st.floats(0.001, 1),
    ),
    min_size=1,
    max_size=40,
)


def run(one, calls):
    """Let calls arrive when they are due; return (time, call) of each answer."""
    found = []
    for each in sorted(calls, key=lambda each: each.due):
        while one.next() <= each.due:
            found += one.step()
        one.arrive(each.due, each)
    return found + drain(one)


def test_a_lone_call_takes_each_step_once() -> None:
    one = replica()
    ((end, answered),) = run(one, [call(rows=(16,))])
    assert answered.status == GOOD
    assert end == pytest.approx(0.0002 + 0.001 + 0.00005 * 16 + 0.0001 + 0.001)
    assert one.in_flight == 0


def test_a_load_generator_on_the_same_machine_takes_time_too() -> None:
    own = Overhead(client=0.004)
    ((end, _),) = run(replica(made(overhead=own)), [call(rows=(16,))])
    assert end == pytest.approx(0.004 + 0.001 + 0.00005 * 16)


def test_rows_that_wait_together_run_together() -> None:
    one = replica()
    run(one, [call(rows=(16,)) for _ in range(9)])
    # The first runs alone; while it does the others come, and a batch takes four.
    assert one.batches.sizes == {1: 1, 4: 2}
    assert (one.batches.tokens, one.batches.padded) == (144, 144)


def test_a_lone_batch_takes_the_wide_session() -> None:
    wide = made(wide=2, times={1: ((1, 16, 0.004),), 2: ((1, 16, 0.003),)}, overhead=Overhead())
    ((end, _),) = run(replica(wide), [call(rows=(16,))])
    assert end == pytest.approx(0.003)


def test_admission_refuses_as_the_gateway_does() -> None:
    one = replica(limits=Admission(concurrency=2, burst=1000, rate=1000))
    found = run(one, [call(who="a") for _ in range(5)] + [call(who="b")])
    statuses = {who: [] for who in "ab"}
    for _, each in found:
        statuses[each.principal.subject].append(each.status)
    assert sorted(statuses["a"]) == [GOOD, GOOD, 429, 429, 429]
    assert statuses["b"] == [GOOD]


def test_a_full_queue_refuses_and_a_late_call_is_given_up() -> None:
    one = replica(fixed(1.0), queue_tokens=32)
    found = run(one, [call(rows=(16,), timeout=2.5) for _ in range(5)])
    assert sorted(each.status for _, each in found) == [GOOD, GOOD, 503, 503, 504]


def test_interactive_goes_before_bulk() -> None:
    one = replica(fixed(0.1))
    calls = [call(rows=(16,), priority=Priority.BULK) for _ in range(4)]
    calls.append(call(0.05, rows=(16,)))
    found = run(one, calls)
    assert [each.priority for _, each in found][:2] == [Priority.BULK, Priority.INTERACTIVE]


def test_whoever_is_in_a_replica_that_fails_is_lost() -> None:
    one = replica()
    calls = [call() for _ in range(3)]
    for each in calls:
        one.arrive(0.0, each)
    assert one.fail() == calls
    assert {each.status for each in calls} == {LOST}
    assert one.in_flight == 0


@settings(deadline=None)
@given(CALLS, st.integers(1, 3), st.integers(1, 3))
def test_each_call_is_answered_once(given_calls, workers, sessions) -> None:
    one = replica(made(sessions=sessions), workers=workers, queue_tokens=512)
    calls = [call(due, rows=rows, priority=p, timeout=t) for due, rows, p, t in given_calls]
    found = run(one, calls)
    assert sorted(each.number for _, each in found) == sorted(each.number for each in calls)
    assert {each.status for each in calls} <= {GOOD, 429, 503, 504}
    assert all(end >= each.due for end, each in found)
    assert all(end <= each.deadline + 0.0011 for end, each in found if each.status == GOOD)
    assert [end for end, _ in found] == sorted(end for end, _ in found)
    assert one.in_flight == 0
    assert all(size <= 4 for size in one.batches.sizes)
