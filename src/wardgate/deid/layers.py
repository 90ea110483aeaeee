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
from wardgate.deid.transform import TAG
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


_YEAR = re.compile(r"(?:1[89]|20)[0-9]{2}")
"""A year alone is no PHI; where it shows an age over 89, the rules say so (`dates.years`)."""


def _claimed(folded: str, ruled: list[Candidate], found: list[Candidate]) -> list[Candidate]:
    """Return what the tagger adds: nothing that an earlier pass wrote, no bare year, no state."""
    found = [c for c in found if not _stays(folded[c[0] : c[1]], c[2])]
    if not found:
        return found
    if "[" in folded or "**" in folded or "90+" in folded:
        found = trimmed(folded, found, [match.span() for match in TAG.finditer(folded)])
    return beyond(folded, ruled, found) if ruled else found


def _stays(inside: str, label: EntityType) -> bool:
    """Whether a candidate is no PHI by rule, whatever the tagger says."""
    if label is EntityType.DATE:
        return _YEAR.fullmatch(inside) is not None
    return label is EntityType.LOCATION and is_state(inside.lower())
