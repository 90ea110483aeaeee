"""All that reads one text: rules and tagger, joined, with what the site wants.

One text in, one list of candidates out; `deidentify.py` decides how often a text is read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from wardgate.deid import dates
from wardgate.deid.codes import alike
from wardgate.deid.derive import pseudonyms
from wardgate.deid.gazetteer import Gazetteer
from wardgate.deid.resolve import Explanation, Layer, explain, join, standing, trimmed
from wardgate.deid.rules import detect
from wardgate.deid.site import Site
from wardgate.deid.spans import Candidate, resolve
from wardgate.deid.tagger import Tagger
from wardgate.deid.transform import TAG


class Layers:
    """The layers together; holds no text."""

    __slots__ = ("_tagger", "_words")

    def __init__(self, words: Gazetteer, tagger: Tagger) -> None:
        self._words = words
        self._tagger = tagger

    def read(
        self, folded: str, reference: dt.date | None, until: int, site: Site
    ) -> list[Candidate]:
        """Return what all layers find in folded text, codes of earlier passes too; they may overlap.

        For years after `until` the reference date counts as unknown. Raises DetectorFailed.
        """
        reading = self._tagger.read(folded)
        ruled = standing(
            detect(folded, reference, self._words, until), reading.odds, self._tagger.vetoes
        )[0]
        found = join(folded, ruled, _untagged(folded, reading.found))
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


def _untagged(folded: str, found: list[Candidate]) -> list[Candidate]:
    """Return candidates without the tags that an earlier pass wrote, each still ending with words."""
    if not found or not ("[" in folded or "**" in folded or "90+" in folded):
        return found
    return trimmed(folded, found, [match.span() for match in TAG.finditer(folded)])
