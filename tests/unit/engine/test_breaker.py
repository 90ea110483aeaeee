"""When calls go out to a service that has stopped answering, and when they are refused at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.engine.breaker import Breaker
from wardgate.errors import EngineUnavailable


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(failures=3, pause_first=1.0, pause_most=4.0)
    for _ in range(3):
        breaker.failed(now)
    return breaker


def let_out(breaker: Breaker, now: float) -> bool:
    try:
        breaker.enter(now)
    except EngineUnavailable as refusal:
        return not refusal.retry_after  # a refusal always says when to come back
    return True


def test_it_is_closed_until_failures_come_in_a_row():
    breaker = Breaker(failures=3)
    for _ in range(10):
        breaker.failed(0.0)
        breaker.failed(0.0)
        breaker.succeeded()
    assert not breaker.open
    assert let_out(breaker, 0.0)


def test_it_refuses_at_once_and_says_when_to_come_back():
    breaker = opened()
    with pytest.raises(EngineUnavailable) as refusal:
        breaker.enter(0.25)
    assert refusal.value.retry_after == 0.75
    assert refusal.value.status == 503


def test_one_probe_goes_out_in_each_pause_and_pauses_double_up_to_a_bound():
    breaker = opened()
    out = [tick / 4 for tick in range(80) if let_out(breaker, tick / 4)]
    assert out == [1.0, 3.0, 7.0, 11.0, 15.0, 19.0]


def test_failures_of_calls_that_were_out_do_not_lengthen_the_pause():
    breaker = opened()
    for _ in range(100):
        breaker.failed(0.9)
    assert let_out(breaker, 1.0)


def test_the_first_success_closes_it_and_the_next_pause_is_short_again():
    breaker = opened()
    assert let_out(breaker, 1.0)
    assert let_out(breaker, 3.0)
    breaker.succeeded()
    assert all(let_out(breaker, 3.0) for _ in range(10))
    for _ in range(3):
        breaker.failed(10.0)
    assert not let_out(breaker, 10.9)
    assert let_out(breaker, 11.0)


@given(st.lists(st.tuples(st.sampled_from("efs"), st.floats(0, 5)), max_size=60))
def test_nobody_is_shut_out_for_longer_than_the_longest_pause(moves):
    breaker, now = Breaker(failures=2, pause_first=0.5, pause_most=3.0), 0.0
    for move, step in moves:
        now += step
        if move == "e":
            let_out(breaker, now)
        elif move == "f":
            breaker.failed(now)
        else:
            breaker.succeeded()
            assert let_out(breaker, now)
    assert let_out(breaker, now + 3.0)
