"""Dates, ages and years: every date element but the year, ages over 89, years that show one.

A date must exist (no 31 April) and must not be a dose, a blood pressure, a muscle strength or a
version. Pure: the reference date comes in; it is used for years alone.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator

from wardgate.deid import patterns
from wardgate.deid.context import has_any, last_word
from wardgate.deid.spans import Candidate
from wardgate.deid.transform import shows_over_89
from wardgate.types import EntityType as E

_MONTHS = {name: i for i, name in enumerate(
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)}  # fmt: skip
_DAYS = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_LIVED = re.compile(r"(?: is |was |aged |at |lived )\Z")
_NOT_DATE_SIGNS = frozenset("-%'\"+")
_LINE_DATE = re.compile(r"[ ]?[:-][ \n]")
_SCALES = frozenset({2, 3, 4, 5, 6, 10})
_MONTH_NAME = re.compile(rf"(?:{'|'.join(_MONTHS)})[a-z]*")
_DAY_RANGE = re.compile(r"[0-9]{1,2}-[0-9]{1,2}")
_NUMBER = re.compile(r"[0-9]+")
_NOT_DIGITS = re.compile(r"[^0-9]")
_FOUR_DIGITS = re.compile(r"[12][0-9]{3}")
_SPLIT = re.compile(r"[ ]?[-/.][ ]?")
_BIRTH = re.compile(
    r"(?:\bd\.?o\.?b|birth|\bborn|\bb\.|\byob)[a-z ]{0,16}[^a-z0-9]{0,4}(?:on |in |is |was )?\Z"
)
_BEFORE_PARTIAL = frozenset(
    """
    on since dated date dos dob until till by seen visit admitted admit discharged discharge
    started start due scheduled surgery d/c starting last of through before after effective
    performed drawn collected received completed from born
    """.split()
)
_NOT_DATE_NEXT = re.compile(
    r"[ ]?(?:strength|murmur|systolic|diastolic|pain|scale|tab|pill|cup|dose|of the|ppd|pack|ss|normal|ef|mm|mg|cm|in\b|inch|power|motor"
    r"|reflex|stars|grade|lb|hx|ago|days?|weeks?|hours?|positive|negative|bilateral|throughout|sem\b|lead|upper|lower|right|left|intensity|level|in severity|at rest|with)"
)
_BEFORE_MONTH = frozenset(
    """
    in since of last next this until till by from through during early late mid to and between
    on for around before after end beginning month date every each
    """.split()
)
_BEFORE_YEAR = frozenset(
    """
    in since until till circa from during before after of year by late early mid around about to
    spring summer fall autumn winter yob born b dob birth c
    """.split()
)
_UNSURE_BIRTH = frozenset({"in", "during", "early", "late", "mid", "year", "yob", "circa"})
_ORDINAL = re.compile(
    r"[Oo](?<![\w].)n[ ]the[ ][0-9]{1,2}(?:st|nd|rd|th)(?=[.,;)!?\n]|[ ]of[ ](?:this|last|next|the)|[ ](?:at|and|for)\b|$)"
)
_MOST_LIKELY_AGE = 125
_AGE_LEFT = re.compile(
    r"(?<![a-z])(?:(?:ages?|aged)(?: (?:of|is|was|at))?[:=, ]{1,3}|(?:turn(?:ed|s|ing)|nearly) (?:age )?"
    r"|(?P<decade>in (?:his|her|their) (?:early |mid |late |mid-)?)"
    r"|(?:he|she|patient|pt|mother|father|mom|dad|husband|wife|grandmother|grandfather|aunt|uncle|sister|brother"
    r"|man|woman|gentleman|lady|widow|widower|resident|veteran|male|female)"
    r"(?:(?: is|'s| was)(?: now| only| just| already)? |, | \())\Z"
)
_NOT_OLD_NEXT = re.compile(
    r"[ ]?(?:mg|mcg|min|kg|lbs?|pounds|mm|cm|ml|g\b|days|weeks|months|hours|hrs|bpm|beats|percent|systolic|diastolic"
    r"|on (?:ra\b|room|[0-9]{1,2} ?l)|degrees|units|meters|feet|steps|percentile|over\b|minutes|pack|at rest)"
)
_AGE_WINDOW = 24
_MOST_LIKELY_AGE = 125
_WINDOW = 28
MAX_YEAR = 2100
_YEARS = re.compile(
    r"[12](?<![0-9].)[0-9]{3}(?![0-9])"
    r"|[0-9](?<![0-9].)[0-9]?[/.-][0-9]{1,2}[/.-](?P<numbers>[0-9]{2})(?![0-9])"
    r"|[/-](?<=(?:jan|feb|mar|apr|may|jun|jul|aug|sep|ept|oct|nov|dec|ary|rch|ril|une|uly|ust|ber).)"
    r"(?P<month>[0-9]{2})(?![0-9])"
    r"|'(?P<short>[0-9]{2})(?![0-9])"
)
"""What may be a year in lowered text, of four digits or of two."""
_NO_YEAR = (0, 0, 0, False)
_SHORTEST_MONTH = 28


def exists(year: int, month: int, day: int) -> bool:
    """Whether the date exists; year 0 stands for any year, day 0 for any day."""
    if not 1 <= month <= 12 or not 0 <= day <= _DAYS[month]:
        return False
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return not (month == 2 and day == 29 and year and not leap)


def full_year(short: int, reference: dt.date | None, *, birth: bool) -> int:
    """Return the four-digit year of a two-digit one, or 0 where that cannot be known.

    The latest year that is not after the reference. A birth year that could lie a century earlier
    and then shows an age over 89 is not known.
    """
    if reference is None:
        return 0
    year = reference.year - (reference.year - short) % 100
    if birth and reference.year - year + 100 < _MOST_LIKELY_AGE:
        return 0
    return year


def _birth(lowered: str, start: int) -> bool:
    near = lowered[start - _WINDOW if start > _WINDOW else 0 : start]
    return "b" in near and _BIRTH.search(near) is not None


def measured(forms: Iterable[str], given: dt.date, today: dt.date) -> dt.date:
    """Return the date to measure ages against where a caller says that the note is of `given`.

    A note that holds a later year is not of that date, or speaks of a time after it. Ages are then
    measured against today, as where no date is given: else a false old date would keep a year that
    shows an age over 89. A number that only looks like a year does the same. What may be a year
    after today proves nothing.
    """
    for form in forms:
        for match in _YEARS.finditer(form.lower()):
            short = match[match.lastgroup] if match.lastgroup else None
            year = int(match[0]) if short is None else full_year(int(short), today, birth=False)
            if given.year < year <= today.year:
                return today
    return given


def number(
    text: str, lowered: str, match: re.Match[str], reference: dt.date | None
) -> Candidate | None:
    """Judge a match of `patterns.NUMBERS` with the shape of a date."""
    start, end = match.span()
    shape = match.lastgroup
    if shape == "md":
        return _partial(lowered, match[0], start, end)
    if shape == "dmon":
        return _day_month(text, lowered, match[0], start, end, reference)
    birth = _birth(lowered, start)
    token = match[0]
    parts = token.split("/") if "/" in token else _SPLIT.split(token, maxsplit=2)
    if shape == "iso":
        year, month, day = int(parts[0]), int(parts[1]), int(parts[2][:2].rstrip("T"))
    elif shape == "my":
        year, month, day = int(parts[1]), int(parts[0]), 0
        if month == 0 or month > 12:
            return None
    elif shape == "ym":
        year, month, day = int(parts[0]), int(parts[1]), 0
        if year > MAX_YEAR:
            return None
    else:
        month, day = int(parts[0]), int(parts[1])
        if len(parts[2]) == 2:
            if "." in match[0] and not (birth or last_word(lowered, start) in _BEFORE_PARTIAL):
                return None
            year = full_year(int(parts[2]), reference, birth=birth)
        else:
            year = int(parts[2])
        if 0 < month <= 12 and 0 < day <= _SHORTEST_MONTH and not birth and "/" in token:
            if year and not 1800 <= year <= MAX_YEAR:
                year = 0
            return (start, end, E.DATE, 0.95, (year, month, day, False))
        if month > 12 or (day <= 12 and day != month and "." in match[0]):
            month, day = day, month
    if not exists(year, month, day):
        return _unreal(shape, match[0], start, end)
    if year and not 1800 <= year <= MAX_YEAR:
        year = 0
    if birth and last_word(lowered, start) in _UNSURE_BIRTH:
        day = 0
    return (start, end, E.DATE, 0.95, (year, month, day, birth))


def _unreal(shape: str | None, text: str, start: int, end: int) -> Candidate | None:
    """Take a date with a whole year that does not exist for a slip of the pen."""
    if shape == "mdy" and text.count("/") == 2 and text[-4:].isdigit():
        return (start, end, E.DATE, 0.6, _NO_YEAR)
    return None


def _partial(lowered: str, text: str, start: int, end: int) -> Candidate | None:
    first, _, rest = text.partition("-")
    month, _, day = first.partition("/")
    if not exists(0, int(month), int(day)) or int(day) == 0:
        return None
    if lowered[end : end + 1] in _NOT_DATE_SIGNS:
        return None
    word = last_word(lowered, start)
    if word not in _BEFORE_PARTIAL:
        line_start = start == 0 or not lowered[max(0, start - 3) : start].rpartition("\n")[2].strip(
            " -*"
        )
        if word or not line_start or not _LINE_DATE.match(lowered, end):
            return None
    if _NOT_DATE_NEXT.match(lowered, end) or (word == "from" and not rest and int(day) in _SCALES):
        return None
    return (start, end, E.DATE, 0.7, _NO_YEAR)


def _day_month(
    text: str, lowered: str, token: str, start: int, end: int, reference: dt.date | None
) -> Candidate | None:
    low = token.lower()
    found = _MONTH_NAME.search(low)
    if low[1:3].lstrip("0123456789")[:1] == "-" and (span := _DAY_RANGE.match(low)):
        return (start, end, E.DATE, 0.9, (_year_in(token[span.end() :]), 0, 0, False))
    if found is None:
        return None
    month, day = _MONTHS[found[0][:3]], int(_NUMBER.match(low)[0])  # type: ignore[index]
    if not exists(0, month, day) or day == 0:
        return None
    word = text[start + found.start() : start + found.end()]
    tail = token[found.end() :]
    if (
        word in {"may", "mar", "march", "dec", "sep", "sept"}
        and not tail
        and "of" not in low
        and found.start() > 2
    ):
        return None
    birth = _birth(lowered, start)
    digits = _NOT_DIGITS.sub("", tail)
    year = 0
    if len(digits) == 4:
        year = int(digits)
    elif digits:
        year = full_year(int(digits), reference, birth=birth)
    if birth and last_word(lowered, start) in _UNSURE_BIRTH:
        day = 0
    return (start, end, E.DATE, 0.95, (year, month, day, birth))


def _year_in(text: str) -> int:
    found = _FOUR_DIGITS.search(text)
    return int(found[0]) if found else 0


def months(
    text: str, lowered: str, reference: dt.date | None, taken: set[int]
) -> Iterator[Candidate]:
    """Yield dates with a month by name: `March 3, 2019`, `Mar 2019`, `in March`, `July third`.

    Adds to `taken` where the days start, so that they are not read as the start of another date.
    """
    if not has_any(lowered, _MONTHS):
        return
    for match in patterns.MONTHS.finditer(text):
        start, end = match.span()
        y4, d, y, y2, y3, spelt = match.group("y4", "d", "y", "y2", "y3", "word")
        written_year = y4 or y or y2 or y3
        if d and not written_year and text[start] < "a":
            taken.add(match.start("d"))
            yield (start, end, E.DATE, 0.95, _NO_YEAR)
            continue
        word = match[0][:9]
        if not (d or y4 or spelt):
            if not _lone_month(text, lowered, match[0], start, end):
                continue
            yield (start, end, E.DATE, 0.7, _NO_YEAR)
            continue
        if word[0].islower() and word[:3] in {"may", "mar"} and not written_year:
            if not (spelt or (d and last_word(lowered, start) in _BEFORE_MONTH)):
                continue
        if d:
            taken.add(match.start("d"))
        month, day = _MONTHS[lowered[start : start + 3]], int(d or 0)
        if day > _DAYS[month]:
            day = 0
        if not written_year:
            yield (start, end, E.DATE, 0.95, _NO_YEAR)
            continue
        birth = _birth(lowered, start)
        if y4 or y:
            year = int(y4 or y)
        elif y2 or y3:
            year = full_year(int(y2 or y3), reference, birth=birth)
        if birth and last_word(lowered, start) in _UNSURE_BIRTH:
            day = 0
        yield (start, end, E.DATE, 0.95, (year, month, day, birth))


def _lone_month(text: str, lowered: str, word: str, start: int, end: int) -> bool:
    if text[end : end + 1] in {"-", "'"} and text[end + 1 : end + 2].isalpha():
        return False
    low = word.lower()
    left = last_word(lowered, start) in _BEFORE_MONTH
    if len(low) == 3 and low != "may":
        return left and word[0].isupper()
    if low in {"may", "march", "august"} or word.islower():
        return (
            left and (low != "may" or word[0].isupper()) and not (low == "march" and word.islower())
        )
    return not word.isupper() or left


def years(
    text: str, lowered: str, reference: dt.date | None, until: int = MAX_YEAR
) -> Iterator[Candidate]:
    """Yield years that stand alone and show an age over 89 on the reference date.

    In a line of birth (`DOB: 1936`) a year that shows it for certain goes; elsewhere (`born in
    1936`, `since 1936`) one that may. With no reference date every such year goes, and so does one
    after `until`, for which there is none.
    """
    if "18" not in text and "19" not in text:
        return
    for match in patterns.BARE_YEAR.finditer(text):
        start, end = match.span()
        if last_word(lowered, start) not in _BEFORE_YEAR:
            continue
        year = int(match[0][:4])
        sure = _birth(lowered, start) and last_word(lowered, start) not in _UNSURE_BIRTH
        if reference is None or year > until or shows_over_89(year + sure, 0, 0, reference):
            yield (start, end, E.DATE, 0.8, (0, 0, 0, True))


def age(lowered: str, match: re.Match[str]) -> Candidate | None:
    """Judge a match of `patterns.NUMBERS` with the shape of an age of 90 or more."""
    start = match.start()
    stop = match.end()
    end = start + (2 if lowered[start] == "9" else 3)
    if lowered[stop - 1] in "rs" and "y" in lowered[end:stop]:
        after = lowered[stop : stop + 5]
        if not after.startswith((" old", "-old", " of a", " youn")) and not _LIVED.search(
            lowered, max(0, start - 9), start
        ):
            return None
    return (start, end, E.AGE, 0.95, None)


def old(lowered: str, match: re.Match[str]) -> Candidate | bool:
    """Judge a bare number of 90 to 125 by the words left of it.

    Returns the age; True where it is one if a person's name stands left; False where it is none.
    """
    start, end = match.span()
    size = 2 if lowered[start] == "9" else 3
    if _NOT_OLD_NEXT.match(lowered, end):
        return False
    left = lowered[start - _AGE_WINDOW if start > _AGE_WINDOW else 0 : start]
    announced = _AGE_LEFT.search(left)
    decade = end - start > size
    if announced is not None and (announced["decade"] is None or decade):
        return (start, end, E.AGE, 0.9, None)
    return not decade and left.endswith((", ", " ("))


def ages(text: str, lowered: str) -> Iterator[Candidate]:
    """Yield ages over 89 in words, and days of this month: `ninety-two-year-old`, `on the 15th`."""
    if "n the " in text:
        for match in _ORDINAL.finditer(text):
            yield (match.start() + 7, match.end(), E.DATE, 0.6, _NO_YEAR)
    if has_any(lowered, ("ninety", "hundred", "enarian")):
        for match in patterns.AGE_WORDS.finditer(text):
            yield (match.start(), match.end(), E.AGE, 0.9, None)
