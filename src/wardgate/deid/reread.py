"""Read a clean text again where what was put in makes something else of its neighbours.

A date becomes its year, and a year beside other words may have a shape that the date had not: in
`2019 Will Dr. [NAME]` it is a house number. And what touched a name or number, as in `3/7March 3`,
may be seen once that has gone. A second pass must leave a clean text as it is, so the first looks
at those places. Beside a space or stop nothing of the kind can be: most texts are read once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from wardgate.deid.fold import readings, unfold
from wardgate.deid.spans import Candidate

_REACH = 64
"""Code points on either side of a place that are read."""
_CALM_LEFT = re.compile(r"(?:\A|\n|\(|[\]),;][ ]|[a-z][:,]?[ ])\Z")
_PART_LEFT = re.compile(
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|ss|soc|phone|fax|tel|call|last|[0-9])"
)
"""What stands left of a year and may make it part of something, for all that looks calm."""
_CALM_RIGHT = re.compile(
    r"\Z|[,;:)!?.]{0,2}(?:\Z|[\r\n])|[,;:)!?.]{1,2}[ ]|[ ](?:[(\[]|(?![nsew]{1,2}[ .])[a-z])"
)
_NEAR = 20
_APART = " \n\r\t.,;!?()[]\"'*+|#=<>"
"""What stands between a tag and a word so that neither touches the other; on the right `:` too."""
TOUCHED = re.compile(
    rf"[\]*+](?<=[A-Z*0].)(?![:{re.escape(_APART)}]|-y)."
    rf"|[^{re.escape(_APART)}](?:\[[A-Z]|(?<![0-9])(?:[0-9]{{3}}\*\*|90\+))"
)
"""A tag or prefix in a clean text that may touch something."""


def calm(clean: str, start: int, end: int) -> bool:
    """Whether a year stands so between small words and stops that it can be nothing else."""
    if _CALM_RIGHT.match(clean, end) is None:
        return False
    left = clean[start - _NEAR if start > _NEAR else 0 : start]
    return _CALM_LEFT.search(left) is not None and _PART_LEFT.search(left.lower()) is None


def touches(clean: str, start: int, end: int) -> bool:
    """Whether a letter, a digit, a hyphen or the like stands right beside `[start, end)`."""
    return (start > 0 and clean[start - 1] not in _APART) or (
        end < len(clean) and clean[end] != ":" and clean[end] not in _APART
    )


def reread(
    clean: str,
    places: Iterable[tuple[int, int]],
    read: Callable[[str], Sequence[Candidate]],
    most: int,
) -> tuple[list[Candidate], list[tuple[int, int]]]:
    """Return what is found around `places` of a clean text, and the places that were not looked at.

    `read` finds PHI in folded text. It reads some `most` code points.
    """
    found: list[Candidate] = []
    left_over: list[tuple[int, int]] = []
    for place in places:
        if most <= 0:
            left_over.append(place)
            continue
        start, end = place
        low = max(clean.rfind(" ", 0, max(0, start - _REACH)), start - 2 * _REACH, 0)
        high = clean.find(" ", end + _REACH, end + 2 * _REACH)
        window = clean[low : high if high >= 0 else end + 2 * _REACH]
        most -= len(window)
        for form, index in readings(window)[0]:
            candidates = read(form)
            if index is not None:
                candidates = unfold(window, candidates, index)
            found += [(c[0] + low, c[1] + low, *c[2:]) for c in candidates]
    return found, left_over
