"""What stands in place of PHI: typed tags, `90+`, three ZIP digits, the year alone.

Each form is one that a second pass leaves as it is. Pure: the reference date comes in.
"""

from __future__ import annotations

import datetime as dt
import re
from bisect import bisect_left
from functools import cache
from importlib import resources
from operator import itemgetter

from wardgate.deid.fold import is_format
from wardgate.deid.policy import AGE_FORM, TAGS, Action, Policy
from wardgate.deid.spans import Candidate, Place
from wardgate.types import EntityType

OLDEST_TOLD = 89
"""Ages above it are told as `90+` (45 CFR 164.514(b)(2)(i)(C))."""
SMALLEST_ZIP3 = 20_000
"""A prefix stays only where more people than this live (45 CFR 164.514(b)(2)(i)(B)(1))."""

TAG = re.compile(
    r"\[(?:" + "|".join(EntityType) + r")\]|(?<![0-9])[0-9]{3}\*\*|(?<![0-9])90\+(?![0-9])"
)
"""What this module writes, years aside; detectors leave it alone."""
YEAR = re.compile(r"(?<![^\W_])(?<![^\W_][-/._:#])(?:19|20)[0-9]{2}(?![^\W_])(?![-/._:#][^\W_])")
"""A year that stands alone, as this module leaves one."""
_FIRST_YEAR, _LAST_YEAR = 1900, 2099


def edits_of(
    text: str,
    found: list[Candidate],
    policy: Policy,
    reference: dt.date | None,
    until: int = dt.MAXYEAR,
) -> list[tuple[int, int, str]]:
    """Return `(start, end, new)` for each candidate that the policy does not keep, in their order.

    `reference` is the note's own date or today's; None is unknown and lets no year through. It is
    unknown for years after `until` too.
    """
    edits: list[tuple[int, int, str]] = []
    add = edits.append
    constant = policy.constant
    generalizes_zip = policy.actions["LOCATION.ZIP"] is Action.GENERALIZE
    known: dict[object, str | None] = {}
    for candidate in found:
        start, end, label, _, detail = candidate
        new = constant.get(label)
        if new is None:
            if detail is Place.ZIP and generalizes_zip:
                new = zip3(text[start : start + 3])
            else:
                key = (label, detail)
                if key not in known:
                    known[key] = _milder(candidate, policy, reference, until)
                new = known[key]
            if new is None:
                continue
        add((start, end, new))
    return edits


def _milder(
    candidate: Candidate, policy: Policy, reference: dt.date | None, until: int
) -> str | None:
    """Return what takes the place of a candidate that is not redacted for its label alone."""
    _, _, label, _, detail = candidate
    place = detail if isinstance(detail, Place) else None
    action = policy.action(label, place)
    if action is Action.KEEP:
        return None
    if action is Action.GENERALIZE:
        if label is EntityType.DATE:
            if isinstance(detail, tuple) and detail[0] <= until:
                return year_alone(detail[0], detail[1], detail[2], reference) or TAGS[label]
        elif label is EntityType.AGE:
            return AGE_FORM
    return TAGS[label]


def apart(
    text: str, edits: list[tuple[int, int, str]], found: list[Candidate]
) -> list[tuple[int, int, str]]:
    """Return the edits with a tag for each year, age or ZIP prefix that would touch other text.

    For texts with format characters, which show nothing: `2019` beside another number would read as
    one number. A tag has its own ends.
    """
    return [
        edit if edit[2][0] == "[" or _alone(text, edit[0], edit[1]) else _tagged(edit, found)
        for edit in edits
    ]


def glued(text: str, start: int, end: int) -> bool:
    """Whether a year in place of `[start, end)` would be a part of a word or number beside it."""
    return YEAR.search(f"{text[max(0, start - 2) : start]}2000{text[end : end + 2]}") is None


def _alone(text: str, start: int, end: int) -> bool:
    """Whether no format character stands right beside `[start, end)`."""
    return not (start and is_format(text[start - 1])) and not is_format(text[end : end + 1] or " ")


def _tagged(edit: tuple[int, int, str], found: list[Candidate]) -> tuple[int, int, str]:
    """Return the edit with the tag of its candidate; `found` is sorted."""
    at = bisect_left(found, edit[0], key=itemgetter(0))
    return (edit[0], edit[1], TAGS[found[at][2]])


def zip3(code: str) -> str:
    """Return `021**` where more than 20,000 people share the first three digits, else `000**`.

    Population: 2020 Census DHC table P1, summed over ZCTA5 by prefix; unlisted prefixes are `000`.
    """
    prefix = code[:3]
    return f"{prefix}**" if prefix in _populous() else "000**"


def year_alone(year: int, month: int, day: int, reference: dt.date | None) -> str:
    """Return the year of a date as text, or nothing where it may not be told.

    It may not where there is none, where the reference date is unknown, or where it shows an age
    over 89 (`shows_over_89`); nor outside of the years of `YEAR`. `month` and `day` are 0 where the
    date has none.
    """
    if reference is None or not _FIRST_YEAR <= year <= _LAST_YEAR:
        return ""
    if shows_over_89(year, month, day, reference):
        return ""
    return str(year)


def shows_over_89(year: int, month: int, day: int, reference: dt.date) -> bool:
    """Whether someone alive on that date is over 89 on the reference date.

    A whole date is counted to the day: 90 years to the day is over 89. Without a day the year
    decides, so that a year in which it could be so counts as showing it.
    """
    elapsed = reference.year - year
    if month and day and (reference.month, reference.day) < (month, day):
        elapsed -= 1
    return elapsed > OLDEST_TOLD


@cache
def _populous() -> frozenset[str]:
    table = resources.files("wardgate.deid").joinpath("data/zip3_2020.csv").read_text("ascii")
    rows = (line.split(",") for line in table.split()[1:])
    return frozenset(prefix for prefix, people in rows if int(people) > SMALLEST_ZIP3)
