from hypothesis import given
from hypothesis import strategies as st

from wardgate.web.server.limits import Limits

SECONDS = st.floats(0.01, 10)


@given(SECONDS, SECONDS, SECONDS)
def test_a_tick_after_the_wait_is_within_the_deadline(header, idle, grace):
    limits = Limits(header_seconds=header, idle_seconds=idle, grace_seconds=grace)
    assert 0 < limits.tick <= 1
    assert limits.header_wait > 0
    assert limits.header_wait + limits.tick <= header * 1.000001


def test_overflow_is_a_sixteenth_and_at_least_sixteen():
    assert Limits(connections=1).overflow == 16
    assert Limits(connections=2048).overflow == 128
