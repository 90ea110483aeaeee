"""Dates moved by a patient's own number of days: form kept, intervals kept, never by 0.

What cannot be read exactly is not moved but left to its tag: a day without its month, a month
written over two lines, a date whose parts are hidden, one that shows an age over 89.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Final

from wardgate.deid.policy import Shift
from wardgate.deid.secret import mac
from wardgate.deid.spans import DateParts
from wardgate.deid.transform import shows_over_89

_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_TO_NINTH: Final = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth",
)  # fmt: skip
_ORDINALS: Final = (
    *_TO_NINTH, "tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth",
    "sixteenth", "seventeenth", "eighteenth", "nineteenth", "twentieth",
    *(f"twenty-{word}" for word in _TO_NINTH), "thirtieth", "thirty-first",
)  # fmt: skip
_WEEK: Final = 7
_MID_MONTH: Final = 15
_TWO: Final = 2
_LEAP: Final = 4
_SHORT: Final = 3
_FIRST_YEAR: Final = 1000

_SEP = r"[ ]?[-/.][ ]?"
_NAMED = (
    r"(?P<month>(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)(?![A-Za-z]))"
)
_TIME = r"(?:T[0-9:.]{2,15}(?:Z|[+-][0-9:]{2,5})?)?"
_END = r"(?:(?P<y>[12][0-9]{3})|(?P<yy>[0-9]{2}))"
_YEAR = r"(?:(?:,|[ ]of|\.)?[ ./-]{0,2}(?P<y>[12][0-9]{3})|(?:[/-]|,?[ ]?')(?P<yy>[0-9]{2}))"
_DAY = r"(?P<d>[0-9]{1,2})"
_TH = r"(?P<th>(?i:st|nd|rd|th))?"
_AFTER = rf"{_NAMED}\.?,?[ ./-]{{0,2}}"
_FORMS = tuple(
    re.compile(form, re.ASCII)
    for form in (
        rf"(?P<y>[12][0-9]{{3}})(?:{_SEP})(?P<m>[0-9]{{1,2}})(?:{_SEP}){_DAY}{_TIME}",
        r"(?P<y>[12][0-9]{3})(?P<m>[0-9]{2})(?P<d>[0-9]{2})(?:[0-9]{4}|[0-9]{6})?",
        rf"(?P<a>[0-9]{{1,2}})(?P<sep>{_SEP})(?P<b>[0-9]{{1,2}})(?:{_SEP}){_END}",
        r"(?P<m>[0-9]{1,2})[/-](?P<y>[12][0-9]{3})",
        r"(?P<y>[12][0-9]{3})-(?P<m>[0-9]{2})",
        rf"(?P<m>[0-9]{{1,2}})/{_DAY}(?:-(?P<m2>[0-9]{{1,2}})/(?P<d2>[0-9]{{1,2}}))?",
        rf"{_DAY}(?:-(?P<d2>[0-9]{{1,2}}))?{_TH}(?:[ ]of[ ]|[ ./-]{{0,2}}){_NAMED}\.?{_YEAR}?",
        rf"{_AFTER}(?:the[ ])?{_DAY}{_TH}(?:-(?P<d2>[0-9]{{1,2}}))?{_YEAR}?",
        rf"{_AFTER}(?:the[ ])?(?P<word>[A-Za-z]+(?:[ -][a-z]+)?)",
        rf"{_AFTER}(?P<y>[12][0-9]{{3}})",
        rf"{_NAMED}\.?",
    )
)
"""Every form that is moved, tried in this order; the names of the groups say what is what."""


def offset(person: bytes, shift: Shift) -> int:
    """Return a person's offset in days: never 0, at most `shift.days` either way.

    With `shift.weekdays` it is a number of whole weeks. 64 bits of the key choose among at most
    73,000 offsets, so none is more likely than another by 1e-14.
    """
    step = _WEEK if shift.weekdays else 1
    most = shift.days // step
    drawn = int.from_bytes(mac(person, "shift", "")[:8], "big") % (2 * most)
    return step * (drawn - most if drawn < most else drawn - most + 1)


def anchors(details: Sequence[DateParts | None]) -> list[int]:
    """Return for each date of a text the year to count in where it has none; 0 for unknown.

    It is that of the last date before it that has one, else of the first after it.
    """
    years = [parts[0] if parts else 0 for parts in details]
    first = next((year for year in years if year), 0)
    found: list[int] = []
    for year in years:
        first = year or first
        found.append(first)
    return found


def moved(
    text: str, parts: DateParts | None, days: int, *, anchor: int, reference: dt.date | None
) -> str | None:
    """Return a date as it is written, moved by `days`; None where it must keep its tag.

    `anchor` is the year to count in where the date has none, 0 for that of `reference`. A date that
    shows an age over 89 on the reference date is not moved, and where that is unknown none that has
    a year.
    """
    if parts is None:
        return None
    for form in _FORMS:
        match = form.fullmatch(text)
        if match is not None:
            return _rewritten(match, parts, days, anchor, reference)
    return None


def _rewritten(
    match: re.Match[str], parts: DateParts, days: int, anchor: int, reference: dt.date | None
) -> str | None:
    given = match.groupdict()
    if "a" in given:
        given |= _ordered(given, parts)
    month, day = _month(given), _day(given)
    year = _year(given, parts)
    if month is None or day is None or year is None:
        return None
    if given.get("y") or given.get("yy"):
        if reference is None or shows_over_89(year, month, day, reference):
            return None
    else:
        year = anchor or (reference.year if reference else dt.date.today().year)  # noqa: DTZ011 -- any year would do
        if (month, day) == (2, 29):
            year -= year % _LEAP
    try:
        date = dt.date(year, month, day or _MID_MONTH) + dt.timedelta(days)
        second = _second(given, year, month, days)
    except (ValueError, OverflowError):
        return None
    if date.year < _FIRST_YEAR or (
        (given.get("y") or given.get("yy"))
        and shows_over_89(date.year, date.month, date.day, reference or date)
    ):
        return None
    one_month = second is None or (second.year, second.month) == (date.year, date.month)
    if not one_month and not given.get("m2"):
        return None  # one month's name cannot stand for two
    return _spelt(match, given, date, second)


def _ordered(given: dict[str, str], parts: DateParts) -> dict[str, str]:
    """Tell month from day: as the detector read them, else by the rules that it goes by."""
    a, b = int(given["a"]), int(given["b"])
    dotted = "." in given["sep"]
    if parts[2]:
        swapped = (a, b) != parts[1:3] or (dotted and a == b)
    else:
        swapped = a > 12 or (dotted and b <= 12)  # noqa: PLR2004 -- months
    if swapped:
        return {"m": given["b"], "d": given["a"], "swapped": "yes"}
    return {"m": given["a"], "d": given["b"]}


def _month(given: dict[str, str]) -> int | None:
    if name := given.get("month"):
        return next(i for i, month in enumerate(_MONTHS, 1) if month.startswith(name.lower()[:3]))
    return int(given["m"]) if given.get("m") else None


def _day(given: dict[str, str]) -> int | None:
    """Return the day, 0 where there is none, None where it is a word that is no ordinal."""
    if word := given.get("word"):
        spelt = word.lower().replace(" ", "-")
        return _ORDINALS.index(spelt) + 1 if spelt in _ORDINALS else None
    return int(given.get("d") or 0)


def _year(given: dict[str, str], parts: DateParts) -> int | None:
    """Return the year, 0 where there is none, None where its century is unknown and matters."""
    if year := given.get("y"):
        return int(year)
    if short := given.get("yy"):
        if parts[0] % 100 == int(short) and parts[0]:
            return parts[0]
        return None
    return 0


def _second(given: dict[str, str], year: int, month: int, days: int) -> dt.date | None:
    """Return the moved end of a range."""
    if not given.get("d2"):
        return None
    month = int(given.get("m2") or month)
    return dt.date(year, month, int(given["d2"])) + dt.timedelta(days)


def _spelt(
    match: re.Match[str], given: dict[str, str], date: dt.date, second: dt.date | None
) -> str:
    """Return the text of the match with the new parts in place of the old, in their form."""
    names = match.re.groupindex
    if "a" in names:
        month, day = ("b", "a") if "swapped" in given else ("a", "b")
        places = {month: date.month, day: date.day}
    else:
        places = {"m": date.month, "d": date.day}
    if second is not None:
        places |= {"m2": second.month, "d2": second.day}
    numbers = [match[name] for name in places if name in names and match[name]]
    padded = any(n[0] == "0" for n in numbers) or (
        len(numbers) > 1 and all(len(n) == _TWO for n in numbers)
    )
    new: dict[str, str] = {}
    for name, value in places.items():
        new[name] = f"{value:02}" if padded else str(value)
    new["y"], new["yy"] = f"{date.year:04}", f"{date.year % 100:02}"
    last = second or date
    new["th"] = _suffix(last.day)
    if "month" in names:
        new["month"] = _named(match["month"], date.month, joined="-" in match[0])
    if "word" in names:
        new["word"] = _ORDINALS[date.day - 1]
        if " " in match["word"]:
            new["word"] = new["word"].replace("-", " ")
    pieces: list[str] = []
    done = match.start()
    for start, end, name in sorted(
        (*match.span(name), name) for name in names if name in new and match[name] is not None
    ):
        pieces += [match.string[done:start], _cased(match[name], new[name])]
        done = end
    return "".join([*pieces, match.string[done : match.end()]])


def _suffix(day: int) -> str:
    if day in {11, 12, 13}:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _named(old: str, month: int, *, joined: bool) -> str:
    """Return a month's name, whole or short as the old one; `May` is both, and short in `3-May`."""
    name = _MONTHS[month - 1]
    whole = old.lower() in _MONTHS and not (joined and len(old) == _SHORT)
    return name if whole else name[:_SHORT]


def _cased(old: str, new: str) -> str:
    if old.isupper():
        return new.upper()
    return new.capitalize() if old[0].isupper() else new
