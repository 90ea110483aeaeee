from __future__ import annotations

import datetime as dt

import pytest

from rules_alone import rules_alone
from wardgate.deid.dates import exists, full_year

DETECTOR = rules_alone()
REFERENCE = dt.date(2026, 7, 28)


def _clean(text, reference=REFERENCE):
    return DETECTOR.deidentify(text, reference_date=reference).text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("seen 03/14/2019.", "seen 2019."),
        ("seen 2019-03-14.", "seen 2019."),
        ("at 2025-09-17T10:43:00Z", "at 2025"),
        ("on 7-27-18", "on 2018"),
        ("on 14.03.2019", "on 2019"),
        ("12/2019", "2019"),
        ("March 3, 2019", "2019"),
        ("March 3rd", "[DATE]"),
        ("Mar 2019", "2019"),
        ("3rd of March 2019", "2019"),
        ("3rdMarch 2019", "2019"),
        ("1stAugust", "[DATE]"),
        ("14-Mar-2019", "2019"),
        ("11-13 May 1994", "1994"),
        ("in March.", "in [DATE]."),
        ("on july twenty ninth", "on [DATE]"),
        ("seen on 3/7.", "seen on [DATE]."),
        ("from 3/7-3/9", "from [DATE]"),
        ("on the 15th.", "on the [DATE]."),
        ("3 / 14 / 2019", "2019"),
        ("DOB: 05/21/1952", "DOB: 1952"),
    ],
)
def test_the_year_alone_survives(text, clean):
    assert _clean(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "in 2019",
        "since 1998",
        "Monday at 10:30",
        "13/45/2019"[:5] + " strength",
        "4/31",
        "may improve, march in place, an august event",
        "5/5 strength",
        "on 2/5 strength",
        "3 weeks ago",
        "1.2.10",
    ],
)
def test_no_date(text):
    assert _clean(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("DOB: 07/28/1936", "DOB: [DATE]"),
        ("DOB: 07/29/1936", "DOB: 1936"),
        ("born in 1936", "born in [DATE]"),
        ("born in 1937", "born in 1937"),
        ("born in July 1936", "born in [DATE]"),
        ("since 1931", "since [DATE]"),
        ("at 1931 hours", "at 1931 hours"),
        ("1930 mL", "1930 mL"),
        ("DOB 3/4/24", "DOB [DATE]"),
        ("DOB 3/4/52", "DOB 1952"),
    ],
)
def test_a_year_that_shows_an_age_over_89_goes(text, clean):
    assert _clean(text) == clean
    assert _clean(clean) == clean


def test_the_notes_date_decides():
    text = "DOB: 07/28/1936"
    assert _clean(text, dt.date(2026, 7, 27)) == "DOB: 1936"
    assert _clean(text, dt.date(2026, 7, 28)) == "DOB: [DATE]"
    assert _clean(text, dt.date(2010, 1, 1)) == "DOB: 1936"


@pytest.mark.parametrize(
    "text", ["seen 03/14/2019", "DOB: 05/21/1990", "born in 1950", "on 3/4/19"]
)
def test_an_unknown_reference_removes(text):
    assert "[DATE]" in _clean(text, None)
    assert not any(char.isdigit() for char in _clean(text, None))


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a 93-year-old woman", "a 90+-year-old woman"),
        ("91 y.o. man", "90+ y.o. man"),
        ("102 years old", "90+ years old"),
        ("95F with", "90+F with"),
        ("age 90", "age 90+"),
        ("aged: 94", "aged: 90+"),
        ("in her 90s", "in her 90+"),
        ("a ninety-two-year-old", "a 90+-year-old"),
        ("turned 91 in", "turned 90+ in"),
        ("Maria Delgado, 92, of Boston", "[NAME], 90+, of Boston"),
        ("Maria Delgado (92) fell", "[NAME] (90+) fell"),
        ("Mr. Lee, 93, fell", "Mr. [NAME], 90+, fell"),
        ("Zbrozek, 96, was seen", "Zbrozek, 90+, was seen"),
        ("The patient, 94, fell", "The patient, 90+, fell"),
        ("age: 91", "age: 90+"),
        ("aged 95.", "aged 90+."),
        ("aged 95 3/14/2019", "aged 90+ 2019"),
        ("ages 90-95", "ages 90+"),
        ("93yo man", "90+yo man"),
        ("94 y.o. man", "90+ y.o. man"),
        ("92M with", "90+M with"),
        ("a 101 year old", "a 90+ year old"),
        ("She is 92.", "She is 90+."),
        ("a nonagenarian", "a 90+"),
        ("in her 90s on insulin", "in her 90+ on insulin"),
    ],
)
def test_ages_over_89(text, clean):
    assert _clean(text) == clean
    assert _clean(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "an 89-year-old",
        "age 45",
        "HR 92, SpO2 95%",
        "weight 93 kg",
        "130 years ago",
        "in the 90s",
        "Mr. [NAME], 63, fell",
        "age: 89",
        "aged 71.",
        "83yo man",
        "84 y.o.",
        "62M with",
        "in her 80s",
        "She is 82.",
        "pulse, 92, regular",
        "sats 90, 92, 95",
        "HR (92)",
        "his systolic was 92",
        "He weighs 92 kg",
        "glucose 101, 99",
    ],
)
def test_ages_that_stay(text):
    assert _clean(text) == text


@pytest.mark.parametrize(
    ("parts", "real"),
    [
        ((2019, 2, 29), False),
        ((2020, 2, 29), True),
        ((1900, 2, 29), False),
        ((0, 2, 29), True),
        ((2019, 4, 31), False),
        ((2019, 13, 1), False),
        ((2019, 12, 0), True),
    ],
)
def test_dates_that_exist(parts, real):
    assert exists(*parts) is real


def test_two_digit_years():
    assert full_year(26, REFERENCE, birth=False) == 2026
    assert full_year(27, REFERENCE, birth=False) == 1927
    assert full_year(52, REFERENCE, birth=True) == 1952
    assert full_year(19, REFERENCE, birth=True) == 0
    assert full_year(52, None, birth=False) == 0
