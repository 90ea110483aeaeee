"""The first layer: rules with checks, context words and gazetteers, over folded text."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from operator import itemgetter

from wardgate.deid import dates, gazetteer, names, net, numbers, patterns, places
from wardgate.deid.spans import Candidate, Place, outside
from wardgate.deid.transform import TAG
from wardgate.types import EntityType

_start = itemgetter(0)
_DIGIT = re.compile(r"[0-9]")
_CAPITALISED = re.compile(r"(?<![A-Za-z])[A-Z][a-z'-]+\Z")
_CREDENTIALED = re.compile(r"(?:\[NAME\]|, (?:Jr|Sr|II|III|MD|RN|PhD|Esq)\.?)\Z")
_DATE_SHAPES = frozenset({"iso", "mdy", "my", "ym", "md", "dmon"})


def detect(
    text: str,
    reference: dt.date | None,
    words: gazetteer.Gazetteer,
    until: int = dates.MAX_YEAR,
) -> list[Candidate]:
    """Return candidates in folded text; they may overlap. What an earlier pass wrote is left alone.

    For years after `until` the reference date counts as unknown.
    """
    lowered = text.lower()
    taken: set[int] = set()
    found: list[Candidate] = []
    if _DIGIT.search(text):
        found += dates.months(text, lowered, reference, taken)
        maybe_ages = _shapes(text, lowered, reference, found, taken)
        found.sort(key=_start)
        found += names.find(text, lowered, words, found)
        if maybe_ages:
            found += _ages_of_names(text, maybe_ages, found, words.common)
        found += places.zips(text)
        found += dates.years(text, lowered, reference, until)
        taken.update(c[0] for c in found if c[4] is Place.ZIP)
        found += numbers.codes(text, lowered, taken, words.common)
        found += net.numbered(text, lowered)
    else:
        found += dates.months(text, lowered, reference, taken)
        found += names.find(text, lowered, words)
    found += names.spoken(text, lowered, words)
    found += dates.ages(text, lowered)
    found += net.net(text, lowered)
    found += net.hidden(text, lowered)
    if "[" in text or "**" in text or "90+" in text:
        return outside(found, [match.span() for match in TAG.finditer(text)])
    return found


def _ages_of_names(
    text: str, maybe: list[tuple[int, int]], found: list[Candidate], common: frozenset[str]
) -> Iterator[Candidate]:
    """`Maria Delgado, 92, of Boston`: a number is an age where a name ends right before it."""
    ends = {c[1] for c in found if c[2] is EntityType.NAME}
    for start, end in maybe:
        before = start - 2
        left = _CAPITALISED.search(text, max(0, before - 24), before)
        if (
            before in ends
            or (left is not None and left[0].lower() not in common)
            or _CREDENTIALED.search(text, max(0, before - 12), before)
        ):
            yield (start, end, EntityType.AGE, 0.9, None)


def _shapes(
    text: str, lowered: str, reference: dt.date | None, found: list[Candidate], taken: set[int]
) -> list[tuple[int, int]]:
    """Add what has a shape to `found`; return the numbers that are ages if a name stands left."""
    maybe_ages: list[tuple[int, int]] = []
    number, add, take = dates.number, found.append, taken.add
    for match in patterns.NUMBERS.finditer(text):
        start = match.start()
        if start in taken:
            continue
        shape = match.lastgroup
        candidate: Candidate | None
        if shape in _DATE_SHAPES:
            candidate = number(text, lowered, match, reference)
        elif shape == "age":
            candidate = dates.age(lowered, match)
        elif shape == "old":
            judged = dates.old(lowered, match)
            if judged is True:
                maybe_ages.append(match.span())
            candidate = None if isinstance(judged, bool) else judged
        elif shape == "street":
            candidate = (start, match.end(), EntityType.LOCATION, 0.85, Place.STREET)
        else:
            candidate = numbers.shapes(text, lowered, match)
        if candidate is not None:
            add(candidate)
            take(start)
    for match in patterns.GROUPS.finditer(text):
        start, end = match.span()
        if start not in taken:
            candidate = numbers.groups(lowered, match[0], start, end)
            if candidate is not None:
                found.append(candidate)
    return maybe_ages
