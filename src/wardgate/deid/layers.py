"""All that reads one text: rules and tagger, joined, with what the site wants.

One text in, one list of candidates out; `deidentify.py` decides how often a text is read.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence

from wardgate.deid import dates
from wardgate.deid.codes import alike
from wardgate.deid.derive import pseudonyms
from wardgate.deid.gazetteer import Gazetteer
from wardgate.deid.places import is_state
from wardgate.deid.resolve import Explanation, Layer, beyond, explain, standing, trimmed
from wardgate.deid.rules import detect
from wardgate.deid.site import Site
from wardgate.deid.spans import Candidate, resolve
from wardgate.deid.tagger import Tagger
from wardgate.deid.transform import TAG, YEAR
from wardgate.types import EntityType


class Layers:
    """The layers together; holds no text."""

    __slots__ = ("_tagger", "_words")

    def __init__(self, words: Gazetteer, tagger: Tagger) -> None:
        self._words = words
        self._tagger = tagger

    def read(
        self, folded: str, reference: dt.date | None, until: int, site: Site
    ) -> list[Candidate]:
        """Return what all layers find in folded text, codes of earlier passes too.

        They may overlap. For years after `until` the reference date counts as unknown.
        Raises DetectorFailed.
        """
        reading = self._tagger.read(folded)
        ruled = standing(
            detect(folded, reference, self._words, until), reading.odds, self._tagger.vetoes
        )[0]
        found = [*ruled, *_claimed(folded, ruled, reading.found)]
        return [*site.judge(folded, found, TAG), *alike(folded), *pseudonyms(folded)]

    def ruled(
        self, folded: str, reference: dt.date | None, until: int, site: Site
    ) -> list[Candidate]:
        """Return what rules and the site alone find in folded text; they may overlap."""
        return site.judge(folded, detect(folded, reference, self._words, until), TAG)

    def explained(
        self,
        folded: str,
        spans: Sequence[Candidate],
        reference: dt.date | None,
        until: int = dates.MAX_YEAR,
    ) -> list[Explanation]:
        """Return for every span of folded text who found it, how sure, and what it beat."""
        reading = self._tagger.read(folded)
        ruled = detect(folded, reference, self._words, until)
        given = {Layer.RULES: ruled, Layer.TAGGER: reading.found}
        return explain(resolve(spans), given, reading.odds)


def _claimed(folded: str, ruled: list[Candidate], found: list[Candidate]) -> list[Candidate]:
    """Return what the tagger adds: nothing that an earlier pass wrote, no year, no state.

    A year that stands alone is no PHI; where it shows an age over 89 or belongs to more, rules say
    so. So a year that an earlier pass left is left again.
    """
    found = [c for c in found if not (c[2] is EntityType.LOCATION and is_state(_lower(folded, c)))]
    if not found:
        return found
    written = [match.span() for match in YEAR.finditer(folded)]
    if "[" in folded or "**" in folded or "90+" in folded:
        written = sorted([*written, *(match.span() for match in TAG.finditer(folded))])
    found = [_unlabelled(folded, c) for c in trimmed(folded, found, written)]
    if ruled:
        found = beyond(folded, ruled, found)
    # of `the 14th of March` rules take the parts that count
    return [
        c
        for c in found
        if c[2] is not EntityType.DATE
        or ((said := _lower(folded, c)) not in _JOINTS and not _are_years(said))
    ]


_JOINTS = frozenset({"the", "of", "on", "and", "to", "in", "at", "from", "until", "between"})
"""Words that join the parts of a date and are none."""


_SPAN_OF_YEARS = re.compile(r"(?:19(?=[5-9])|20)([0-9]{2})[-/](?:19|20)?([0-9]{2})")
"""A span that begins earlier may show an age over 89."""
_MONTHS = 12


def _are_years(said: str) -> bool:
    """Tell whether a date is two years, `2019-20` or `1977/1979`, and not a year with its month."""
    match = _SPAN_OF_YEARS.fullmatch(said)
    if match is None:
        return False
    first, last = int(match[1]), int(match[2])
    return len(said) > len("2019-20") or (last > _MONTHS and last > first)


_LABEL = re.compile(
    r"(?:(?:mrn|ssn|npi|dea|dob|udi|vin|s/?n|ip|id|mac|csn|phone|fax|tel|ext|email|acct?|account|serial"
    r"|lot|plate|lic|gmc|member|claim|policy|card|visa|tag|chip)[ \t:#.=]{1,4})+",
    re.IGNORECASE,
)
"""What announces a number and is no part of it."""


def _unlabelled(folded: str, candidate: Candidate) -> Candidate:
    """Return what the tagger took without the label before it: `MRN: 4410982`."""
    start, end, label, score, detail = candidate
    match = _LABEL.match(folded, start, end)
    if match is None or not any(map(str.isdigit, folded[match.end() : end])):
        return candidate
    return (match.end(), end, label, score, detail)


def _lower(folded: str, candidate: Candidate) -> str:
    return folded[candidate[0] : candidate[1]].lower()
