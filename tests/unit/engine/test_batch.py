from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wardgate.engine.batch import Batch, Bucket, Planner, edges
from wardgate.errors import ModelUnknown, NoteExceedsModel, Overloaded
from wardgate.types import Priority

BULK, INTERACTIVE = Priority.BULK, Priority.INTERACTIVE
BUCKETS = (Bucket(8, 4, 0.001), Bucket(16, 2, 0.002), Bucket(32, 1, 0.004))
FAR = 1_000.0


def planner(queue_tokens=10_000, **changes):
    arguments = {"bulk_age": 2.0, "rate": 1_000.0} | changes
    return Planner({"m": BUCKETS, "n": BUCKETS}, queue_tokens=queue_tokens, **arguments)


def push(queue, ticket, *lengths, model="m", priority=INTERACTIVE, deadline=FAR, now=0.0):
    rows = [[ticket] * length for length in lengths]
    queue.push(ticket, model, rows, priority=priority, deadline=deadline, now=now)


def tickets(batch):
    return [row.ticket for row in batch.rows]


def drain(queue):
    """The tickets of all batches in the order in which they would run."""
    found = []
    while (batch := queue.next_batch()) is not None:
        found.append(tickets(batch))
    return found


def test_nothing_waits_for_company():
    queue = planner()
    assert queue.next_batch() is None
    push(queue, 1, 5)
    assert tickets(queue.next_batch()) == [1]
    assert queue.next_batch() is None


def test_short_rows_do_not_pay_for_long_ones():
    queue = planner()
    for ticket, length in enumerate([5, 30, 6, 12, 7], 1):
        push(queue, ticket, length, now=ticket)
    assert drain(queue) == [[1, 3, 5], [2], [4]]


def test_a_batch_knows_its_cost():
    queue = planner()
    push(queue, 1, 5, 8)
    batch = queue.next_batch()
    assert batch.longest == 8
    assert batch.tokens == 13


def test_a_batch_keeps_to_its_buckets_rows():
    queue = planner()
    push(queue, 1, *[5] * 9)
    assert drain(queue) == [[1] * 4, [1] * 4, [1]]


def test_free_sessions_share_what_waits():
    queue = planner()
    push(queue, 1, *[5] * 5)
    assert len(queue.next_batch(free=2).rows) == 3
    assert len(queue.next_batch(free=1).rows) == 2
    push(queue, 2, *[5] * 9)
    assert len(queue.next_batch(free=2).rows) == 4
    push(queue, 3, 30)
    assert len(queue.next_batch(free=64).rows) == 1


def test_models_do_not_share_a_batch():
    queue = planner()
    push(queue, 1, 5, model="m", now=1.0)
    push(queue, 2, 5, model="n", now=2.0)
    push(queue, 3, 5, model="m", now=3.0)
    assert drain(queue) == [[1, 3], [2]]


def test_first_come_first_served_across_buckets():
    queue = planner()
    push(queue, 1, 30, now=1.0)
    push(queue, 2, 5, now=2.0)
    assert drain(queue) == [[1], [2]]


def test_interactive_goes_before_bulk_in_a_batch_and_across_buckets():
    queue = planner()
    push(queue, 1, *[5] * 4, priority=BULK, now=0.0)
    push(queue, 2, 12, priority=BULK, now=0.0)
    push(queue, 3, 5, now=1.9)
    push(queue, 4, 30, now=1.9)
    assert drain(queue) == [[3, 1, 1, 1], [4], [1], [2]]


def test_bulk_that_has_aged_goes_before_interactive_that_arrives_then():
    queue = planner(bulk_age=2.0)
    push(queue, 1, 30, priority=BULK, now=0.0)
    push(queue, 2, 30, now=1.99)
    push(queue, 3, 30, now=2.01)
    assert drain(queue) == [[2], [1], [3]]


def test_bulk_is_never_starved():
    """With interactive rows arriving faster than they run, bulk still leaves after its age."""
    queue = planner(bulk_age=2.0)
    push(queue, 1, 30, priority=BULK, now=0.0)
    ran = []
    for step in range(1, 60):
        now = step * 0.1
        push(queue, 100 + step, 30, now=now)
        push(queue, 200 + step, 30, now=now)
        ran += tickets(queue.next_batch())
    assert 1 in ran


def test_a_near_deadline_goes_first_but_only_by_what_is_missing():
    queue = planner()
    push(queue, 1, 30, now=10.0)
    push(queue, 2, 30, now=10.1)
    push(queue, 3, 30, now=10.2, deadline=10.3)  # 0.15 s forward: between the two
    assert drain(queue) == [[1], [3], [2]]


def test_a_near_deadline_does_not_make_bulk_interactive():
    queue = planner()
    push(queue, 1, 30, priority=BULK, now=10.0, deadline=10.01)
    push(queue, 2, 30, now=10.1)
    assert drain(queue) == [[2], [1]]


def test_a_row_that_cannot_meet_its_deadline_is_expired_not_run():
    """The bucket of 32 takes 4 ms, so at 3 ms before its deadline the row is too late."""
    queue = planner()
    push(queue, 1, 30, deadline=1.0)
    push(queue, 2, 5, deadline=1.0)
    assert queue.expire(0.995) == []
    assert queue.expire(0.997) == [1]
    assert drain(queue) == [[2]]
    assert queue.expire(2.0) == []


def test_a_call_of_which_a_part_ran_expires_with_the_rest():
    queue = planner()
    push(queue, 1, 30, 30, deadline=1.0)
    assert tickets(queue.next_batch()) == [1]
    assert queue.expire(1.0) == [1]
    assert queue.next_batch() is None
    assert queue.tokens == 0


def test_a_caller_that_left_takes_its_rows_out():
    queue = planner()
    push(queue, 1, 5, 30)
    push(queue, 2, 5)
    assert queue.cancel(1)
    assert not queue.cancel(1)
    assert not queue.cancel(99)
    assert queue.tokens == 5
    assert drain(queue) == [[2]]


def test_the_queue_is_bounded_in_tokens():
    queue = planner(queue_tokens=20, rate=10.0)
    push(queue, 1, 8, 8)
    with pytest.raises(Overloaded) as refusal:
        push(queue, 2, 5)
    assert refusal.value.retry_after == pytest.approx(1.6)
    push(queue, 3, 4)
    assert queue.tokens == 20
    queue.next_batch()
    push(queue, 4, 8)


def test_a_refused_call_leaves_nothing_behind():
    queue = planner(queue_tokens=20)
    push(queue, 1, 8, 8)
    with pytest.raises(Overloaded):
        push(queue, 2, 4, 4)
    assert drain(queue) == [[1, 1]]


def test_advice_to_come_back_is_bounded_and_follows_the_measured_speed():
    queue = planner(rate=1e9)
    push(queue, 1, 8)
    assert queue.retry_after() == 0.05
    slow = planner(rate=1e-3)
    push(slow, 1, 8)
    assert slow.retry_after() == 30.0
    batch = slow.next_batch()
    push(slow, 2, 8)
    for _ in range(200):
        slow.ran(batch, 1.0, share=2)  # 8 tokens a second in each of two sessions
    assert slow.retry_after() == pytest.approx(8 / 16, rel=0.01)


def test_what_can_never_run_is_refused_for_good():
    queue = planner(queue_tokens=40)
    with pytest.raises(ModelUnknown):
        push(queue, 1, 5, model="other")
    with pytest.raises(NoteExceedsModel):
        push(queue, 1, 33)
    with pytest.raises(NoteExceedsModel):
        push(queue, 1, 30, 30)
    assert queue.tokens == 0


def test_deadlines_of_calls_that_ran_are_forgotten():
    queue = planner()
    for ticket in range(1_000):
        push(queue, ticket, 5)
        queue.next_batch()
    assert len(queue._starts) < 200


@given(st.integers(8, 8192))
def test_buckets_reach_the_longest_row_in_steps_of_at_most_two(longest):
    found = list(edges(longest))
    assert found[-1] == longest
    assert found == sorted(set(found))
    assert all(right <= 2 * left for left, right in pairwise(found))
    assert all(right <= 1.51 * left for left, right in pairwise(found[1:]))


class Queue(RuleBasedStateMachine):
    """Arrivals, leavers, deadlines and batches in any order against a plain list of rows."""

    def __init__(self):
        super().__init__()
        self.queue = planner(queue_tokens=200)
        self.now = 0.0
        self.ticket = 0
        self.waiting = []  # (ticket, index, length, priority, deadline of the call)

    @rule(
        lengths=st.lists(st.integers(1, 32), min_size=1, max_size=5),
        priority=st.sampled_from(list(Priority)),
        timeout=st.floats(0.0, 5.0),
        model=st.sampled_from("mn"),
    )
    def arrive(self, lengths, priority, timeout, model):
        self.ticket += 1
        room = sum(row[2] for row in self.waiting) + sum(lengths) <= 200
        try:
            push(
                self.queue,
                self.ticket,
                *lengths,
                priority=priority,
                deadline=self.now + timeout,
                now=self.now,
                model=model,
            )
        except Overloaded:
            assert not room
            return
        assert room
        self.waiting += [
            (self.ticket, index, length, model, self.now + timeout)
            for index, length in enumerate(lengths)
        ]

    @rule(seconds=st.floats(0.0, 1.0))
    def wait(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.ticket)
    @rule(data=st.data())
    def leave(self, data):
        ticket = data.draw(st.integers(1, self.ticket))
        assert self.queue.cancel(ticket) == any(row[0] == ticket for row in self.waiting)
        self.waiting = [row for row in self.waiting if row[0] != ticket]

    @rule()
    def run(self):
        for ticket in self.queue.expire(self.now):
            late = [row for row in self.waiting if row[0] == ticket]
            assert late
            assert late[0][4] <= self.now + 0.004
            self.waiting = [row for row in self.waiting if row[0] != ticket]
        assert all(row[4] > self.now for row in self.waiting)
        batch = self.queue.next_batch()
        assert (batch is None) == (not self.waiting)
        if batch is not None:
            self._took(batch)

    def _took(self, batch: Batch):
        bucket = next(bucket for bucket in BUCKETS if batch.longest <= bucket.length)
        assert len(batch.rows) <= bucket.rows
        for row in batch.rows:
            assert len(row.ids) > next(
                (each.length for each in reversed(BUCKETS) if each.length < bucket.length), 0
            )
            (mine,) = [
                each for each in self.waiting if each[:2] == (row.ticket, row.index)
            ]  # once, and only while it waits
            assert mine[2:4] == (len(row.ids), batch.model)
            assert row.ids == [row.ticket] * mine[2]
            self.waiting.remove(mine)

    @invariant()
    def tokens_are_counted(self):
        assert self.queue.tokens == sum(row[2] for row in self.waiting)


Queue.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestQueue = Queue.TestCase


def test_models_come_and_go_beside_others():
    queue = planner()
    queue.add("late", BUCKETS)
    push(queue, 1, 5, model="late")
    push(queue, 2, 5, now=1.0)
    queue.refuse("late")
    with pytest.raises(ModelUnknown):
        push(queue, 3, 5, model="late")
    assert [queue.next_batch().model for _ in range(2)] == ["late", "m"], "what waits will run"
    queue.forget("late")
    push(queue, 4, 5)
    assert drain(queue) == [[4]]
    assert queue.tokens == 0
    queue.add("late", BUCKETS)
    push(queue, 5, 5, model="late")
    assert drain(queue) == [[5]]
