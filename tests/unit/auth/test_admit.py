from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.auth.admit import DAY, Admission, Permit
from wardgate.errors import Overloaded, QuotaUsedUp, RateLimited, TooManyInFlight, WardgateError

NOW = 1_800_000_000.0


def admission(**changes: Any) -> Admission:
    limits = {"rate": 10.0, "burst": 5, "concurrency": 100, "in_flight": 1_000}
    return Admission(**(limits | changes))


def try_admit(gate: Admission, principal: Any, now: float) -> Permit | type[WardgateError]:
    try:
        return gate.admit(principal, now)
    except WardgateError as error:
        refused = error
    assert refused.retry_after is not None
    assert refused.retry_after > 0
    return type(refused)


def test_a_burst_and_then_the_rate(make_principal) -> None:
    gate, caller = admission(), make_principal()
    for _ in range(5):
        gate.admit(caller, NOW).release()
    with pytest.raises(RateLimited) as caught:
        gate.admit(caller, NOW)
    assert caught.value.retry_after == pytest.approx(0.1)
    gate.admit(caller, NOW + 0.101).release()
    with pytest.raises(RateLimited):
        gate.admit(caller, NOW + 0.101)


def test_principals_do_not_share(make_principal) -> None:
    gate = admission(burst=1)
    for subject in ("a", "b"):
        for client in ("x", "y"):
            gate.admit(make_principal(subject=subject, client=client), NOW)
            with pytest.raises(RateLimited):
                gate.admit(make_principal(subject=subject, client=client), NOW)


def test_concurrency_is_given_back_once(make_principal) -> None:
    gate, caller = admission(concurrency=2), make_principal()
    first = gate.admit(caller, NOW)
    with gate.admit(caller, NOW):
        with pytest.raises(TooManyInFlight):
            gate.admit(caller, NOW)
        assert gate.in_flight == 2
    first.release()
    first.release()
    assert gate.in_flight == 0
    held = [gate.admit(caller, NOW) for _ in range(2)]
    with pytest.raises(TooManyInFlight):
        gate.admit(caller, NOW)
    assert len(held) == 2


def test_a_permit_is_given_back_when_the_request_fails(make_principal) -> None:
    gate = admission()
    with pytest.raises(ZeroDivisionError), gate.admit(make_principal(), NOW):
        raise ZeroDivisionError
    assert gate.in_flight == 0


def test_in_flight_is_bounded_for_all_together(make_principal) -> None:
    gate = admission(in_flight=3)
    held = [gate.admit(make_principal(subject=str(n)), NOW) for n in range(3)]
    with pytest.raises(Overloaded) as caught:
        gate.admit(make_principal(subject="late"), NOW)
    assert caught.value.reason == "in-flight-full"
    held[0].release()
    gate.admit(make_principal(subject="late"), NOW)


def test_the_quota_is_renewed_at_midnight_utc(make_principal) -> None:
    gate, caller = admission(quota=3, burst=100), make_principal()
    midnight = (NOW // DAY + 1) * DAY
    for _ in range(3):
        gate.admit(caller, midnight - 60).release()
    with pytest.raises(QuotaUsedUp) as caught:
        gate.admit(caller, midnight - 60)
    assert caught.value.retry_after == pytest.approx(60)
    with pytest.raises(QuotaUsedUp):
        gate.admit(caller, midnight - 0.001)
    gate.admit(caller, midnight).release()
    again = [try_admit(gate, caller, midnight - 60) for _ in range(3)]
    assert again[2] is QuotaUsedUp  # a clock set back brings no second quota


def test_a_refused_request_uses_up_nothing(make_principal) -> None:
    gate, caller = admission(concurrency=1, quota=2, burst=2, rate=0.001), make_principal()
    held = gate.admit(caller, NOW)
    for _ in range(50):
        with pytest.raises(TooManyInFlight):
            gate.admit(caller, NOW)
    held.release()
    gate.admit(caller, NOW)


def test_a_clock_set_back_brings_no_tokens_and_heals(make_principal) -> None:
    gate, caller = admission(burst=1), make_principal()
    gate.admit(caller, NOW)
    with pytest.raises(RateLimited):
        gate.admit(caller, NOW - 3_600)
    gate.admit(caller, NOW - 3_600 + 0.2)


def test_a_flood_of_principals_resets_no_bucket(make_principal) -> None:
    gate, caller = admission(burst=2, rate=1.0, principals=20), make_principal(subject="victim")
    gate.admit(caller, NOW)
    gate.admit(caller, NOW)
    for n in range(500):
        try_admit(gate, make_principal(subject=f"flood-{n}"), NOW + n * 1e-6)
        assert len(gate._accounts) <= 20
    assert try_admit(gate, caller, NOW + 0.001) is RateLimited


def test_a_full_table_takes_new_principals_once_old_ones_rest(make_principal) -> None:
    gate = admission(principals=4, burst=2, rate=1.0)
    for n in range(4):
        gate.admit(make_principal(subject=str(n)), NOW).release()
    with pytest.raises(Overloaded) as caught:
        gate.admit(make_principal(subject="new"), NOW + 0.5)
    assert caught.value.reason == "principals-full"
    gate.admit(make_principal(subject="new"), NOW + 1.1)


def test_one_with_requests_in_flight_or_a_used_quota_is_never_dropped(make_principal) -> None:
    gate = admission(principals=1, quota=2)
    held = gate.admit(make_principal(subject="a"), NOW)
    assert try_admit(gate, make_principal(subject="b"), NOW + 10) is Overloaded
    held.release()
    assert try_admit(gate, make_principal(subject="b"), NOW + 10) is Overloaded
    assert isinstance(try_admit(gate, make_principal(subject="b"), NOW + DAY), Permit)


def test_one_with_requests_in_flight_alone_is_never_dropped(make_principal) -> None:
    gate = admission(principals=1, concurrency=1)
    held = gate.admit(make_principal(subject="a"), NOW)
    assert try_admit(gate, make_principal(subject="b"), NOW + 10) is Overloaded
    assert try_admit(gate, make_principal(subject="a"), NOW + 10) is TooManyInFlight
    held.release()
    assert isinstance(try_admit(gate, make_principal(subject="b"), NOW + 10), Permit)


@given(
    rate=st.floats(0.1, 1_000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 2), max_size=200),
)
def test_never_more_than_burst_and_rate(make_principal, rate, burst, gaps) -> None:
    """In every stretch of time of every length, not from the start alone."""
    gate, caller, now = admission(rate=rate, burst=burst), make_principal(), NOW
    times = []
    for gap in gaps:
        now += gap
        outcome = try_admit(gate, caller, now)
        if isinstance(outcome, Permit):
            outcome.release()
            times.append(now)
    for first in range(len(times)):
        for last in range(first, len(times), 7):
            most = burst + rate * (times[last] - times[first])
            assert last - first + 1 <= most + 1e-3


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["admit", "release"]), st.integers(0, 5), st.floats(0, 0.5)),
        max_size=150,
    ),
    quota=st.integers(0, 6),
    principals=st.integers(1, 6),
)
def test_no_limit_is_ever_passed(make_principal, steps, quota, principals) -> None:
    gate = admission(
        burst=4, concurrency=2, in_flight=5, quota=quota, principals=principals, rate=3.0
    )
    held: dict[int, list[Permit]] = {n: [] for n in range(6)}
    admitted = dict.fromkeys(range(6), 0)
    now = NOW
    for step, number, gap in steps:
        now += gap
        if step == "release" and held[number]:
            held[number].pop().release()
        elif step == "admit":
            outcome = try_admit(gate, make_principal(subject=str(number)), now)
            if isinstance(outcome, Permit):
                held[number].append(outcome)
                admitted[number] += 1
        assert gate.in_flight == sum(map(len, held.values())) <= 5
        assert all(len(each) <= 2 for each in held.values())
        assert not quota or max(admitted.values()) <= quota
        assert len(gate._accounts) <= principals
