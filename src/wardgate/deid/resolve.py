"""Joins the layers: rules, tagger, what a site adds. Decides which candidates stand, and says why.

Whatever any layer is sure of is PHI. A rule that goes by a word's look alone (`Vetoes`) is heard
only where the tagger, which has read the whole text, does not rule it out. Overlaps are settled by
`spans.resolve`: no character that a standing candidate covers is left.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from operator import itemgetter

from wardgate.deid.spans import Candidate, Place, outside, resolve
from wardgate.types import EntityType


class Layer(StrEnum):
    """Who found a candidate."""

    RULES = "rules"
    TAGGER = "tagger"
    SITE = "site"


Odds = Callable[[int, int], float]
"""The tagger's highest probability of PHI for any piece of `[start, end)`; in [0, 1]."""
Vetoes = Mapping[EntityType, tuple[float, float]]
"""By type: rules up to this score are dropped where the tagger's odds are below that."""

_start, _end = itemgetter(0), itemgetter(1)


def standing(
    rules: Iterable[Candidate], odds: Odds, vetoes: Vetoes
) -> tuple[list[Candidate], list[Candidate]]:
    """Return the rules' candidates that stand and those that the tagger rules out."""
    kept: list[Candidate] = []
    dropped: list[Candidate] = []
    for candidate in rules:
        veto = vetoes.get(candidate[2])
        if veto is None or candidate[3] > veto[0] or odds(candidate[0], candidate[1]) >= veto[1]:
            kept.append(candidate)
        else:
            dropped.append(candidate)
    return kept, dropped


def beyond(text: str, rules: Iterable[Candidate], tagged: Iterable[Candidate]) -> list[Candidate]:
    """Return what the tagger found and rules did not, ending with words.

    A rule knows the parts of a date and the kind of a place, so what such a rule covers stays as it
    is, and so does what rules give another label. A candidate around one of its own label is whole.
    """
    taken = resolve(rules)
    out: list[Candidate] = []
    for candidate in tagged:
        start, end, label = candidate[:3]
        inside = [
            each[:2]
            for each in taken[
                bisect_right(taken, start, key=_end) : bisect_left(taken, end, key=_start)
            ]
            if each[2] is not label or each[4] is not None or each[0] < start or end < each[1]
        ]
        out += trimmed(text, [candidate], inside)
    return out


def trimmed(
    text: str, found: Iterable[Candidate], taken: Sequence[tuple[int, int]]
) -> list[Candidate]:
    """Return what of the candidates lies outside sorted, disjoint ranges, ending with words."""
    if not taken:
        return list(found)
    kept: list[Candidate] = []
    for candidate in outside(found, taken):
        start, end, label, score, _ = candidate
        low, high = start, end
        while low < high and not text[low].isalnum():
            low += 1
        while high > low and not text[high - 1].isalnum():
            high -= 1
        if high > low:
            kept.append(
                candidate if (low, high) == (start, end) else (low, high, label, score, None)
            )
    return kept


@dataclass(frozen=True, slots=True)
class Claim:
    """What one layer said of a stretch of text."""

    layer: Layer
    start: int
    end: int
    label: EntityType
    score: float
    kind: Place | None = None
    """What a location is."""

    def moved(self, index: Sequence[int]) -> Claim:
        """Return it with the places of another text; `index` has them for each place of this."""
        return replace(self, start=index[self.start], end=_moved(self.end, index))


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a span stands: the claim that won, those it beat, or, of a claim ruled out, by what."""

    start: int
    end: int
    label: EntityType | None
    """None: nothing stands here; the claims were ruled out."""
    won: Claim | None
    beat: tuple[Claim, ...]
    odds: float
    """The tagger's highest probability of PHI here."""

    def moved(self, index: Sequence[int]) -> Explanation:
        """Return it with the places of another text; `index` has them for each place of this."""
        return replace(
            self,
            start=index[self.start],
            end=_moved(self.end, index),
            won=self.won and self.won.moved(index),
            beat=tuple(claim.moved(index) for claim in self.beat),
        )


def _moved(end: int, index: Sequence[int]) -> int:
    return index[end - 1] + 1 if end else 0


def explain(
    spans: Sequence[Candidate], layers: Mapping[Layer, Iterable[Candidate]], odds: Odds
) -> list[Explanation]:
    """Return for every span which layer found it and what it beat, then what was ruled out.

    `spans` are what stands, sorted and disjoint; `layers` is all that each layer found.
    """
    claims = sorted(
        (_claim(layer, c) for layer, found in layers.items() for c in found),
        key=lambda claim: (claim.start, -claim.end),
    )
    by_span: list[list[Claim]] = [[] for _ in spans]
    out: list[Explanation] = []
    for claim in claims:
        at = bisect_right(spans, claim.start, key=_end)
        last = bisect_left(spans, claim.end, key=_start)
        if at >= last:
            ruled = odds(claim.start, claim.end)
            out.append(Explanation(claim.start, claim.end, None, None, (claim,), ruled))
        for span in range(at, last):
            by_span[span].append(claim)
    for (start, end, label, score, _), own in zip(spans, by_span, strict=True):
        won = max(
            own,
            key=lambda c: (c.label is label, c.score == score, c.end - c.start),
            default=None,
        )
        beat = tuple(claim for claim in own if claim is not won)
        out.append(Explanation(start, end, label, won, beat, odds(start, end)))
    return sorted(out, key=lambda each: (each.start, each.end))


def _claim(layer: Layer, candidate: Candidate) -> Claim:
    start, end, label, score, detail = candidate
    return Claim(layer, start, end, label, score, detail if isinstance(detail, Place) else None)
