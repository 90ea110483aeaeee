"""Spans and alignment: resolve candidates that overlap, put replacements in, map offsets.

Decides which candidate wins and where everything stands afterwards. Never decides what is PHI.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from enum import StrEnum
from functools import cache
from itertools import accumulate, repeat
from operator import add, itemgetter, sub
from typing import TypeVar

from wardgate.types import EntityType, Replacement

_Row = TypeVar("_Row")


class Place(StrEnum):
    """What a LOCATION is; policies treat these apart (45 CFR 164.514(b)(2)(i)(B), (e)(2)(ii))."""

    STREET = "STREET"
    CITY = "CITY"
    COUNTY = "COUNTY"
    ZIP = "ZIP"
    FACILITY = "FACILITY"


DateParts = tuple[int, int, int, bool]
"""Year, month and day of a date (0 where it has none), and whether it is a date of birth."""

Detail = DateParts | Place | None
"""What a generalisation needs to know of a candidate besides its text."""

Candidate = tuple[int, int, EntityType, float, Detail]
"""Start, end, label, score and detail. A bare tuple: a dense note makes ten thousand of them."""


_FEW = 4
_START, _END = itemgetter(0), itemgetter(1)


def resolve(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return sorted, disjoint candidates that cover every character that any candidate covered.

    A candidate inside another goes. Two that overlap in part become one with the label of the more
    certain: dropping either would leave a part of it in the text.
    """
    # two stable sorts in C: by start, the longest of equal starts first
    ordered = sorted(candidates, key=_END, reverse=True)
    ordered.sort(key=_START)
    kept: list[Candidate] = []
    end = -1
    for candidate in ordered:
        start, stop = candidate[0], candidate[1]
        if start >= end:
            if stop > start:
                kept.append(candidate)
                end = stop
        elif stop > end:
            last = kept[-1]
            winner = last if last[3] >= candidate[3] else candidate
            kept[-1] = (last[0], stop, winner[2], winner[3], None)
            end = stop
        elif stop == end and start == kept[-1][0] and candidate[3] > kept[-1][3]:
            kept[-1] = candidate
    return kept


def replace(
    text: str, edits: Sequence[tuple[int, int, str]]
) -> tuple[str, tuple[Replacement, ...]]:
    """Put replacements into `text`: `edits` are sorted, disjoint `(start, end, new)`.

    Returns the new text and, for each edit, where it stood and stands (code points).
    """
    if not edits:
        return text, ()
    starts, ends, news = zip(*edits, strict=True)
    pieces = [""] * (2 * len(edits) + 1)
    pieces[::2] = [text[a:b] for a, b in zip((0, *ends), (*starts, None), strict=True)]
    pieces[1::2] = news
    # how much longer the output is than the input after each edit
    grown = list(accumulate(map(sub, map(len, news), map(sub, ends, starts))))
    out_starts = list(map(add, starts, (0, *grown)))
    out_ends = list(map(add, ends, grown))
    return "".join(pieces), rows(Replacement, starts, ends, out_starts, out_ends)


def rows(kind: type[_Row], *columns: Sequence[object]) -> tuple[_Row, ...]:
    """Make one `kind` (a frozen, slotted dataclass) for each row of its fields' `columns`.

    Fills the slots column by column in C: a dense note has ten thousand rows, and the constructor
    of a frozen dataclass costs three times as much.
    """
    if len(columns[0]) < _FEW:
        return tuple(map(kind, *columns))
    made: list[_Row] = list(map(kind.__new__, repeat(kind, len(columns[0]))))
    for set_slot, column in zip(_setters(kind), columns, strict=True):  # type: ignore[arg-type]
        deque(map(set_slot, made, column), maxlen=0)
    return tuple(made)


@cache
def _setters(kind: type[object]) -> tuple[Callable[[object, object], None], ...]:
    return tuple(getattr(kind, field.name).__set__ for field in fields(kind))  # type: ignore[arg-type]


def to_input(start: int, end: int, alignment: Sequence[Replacement]) -> tuple[int, int]:
    """Map `[start, end)` of the output to the input; an end inside a replacement takes it whole."""
    return (
        _map(start, alignment, back=True, upper=False),
        _map(end, alignment, back=True, upper=True),
    )


def to_output(start: int, end: int, alignment: Sequence[Replacement]) -> tuple[int, int]:
    """Map `[start, end)` of the input to the output; an end inside a replacement takes it whole."""
    return (
        _map(start, alignment, back=False, upper=False),
        _map(end, alignment, back=False, upper=True),
    )


def _map(offset: int, alignment: Sequence[Replacement], *, back: bool, upper: bool) -> int:
    if back:
        at = bisect_right(alignment, offset, key=lambda r: r.out_start) - 1
    else:
        at = bisect_right(alignment, offset, key=lambda r: r.start) - 1
    if at < 0:
        return offset
    last = alignment[at]
    here = (last.out_start, last.out_end) if back else (last.start, last.end)
    there = (last.start, last.end) if back else (last.out_start, last.out_end)
    if offset >= here[1]:
        return offset - here[1] + there[1]
    if offset == here[0]:
        return there[0]
    return there[1] if upper else there[0]


def outside(
    candidates: Iterable[Candidate], protected: Sequence[tuple[int, int]]
) -> list[Candidate]:
    """Return what of the candidates lies outside the sorted, disjoint `protected` ranges.

    A candidate that runs into a protected range is cut to its parts outside, each without detail.
    """
    if not protected:
        return list(candidates)
    starts = [start for start, _ in protected]
    kept: list[Candidate] = []
    for candidate in candidates:
        before = bisect_left(starts, candidate[1])  # so many start before its end
        if before and protected[before - 1][1] > candidate[0]:
            kept += _cut(candidate, protected, starts)
        else:
            kept.append(candidate)
    return kept


def _cut(
    candidate: Candidate, protected: Sequence[tuple[int, int]], starts: list[int]
) -> list[Candidate]:
    start, end, label, score, _ = candidate
    at = max(bisect_right(starts, start) - 1, 0)
    if protected[at][1] <= start:
        at += 1
    if at >= len(protected) or protected[at][0] >= end:
        return [candidate]
    parts: list[Candidate] = []
    while at < len(protected) and protected[at][0] < end:
        low, high = protected[at]
        if low > start:
            parts.append((start, low, label, score, None))
        start = max(start, high)
        at += 1
    if start < end:
        parts.append((start, end, label, score, None))
    return parts
