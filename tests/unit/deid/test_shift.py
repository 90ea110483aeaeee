from __future__ import annotations

import datetime as dt
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid.policy import Shift
from wardgate.deid.shift import anchors, moved, offset

TODAY = dt.date(2026, 7, 1)


def _moved(text, parts, days=-40, anchor=2019, reference=TODAY):
    return moved(text, parts, days, anchor=anchor, reference=reference)


def _whole(date):
    return (date.year, date.month, date.day, False)


@given(st.binary(min_size=32, max_size=32), st.integers(90, 36_500), st.booleans())
def test_an_offset_is_never_0_and_within_its_bounds(key, days, weekdays):
    found = offset(key, Shift(days, weekdays))
    assert found
    assert abs(found) <= days
    assert found == offset(key, Shift(days, weekdays))
    if weekdays:
        assert found % 7 == 0


def test_offsets_go_both_ways_and_reach_their_ends():
    found = {offset(secrets.token_bytes(32), Shift(90)) for _ in range(4000)}
    assert found == {*range(-90, 0), *range(1, 91)}


@pytest.mark.parametrize(
    ("text", "parts", "new"),
    [
        ("3/14/2019", (2019, 3, 14, False), "2/2/2019"),
        ("03/14/19", (2019, 3, 14, False), "02/02/19"),
        ("14.03.2019", (2019, 3, 14, False), "02.02.2019"),
        ("14/03/2019", (2019, 3, 14, False), "02/02/2019"),
        ("05.05.2019", (2019, 5, 5, False), "26.03.2019"),
        ("2019-03-14", (2019, 3, 14, False), "2019-02-02"),
        ("2019-03-14T10:43:00Z", (2019, 3, 14, False), "2019-02-02T10:43:00Z"),
        ("20190314", (2019, 3, 14, False), "20190202"),
        ("3/2019", (2019, 3, 0, False), "2/2019"),
        ("2019-03", (2019, 3, 0, False), "2019-02"),
        ("3/14", (0, 0, 0, False), "2/2"),
        ("3/14-3/16", (0, 0, 0, False), "2/2-2/4"),
        ("14 March 2019", (2019, 3, 14, False), "2 February 2019"),
        ("3rd of March", (0, 3, 3, False), "22nd of January"),
        ("14-May-19", (2019, 5, 14, False), "4-Apr-19"),
        ("March 3, 2019", (2019, 3, 3, False), "January 22, 2019"),
        ("MARCH 3", (0, 0, 0, False), "JANUARY 22"),
        ("Sept. 4, 2019", (2019, 9, 4, False), "Jul. 26, 2019"),
        ("Mar 2019", (2019, 3, 0, False), "Feb 2019"),
        ("March", (0, 0, 0, False), "February"),
        ("July third", (0, 0, 0, False), "May twenty-fourth"),
        ("July twenty first", (0, 0, 0, False), "June eleventh"),
        ("March 12-15, 2019", (2019, 3, 12, False), "January 31-3, 2019"),
        ("March 3-5, 2019", (2019, 3, 3, False), "January 22-24, 2019"),
    ],
)
def test_forms_are_kept(text, parts, new):
    if new == "January 31-3, 2019":  # it would run over the end of a month
        assert _moved(text, parts) is None
    else:
        assert _moved(text, parts) == new


FORMS = ["%m/%d/%Y", "%Y-%m-%d", "%B %d, %Y", "%d %B %Y", "%d.%m.%Y", "%d-%b-%Y", "%Y%m%d"]


@given(
    st.dates(dt.date(1950, 1, 1), dt.date(2026, 6, 1)),
    st.dates(dt.date(1950, 1, 1), dt.date(2026, 6, 1)),
    st.integers(-4_000, 4_000).filter(bool),
    st.sampled_from(FORMS),
    st.sampled_from(FORMS),
)
def test_intervals_are_kept_in_every_form(one, two, days, form, other):
    reference = dt.date(2030, 1, 1)
    first = _moved(one.strftime(form), _whole(one), days, reference=reference)
    second = _moved(two.strftime(other), _whole(two), days, reference=reference)
    if first is None or second is None:  # it shows an age over 89 where it came to stand
        assert min(one, two).year + days // 365 < 1943
        return
    a, b = (
        dt.datetime.strptime(text, used).replace(tzinfo=dt.UTC).date()
        for text, used in ((first, form), (second, other))
    )
    assert a - b == one - two
    assert (a - one).days == days


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("3/14/2019", None),
        ("15th", (0, 0, 0, False)),
        ("July umpteenth", (0, 0, 0, False)),
        ("2/30/2019", (2019, 2, 30, False)),
        ("3/14/\n2019", (2019, 3, 14, False)),
        ("3/1\u200b4/2019", (2019, 3, 14, False)),
        ("\uff13/14/2019", (2019, 3, 14, False)),
        ("07/22/31", (0, 7, 22, True)),
        ("07/22/1931", (1931, 7, 22, True)),
        ("March 1930", (1930, 3, 0, False)),
    ],
)
def test_what_is_not_read_exactly_or_shows_an_age_over_89_keeps_its_tag(text, parts):
    assert _moved(text, parts) is None


def test_without_a_reference_no_date_with_a_year_is_moved():
    assert _moved("3/14/2019", (2019, 3, 14, False), reference=None) is None
    assert _moved("3/14", (0, 0, 0, False), reference=None) == "2/2"


def test_the_leap_day_and_the_ends_of_time():
    assert _moved("2/29", (0, 0, 0, False), 1, anchor=2019) == "3/1"
    assert _moved("3/1/1000", (1000, 3, 1, False), -366, reference=dt.date(1001, 1, 1)) is None
    assert _moved("12/31/9999", (9999, 12, 31, False), 1, reference=dt.date(9999, 1, 1)) is None


def test_a_date_without_a_year_counts_in_that_of_its_neighbours():
    whole = (2019, 3, 14, False)
    partial = (0, 0, 0, False)
    assert anchors([partial, whole, partial, (2020, 1, 1, False), None]) == [
        2019, 2019, 2019, 2020, 2020,
    ]  # fmt: skip
    assert anchors([partial]) == [0]
    assert _moved("2/28", partial, 1, anchor=2020) == "2/29"
    assert _moved("2/28", partial, 1, anchor=2019) == "3/1"
