"""The tagger's thresholds and the rules that it may rule out: chosen on dev, once, and frozen.

A type's threshold is the lowest at which its pieces on dev are right often enough: a missed piece
is a leak. A rule may be ruled out where, on dev, its hits that the tagger doubts are wrong far more
often than right.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from training.phi.notes import LEFT_OUT, TAGS, Note, tags

from wardgate.deid import gazetteer
from wardgate.deid.rules import detect
from wardgate.deid.tagger import Tagger

GRID = (0.3, 0.35, 0.4, 0.45, 0.5)
"""None above even odds: what is rather PHI than not goes, whatever that costs."""
RIGHT = 0.97
"""Share of a type's pieces that must be PHI."""
DOUBTS = (0.01, 0.02, 0.05, 0.1, 0.2)
LEAST_WRONG = 8
"""Wrong hits of a rule on dev, below which nothing is said of it."""
SPREAD = 0.3
MAY_BE_RULED_OUT = frozenset({"NAME", "LOCATION", "OTHER_ID"})
"""What rules take by its look alone. Dates and ages they judge by law."""


def choose(  # noqa: C901 -- one pass, three choices
    tagger: Tagger, notes: Sequence[Note]
) -> dict[str, Any]:
    """Return `start`, `spread` and `vetoes` as `tagger.json` has them."""
    words = gazetteer.load()
    right: dict[int, list[float]] = defaultdict(list)
    wrong: dict[int, list[float]] = defaultdict(list)
    hits: dict[str, list[tuple[float, float, bool]]] = defaultdict(list)
    for note in notes:
        pieces, odds = tagger.odds(note.text)
        gold = tags(note, pieces)
        best = odds[:, 1:].argmax(1) + 1 if len(odds) else []
        for i, word in enumerate(pieces.words):
            if gold[i] != LEFT_OUT and word[-1].isalnum():
                (right if gold[i] else wrong)[int(best[i])].append(1 - float(odds[i, 0]))
        phi = 1 - odds[:, 0]
        for start, end, label, score, _ in detect(note.text, None, words):
            first, last = bisect_right(pieces.ends, start), bisect_left(pieces.starts, end)
            if (gold[first:last] != LEFT_OUT).all():
                hits[str(label)].append(
                    (score, float(phi[first:last].max(initial=0)), bool(gold[first:last].any()))
                )
    start = {}
    for tag in range(1, len(TAGS)):
        good, bad = np.array(right[tag]), np.array(wrong[tag])
        start[TAGS[tag]] = next(
            (
                t
                for t in GRID
                if (good >= t).sum() >= RIGHT * ((good >= t).sum() + (bad >= t).sum())
            ),
            GRID[-1],
        )
    vetoes = {}
    for label, found in hits.items():
        if label not in MAY_BE_RULED_OUT:
            continue
        best_gain, chosen = 0, None
        for most in sorted({score for score, _, _ in found}):
            for doubt in DOUBTS:
                ruled = [is_phi for score, odds, is_phi in found if score <= most and odds < doubt]
                gain = sum(-3 if is_phi else 1 for is_phi in ruled)
                if ruled.count(False) >= LEAST_WRONG and gain > best_gain:
                    best_gain, chosen = gain, [most, doubt]
        if chosen:
            vetoes[label] = chosen
    return {"start": start, "spread": SPREAD, "vetoes": vetoes}
