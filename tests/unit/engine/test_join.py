"""Rows that go out together: each row once, to its own caller, with its like alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.engine.join import BULK_CALLS, DEADLINE_RATIO, FULL_CALLS, Joiner
from wardgate.errors import ModelUnknown, NoteExceedsModel, Overloaded
from wardgate.types import Priority

LENGTHS, MOST = (4, 8, 16), 3
FIRST, BULK = Priority.INTERACTIVE, Priority.BULK


def joiner(queue_tokens: int = 1000) -> Joiner:
    made = Joiner(queue_tokens=queue_tokens)
    made.serve("a", LENGTHS, MOST)
    made.serve("b", (16,), 1)
    return made


def take(made: Joiner) -> list:
    """All that goes out, each call answered before the next turn."""
    found = []
    while calls := made.take(0.0):
        found += calls
        for call in calls:
            made.ended(call)
    return found


def push(made: Joiner, ticket: int, *lengths: int, model="a", priority=FIRST, deadline=10.0):
    rows = [[100 * ticket + index] * length for index, length in enumerate(lengths)]
    made.push(ticket, model, rows, priority=priority, deadline=deadline)


CALLERS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.lists(st.integers(1, 16), min_size=1, max_size=6),
        st.sampled_from(list(Priority)),
        st.floats(0.001, 60),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=25,
)


@given(CALLERS, st.integers(0, 3))
def test_each_row_goes_out_once_and_with_its_like(callers, turns):
    made = joiner(10_000)
    expected, deadlines, taken = {}, {}, []
    for ticket, (model, lengths, priority, deadline, leaves) in enumerate(callers):
        push(made, ticket, *lengths, model=model, priority=priority, deadline=deadline)
        deadlines[ticket] = deadline
        if leaves:
            made.free(ticket)
        else:
            for index, length in enumerate(lengths):
                expected[ticket, index] = (model, priority, [100 * ticket + index] * length)
        if turns and ticket % turns == 0:
            taken += take(made)
    taken += take(made)
    assert made.take(0.0) == []
    found = {}
    for call in taken:
        assert 1 <= len(call.rows) <= {"a": MOST, "b": 1}[call.model]
        ends = [deadlines[row.ticket] for row in call.rows]
        assert call.deadline == max(ends) <= DEADLINE_RATIO * min(ends)
        for row in call.rows:
            lengths = LENGTHS if call.model == "a" else (16,)
            assert call.length == min(each for each in lengths if each >= len(row.ids))
            assert (row.ticket, row.index) not in found
            found[row.ticket, row.index] = (call.model, call.priority, row.ids)
    assert found == expected
    held = {ticket for ticket, _ in expected}
    assert made.tokens == sum(sum(callers[ticket][1]) for ticket in held)
    for ticket in held:
        made.free(ticket)
        made.free(ticket)
    assert made.tokens == 0


def test_rows_of_one_turn_go_as_one_call():
    made = joiner()
    push(made, 1, 3)
    push(made, 2, 4, 2)
    (call,) = made.take(0.0)
    assert [(row.ticket, row.index) for row in call.rows] == [(1, 0), (2, 0), (2, 1)]
    assert call.length == 4


def test_a_near_deadline_does_not_go_with_a_far_one():
    made = joiner()
    push(made, 1, 3, deadline=1.0)
    push(made, 2, 3, deadline=60.0)
    assert [call.deadline for call in made.take(0.0)] == [1.0, 60.0]


def test_interactive_goes_first_and_the_most_urgent_of_it():
    made = joiner()
    push(made, 1, 3, priority=BULK, deadline=1.0)
    push(made, 2, 3, deadline=50.0)
    push(made, 3, 3, deadline=5.0)
    assert [call.rows[0].ticket for call in made.take(0.0)] == [3, 2, 1]


def test_few_bulk_calls_are_out_at_a_time_and_interactive_ones_never_wait_for_them():
    made = joiner()
    for ticket in range(20):
        push(made, ticket, 3, priority=BULK, deadline=50.0 + ticket / 10)
    out = made.take(0.0)
    assert [len(call.rows) for call in out] == [MOST] * BULK_CALLS
    push(made, 20, 3)
    (quick,) = made.take(0.0)
    assert quick.priority is FIRST
    assert made.take(0.0) == []
    made.ended(quick)
    assert made.take(0.0) == []
    made.ended(out[0])
    (following,) = made.take(0.0)
    assert [row.ticket for row in following.rows] == [6, 7, 8]
    for ticket in range(20):  # whoever has left by its turn does not go out
        if ticket != 15:
            made.free(ticket)
    made.ended(out[1])
    (last,) = made.take(0.0)
    assert [row.ticket for row in last.rows] == [15]


def test_what_waits_for_room_is_here_when_its_caller_leaves():
    made = joiner()
    for ticket in range(FULL_CALLS * MOST + 8):
        push(made, ticket, 3, deadline=10.0 + ticket / 100)
    out = made.take(0.0)
    assert [row.ticket for call in out for row in call.rows] == list(range(FULL_CALLS * MOST))
    assert made.waits
    assert made.take(0.0) == []
    push(made, 100, 3, model="b")  # another model has room of its own
    (other,) = made.take(0.0)
    made.ended(other)
    made.free(FULL_CALLS * MOST)  # who leaves now has never gone
    for call in out[:2]:
        made.ended(call)
    again = made.take(0.0)
    first = FULL_CALLS * MOST + 1
    assert [row.ticket for call in again for row in call.rows] == list(range(first, first + 6))
    for call in out[2:] + again:
        made.ended(call)
    (last,) = made.take(0.0)
    assert len(last.rows) == 1
    made.ended(last)
    assert not made.waits


def test_a_large_call_is_not_passed_for_ever_by_small_ones():
    made = joiner()
    out = []
    for ticket in range(FULL_CALLS * MOST):
        push(made, ticket, 3, deadline=1.0)
        out += made.take(0.0)
    push(made, 50, *[5] * MOST, deadline=2.0)
    push(made, 51, 3, deadline=3.0)
    made.ended(out.pop())
    (call,) = made.take(0.0)
    assert [row.ticket for row in call.rows] == [50] * MOST


def test_what_could_never_go_is_refused_for_good():
    made = joiner(queue_tokens=40)
    with pytest.raises(ModelUnknown):
        push(made, 1, 3, model="c")
    with pytest.raises(NoteExceedsModel):
        push(made, 1, 3, 17)
    with pytest.raises(NoteExceedsModel):
        push(made, 1, 16, 16, 16)
    assert made.tokens == 0
    assert made.take(0.0) == []


def test_no_room_is_refused_with_the_time_that_calls_take():
    made = joiner(queue_tokens=20)
    push(made, 1, 16)
    for _ in range(1000):
        made.took(3.0)
    with pytest.raises(Overloaded) as refusal:
        push(made, 2, 5)
    assert refusal.value.retry_after == pytest.approx(3.0)
    push(made, 3, 4)
    made.take(0.0)
    with pytest.raises(Overloaded):  # what is out takes room until it is answered
        push(made, 4, 1)
    made.free(1)
    push(made, 4, 1)


def test_a_dropped_model_takes_no_more_rows_but_sends_what_it_has():
    made = joiner()
    push(made, 1, 3, 3)
    made.drop("a")
    made.drop("a")
    with pytest.raises(ModelUnknown):
        push(made, 2, 3)
    assert sum(len(call.rows) for call in made.take(0.0)) == 2
