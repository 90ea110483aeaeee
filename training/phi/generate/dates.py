"""Dates in every format, and what only looks like one."""

from __future__ import annotations

from datetime import date, timedelta

from training.phi.generate.document import IGNORE, SOFT, Piece, Value
from training.phi.generate.rng import Rng

DATE = "DATE"
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
SHORT = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DAYS_SHORT = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Tues", "Thurs", "Weds")
ORDINALS = (
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
    "twenty-first",
    "twenty-second",
    "twenty-third",
    "twenty-fourth",
    "twenty-fifth",
    "twenty-sixth",
    "twenty-seventh",
    "twenty-eighth",
    "twenty-ninth",
    "thirtieth",
    "thirty-first",
)
EPOCH = date(1995, 1, 1)

FULL = (
    "{m}/{d}/{Y}",
    "{m}/{d}/{Y}",
    "{mm}/{dd}/{Y}",
    "{mm}/{dd}/{Y}",
    "{m}/{d}/{y}",
    "{mm}/{dd}/{y}",
    "{m}-{d}-{y}",
    "{mm}-{dd}-{Y}",
    "{m}.{d}.{y}",
    "{dd}.{mm}.{Y}",
    "{d}.{m}.{y}",
    "{Y}-{mm}-{dd}",
    "{Y}-{mm}-{dd}",
    "{Y}/{mm}/{dd}",
    "{Y}{mm}{dd}",
    "{dd}/{mm}/{Y}",
    "{Month} {d}, {Y}",
    "{Month} {d}, {Y}",
    "{Month} {d} {Y}",
    "{Month} {o}, {Y}",
    "{Mon} {d}, {Y}",
    "{Mon}. {d}, {Y}",
    "{Mon} {d} {Y}",
    "{d} {Month} {Y}",
    "{d} {Mon} {Y}",
    "{o} {Month} {Y}",
    "{o} of {Month}, {Y}",
    "the {o} of {Month} {Y}",
    "{dd}-{Mon}-{Y}",
    "{d}-{Mon}-{y}",
    "{dd}{MON}{Y}",
    "{dd}{MON}{y}",
    "{dd} {MON} {Y}",
    "{Month} the {o}, {Y}",
    "{Mon} {dd} '{y}",
    "{Mon}/{dd}/{Y}",
    "{mm}{dd}{Y}",
    "{mm}{dd}{y}",
    "{Y}.{mm}.{dd}",
    "{month} {d}, {Y}",
    "{mon} {d} {Y}",
    "{m} / {d} / {Y}",
    "{mm}-{dd}-{y}",
    "{MONTH} {d}, {Y}",
    "{Y} {Mon} {dd}",
    "{Mon}-{dd}-{Y}",
    "{Month} {word}, {Y}",
)
DAY_MONTH = (
    "{m}/{d}",
    "{m}/{d}",
    "{mm}/{dd}",
    "{m}-{d}",
    "{Month} {d}",
    "{Month} {d}",
    "{Month} {o}",
    "{Mon} {d}",
    "{Mon}. {d}",
    "{d} {Mon}",
    "{d} {Month}",
    "the {o} of {Month}",
    "{o} of {Month}",
    "{o} {Month}",
    "{Month} the {o}",
    "{month} {d}",
    "{mon} {d}",
    "{month} {o}",
    "{dd}-{Mon}",
    "{MON} {d}",
    "{d}/{m}",
    "{Month} {word}",
    "the {word} of {Month}",
    "{dd}{MON}",
)
MONTH_YEAR = (
    "{Month} {Y}",
    "{Month} {Y}",
    "{Month}, {Y}",
    "{Mon} {Y}",
    "{Mon} '{y}",
    "{mm}/{Y}",
    "{mm}/{Y}",
    "{m}/{Y}",
    "{mm}-{Y}",
    "{m}/{y}",
    "{Month} of {Y}",
    "{MON} {Y}",
    "{month} {Y}",
    "{Mon}-{y}",
    "{Y}-{mm}",
    "{Mon}. {Y}",
    "{mm}.{Y}",
)
MONTH = ("{Month}", "{Month}", "{Mon}", "{month}", "{Month}")


def _ordinal(day: int) -> str:
    suffix = "th" if 10 <= day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{suffix}"


def write(day: date, form: str) -> str:
    """`day` in a format of the tables above."""
    month = day.month - 1
    return form.format(
        d=day.day,
        dd=f"{day.day:02}",
        m=day.month,
        mm=f"{day.month:02}",
        Y=day.year,
        y=f"{day.year % 100:02}",
        Month=MONTHS[month],
        month=MONTHS[month].lower(),
        MONTH=MONTHS[month].upper(),
        Mon=SHORT[month],
        mon=SHORT[month].lower(),
        MON=SHORT[month].upper(),
        o=_ordinal(day.day),
        word=ORDINALS[day.day - 1],
    )


def some_day(rng: Rng, since: int = 1995) -> date:
    """Return a day from `since` to 2026."""
    return date(since, 1, 1) + timedelta(days=rng.below((2026 - since) * 365))


def birth_day(rng: Rng, age: int) -> date:
    """Return a birth date that makes somebody about `age` years old in 2024."""
    return date(2024 - age, 1, 1) + timedelta(days=rng.below(365))


def full_date(rng: Rng, day: date, form: str = "") -> Value:
    """Return a date with its year; now and then with weekday or time of day."""
    text = write(day, form or rng.pick(FULL))
    roll = rng.random()
    if roll < 0.05:
        return (
            (rng.pick((DAYS[day.weekday()], DAYS_SHORT[day.weekday()])), SOFT),
            (rng.pick((", ", " ", ", ")), None),
            (text, DATE),
        )
    if roll < 0.13:
        clock = time_of_day(rng)
        return ((text, DATE), (rng.pick((" ", " at ", " @ ", " @", ", ")), None), (clock, None))
    if roll < 0.145:
        return (
            (write(day, "{Y}-{mm}-{dd}"), DATE),
            (rng.shape("T1#:3#:4#") + rng.pick(("Z", "", ".000Z", "-05:00")), IGNORE),
        )
    return ((text, DATE),)


def any_date(rng: Rng, day: date, form: str) -> Value:
    """Return a date as running text has it: whole, without its year, or month and year."""
    roll = rng.random()
    if roll < 0.55:
        return full_date(rng, day, form)
    if roll < 0.78:
        return day_month(rng, day)
    if roll < 0.95:
        return ((write(day, rng.pick(MONTH_YEAR)), DATE),)
    return ((write(day, rng.pick(MONTH)), DATE),)


def day_month(rng: Rng, day: date) -> Value:
    """Return a date without its year."""
    text = write(day, rng.pick(DAY_MONTH))
    if rng.chance(0.06):
        return ((rng.pick(DAYS + DAYS_SHORT), SOFT), (" ", None), (text, DATE))
    return ((text, DATE),)


def day_list(rng: Rng, day: date) -> tuple[Piece, ...]:
    """Return two to five days in a row or nearly so, as flowsheets list them."""
    form = rng.pick(("{m}/{d}", "{m}/{d}", "{m}/{d}", "{mm}/{dd}", "{m}-{d}", "{Mon} {d}"))
    joint = rng.pick((", ", ", ", ",", "; ", " ", "  ", " & ", " + "))
    pieces: list[Piece] = []
    for number in range(rng.between(2, 5)):
        if number:
            pieces.append((joint, None))
        pieces.append((write(day, form), DATE))
        day += timedelta(days=rng.pick((1, 1, 1, 2, 3, 7)))
    return tuple(pieces)


def date_range(rng: Rng, day: date) -> tuple[Piece, ...]:
    """Return from one day to another."""
    later = day + timedelta(days=rng.between(1, 40))
    roll = rng.random()
    if roll < 0.3:
        form = rng.pick(FULL)
        return (
            (write(day, form), DATE),
            (rng.pick((" to ", " - ", " through ", "-", " \u2013 ")), None),
            (write(later, form), DATE),
        )
    if roll < 0.5:
        form = rng.pick(("{m}/{d}", "{mm}/{dd}", "{Mon} {d}", "{Month} {d}"))
        return (
            (write(day, form), DATE),
            (rng.pick((" to ", "-", " - ", "\u2013")), None),
            (write(later, form), DATE),
        )
    joint = rng.pick(("-", "\u2013", " to "))
    if roll < 0.7:
        return (
            (
                f"{MONTHS[day.month - 1]} {day.day}{joint}{day.day + 3}",
                DATE,
            ),
            (rng.pick((", ", " ")), None),
            (str(day.year), DATE),
        )
    return (
        ("between ", None),
        (write(day, "{Month} {d}"), DATE),
        (" and ", None),
        (write(later, "{Month} {d}, {Y}"), DATE),
    )


def formal(rng: Rng, day: date, *, opens: bool = False) -> tuple[Piece, ...]:
    """Return a day, some days or a stretch of them as judgments and reports write them."""
    later = write(day + timedelta(days=rng.between(1, 900)), "{d} {Month} {Y}")
    near = day + timedelta(days=rng.between(1, 3))
    whole, next_day = write(day, "{d} {Month} {Y}"), write(near, "{d} {Month} {Y}")
    roll = rng.random()
    pieces: list[Piece]
    if roll < 0.4:
        pieces = [("on ", None), (whole, DATE)]
    elif roll < 0.52:
        pieces = [("between ", None), (whole, DATE), (" and ", None), (later, DATE)]
    elif roll < 0.62:
        until = rng.pick((" to ", " until "))
        pieces = [("from ", None), (whole, DATE), (until, None), (later, DATE)]
    elif roll < 0.7:
        first = write(day, rng.pick(("{d}", "{d} {Month}")))
        pieces = [("on ", None), (first, DATE), (" and ", None), (next_day, DATE)]
    elif roll < 0.75:
        pieces = [("on ", None), (write(day, "{d} {Month}"), DATE), (", ", None)]
        pieces += [(write(near, "{d} {Month}"), DATE), (" and ", None), (later, DATE)]
    elif roll < 0.79:
        night = rng.pick(("on the night of ", "during the night of "))
        until = rng.pick((" to ", " and ", "-"))
        pieces = [(night, None), (write(day, "{d}"), DATE), (until, None), (next_day, DATE)]
    else:
        form = rng.pick(
            (
                "the {o} day of {Month}, {Y}",
                "the {o} of {Month} {Y}",
                "the {word} day of {Month}, {Y}",
                "{Month} {d}, {Y}",
                "{Month} {d}, {Y}",
                "{d} {Month}",
                "{o} {Month} {Y}",
            )
        )
        before = rng.pick(("on ", "on ", "on ", "by ", "since "))
        pieces = [(before, None), (write(day, form), DATE)]
    if opens:
        pieces[0] = (pieces[0][0].capitalize(), None)
    return tuple(pieces)


def time_of_day(rng: Rng) -> str:
    """Return a time, which is not PHI."""
    hour, minute = rng.below(24), rng.below(60)
    return rng.pick(
        (
            f"{hour:02}:{minute:02}",
            f"{hour:02}{minute:02}",
            f"{hour % 12 + 1}:{minute:02} PM",
            f"{hour % 12 + 1}:{minute:02}am",
            f"{hour:02}:{minute:02}:{rng.below(60):02}",
            f"{hour % 12 + 1} pm",
            f"{hour:02}:{minute:02} hrs",
            f"{hour:02}{minute:02}h",
        )
    )


def relative(rng: Rng) -> str:
    """Return a time told from now, which is not PHI."""
    count = rng.pick(
        (
            "2",
            "3",
            "4",
            "six",
            "5",
            "10",
            "two",
            "several",
            "a few",
            "8",
            "1",
            "12",
            "2-3",
            "4 to 6",
        )
    )
    unit = rng.pick(("days", "weeks", "months", "years", "hours", "wks", "mos", "yrs"))
    return rng.pick(
        (
            f"{count} {unit} ago",
            f"in {count} {unit}",
            f"{count} {unit} prior",
            f"x{count} {unit}",
            "yesterday",
            "today",
            "last night",
            "this morning",
            f"last {rng.pick(DAYS)}",
            f"next {rng.pick(DAYS)}",
            "last week",
            "next month",
            f"for {count} {unit}",
            f"over the past {count} {unit}",
            f"POD {rng.between(0, 9)}",
            f"hospital day {rng.between(1, 12)}",
            f"on {rng.pick(DAYS)}",
            f"{rng.pick(DAYS)} night",
            f"{rng.between(1, 9)}/7",
            f"{rng.between(1, 9)}/52",
            f"{rng.between(1, 11)}/12 hx",
            "since childhood",
            f"at {rng.between(6, 40)} weeks",
        )
    )


_TENS = ("", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_UNITS = (
    "",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)


def _words(number: int) -> str:
    if number < 20:
        return _UNITS[number]
    return " ".join(part for part in (_TENS[number // 10], _UNITS[number % 10]) if part)


def spoken(rng: Rng, day: date) -> str:
    """Return a date said aloud: march third nineteen eighty-one."""
    century, rest = divmod(day.year, 100)
    year = (
        "two thousand " + _words(rest)
        if century == 20
        else "nineteen "
        + (_words(rest) if rest > 9 else "oh " + _words(rest) if rest else "hundred")
    )
    month = MONTHS[day.month - 1] if rng.chance(0.6) else MONTHS[day.month - 1].lower()
    middle = rng.pick((ORDINALS[day.day - 1], _ordinal(day.day), str(day.day), _words(day.day)))
    end = rng.pick((year.strip(), str(day.year), ", " + str(day.year), year.strip()))
    return f"{month} {middle} {end}".replace(" ,", ",")
