"""How well a de-identifier does against gold: tokens, spans, leaks, and what it took too much of.

A token is a maximal run of letters and digits; punctuation never counts. A gold token is found only
if each of its gold characters is covered. A gold span marked as ignored counts neither for nor
against. Labels matter for the figures by label alone: a name found as a place is found.

Intervals are percentile bootstrap intervals over documents (Efron 1979), 95 %.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

TOKEN = re.compile(r"[^\W_]+")
_TAIL = 0.025
"""What a 95 % interval leaves out on each side."""
_CURVE_POINTS = 60


_Masks = tuple[bytearray, bytearray, bytearray]
"""One byte for each code point: whether it is gold, predicted, in an ignored zone."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A span of gold or of a prediction: `[start, end)` in code points of the text."""

    start: int
    end: int
    label: str
    ignore: bool = False
    """A zone of gold that counts neither for nor against."""
    score: float | None = None


@dataclass(slots=True)
class Labelled:
    """What was counted for one gold label."""

    spans: int = 0
    overlapped: int = 0
    covered: int = 0
    exact: int = 0
    typed: int = 0
    """Spans that a prediction of the same label overlaps."""
    tokens: int = 0
    tokens_found: int = 0


@dataclass(slots=True)
class Counts:
    """What was counted over documents; `tp`, `fp` and `fn` are tokens."""

    docs: int = 0
    tp: int = 0
    fp: int = 0
    fn: int = 0
    guesses: int = 0
    guesses_right: int = 0
    gold_chars: int = 0
    leaked_chars: int = 0
    other_chars: int = 0
    over_chars: int = 0
    phi_docs: int = 0
    leak_docs: int = 0
    negative_docs: int = 0
    touched_docs: int = 0
    """Documents without PHI in which something was predicted."""
    by_label: dict[str, Labelled] = field(default_factory=lambda: defaultdict(Labelled))
    by_guess: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    """For each predicted label: spans that overlap gold, all spans, and those of them that overlap
    no gold of their own label."""
    levels: Counter[tuple[float, bool]] = field(default_factory=Counter)
    """Tokens by the score up to which they are found, and whether they are gold."""

    def add(self, text: str, gold: Sequence[Marked], found: Sequence[Marked]) -> None:
        """Count one document. Spans lie within `text`."""
        phi = [span for span in gold if not span.ignore]
        zones = [span for span in gold if span.ignore]
        size = len(text)
        masks = is_gold, is_found, is_zone = bytearray(size), bytearray(size), bytearray(size)
        for mask, spans in ((is_zone, zones), (is_gold, phi), (is_found, found)):
            for span in spans:
                mask[span.start : span.end] = b"\1" * (span.end - span.start)
        for span in phi:
            is_zone[span.start : span.end] = bytes(span.end - span.start)
        self.docs += 1
        self._tokens(text, phi, found, masks)
        leaked = self._chars(text, masks)
        self._spans(text, phi, found, is_found)
        self._guesses(phi, found, is_gold, is_zone)
        if phi:
            self.phi_docs += 1
            self.leak_docs += leaked > 0
        elif not zones:
            self.negative_docs += 1
            self.touched_docs += bool(found)

    def row(self) -> dict[str, int]:
        """Return the counts that the figures with intervals are made of."""
        names = ("tp", "fp", "fn", "phi_docs", "leak_docs", "negative_docs", "touched_docs")
        row = {name: int(getattr(self, name)) for name in names}
        for label, found in self.by_label.items():
            row["n " + label], row["hit " + label] = found.tokens, found.tokens_found
        return row

    def _tokens(
        self,
        text: str,
        phi: Sequence[Marked],
        found: Sequence[Marked],
        masks: _Masks,
    ) -> None:
        is_gold, is_found, is_zone = masks
        for match in TOKEN.finditer(text):
            start, end = match.span()
            at = is_gold.find(1, start, end)
            if at < 0:
                if is_zone.find(1, start, end) < 0 and is_found.find(1, start, end) >= 0:
                    self.fp += 1
                    self.levels[_highest(found, start, end), False] += 1
                continue
            label = next(span.label for span in phi if span.start <= at < span.end)
            counted = self.by_label[label]
            counted.tokens += 1
            chars = [place for place in range(start, end) if is_gold[place]]
            if all(is_found[place] for place in chars):
                self.tp += 1
                counted.tokens_found += 1
                level = min(_highest(found, place, place + 1) for place in chars)
                self.levels[level, True] += 1
            else:
                self.fn += 1

    def _chars(self, text: str, masks: _Masks) -> int:
        """Count characters; return how many of gold were left uncovered."""
        leaked = 0
        for char, gold, found, zone in zip(text, *masks, strict=True):
            if not char.isalnum():
                continue
            if gold:
                self.gold_chars += 1
                leaked += not found
            elif not zone:
                self.other_chars += 1
                self.over_chars += found
        self.leaked_chars += leaked
        return leaked

    def _spans(
        self, text: str, phi: Sequence[Marked], found: Sequence[Marked], is_found: bytearray
    ) -> None:
        edges = {(span.start, span.end) for span in found}
        for span in phi:
            counted = self.by_label[span.label]
            chars = [place for place in range(span.start, span.end) if text[place].isalnum()]
            hit = sum(is_found[place] for place in chars)
            counted.spans += 1
            counted.overlapped += hit > 0
            counted.covered += bool(chars) and hit == len(chars)
            counted.exact += (span.start, span.end) in edges
            counted.typed += any(g.label == span.label and _meet(g, span) for g in found)

    def _guesses(
        self,
        phi: Sequence[Marked],
        found: Sequence[Marked],
        is_gold: bytearray,
        is_zone: bytearray,
    ) -> None:
        for guess in found:
            right = is_gold.find(1, guess.start, guess.end) >= 0
            if right or is_zone.find(1, guess.start, guess.end) < 0:
                self.guesses += 1
                self.guesses_right += right
                counted = self.by_guess[guess.label]
                counted[0] += right
                counted[1] += 1
                counted[2] += not any(g.label == guess.label and _meet(g, guess) for g in phi)


def _meet(one: Marked, other: Marked) -> bool:
    return one.start < other.end and one.end > other.start


def _highest(found: Sequence[Marked], start: int, end: int) -> float:
    """Return the highest score of the spans that touch a place; 1 for one without a score."""
    return max(
        1.0 if span.score is None else span.score
        for span in found
        if span.start < end and span.end > start
    )


# -- figures --------------------------------------------------------------------------------------


def share(part: float, whole: float) -> float:
    """Return `part / whole`, 0 where there is nothing."""
    return part / whole if whole else 0.0


def balance(precision: float, recall: float, beta: int = 1) -> float:
    """Return the F-measure that weighs recall `beta` times as much (van Rijsbergen 1979)."""
    return share((1 + beta**2) * precision * recall, beta**2 * precision + recall)


def prf(precision: float, recall: float) -> dict[str, float]:
    """Return P, R, F1 and F2."""
    f1, f2 = balance(precision, recall), balance(precision, recall, 2)
    return {"P": precision, "R": recall, "F1": f1, "F2": f2}


def figures(counts: Counts) -> dict[str, object]:
    """Return all figures of what was counted; shares are in [0, 1]."""
    labels = dict(sorted(counts.by_label.items(), key=lambda pair: -pair[1].spans))
    gold = sum(each.spans for each in labels.values())
    overlapped = sum(each.overlapped for each in labels.values())
    covered = sum(each.covered for each in labels.values())
    exact = sum(each.exact for each in labels.values())
    right = share(counts.guesses_right, counts.guesses)
    token = prf(share(counts.tp, counts.tp + counts.fp), share(counts.tp, counts.tp + counts.fn))
    guesses = sorted(counts.by_guess.items(), key=lambda pair: -pair[1][1])
    touched = share(counts.touched_docs, counts.negative_docs)
    return {
        "docs": counts.docs,
        "gold_spans": gold,
        "pred_spans": counts.guesses,
        "token": {**token, "tp": counts.tp, "fp": counts.fp, "fn": counts.fn},
        "span_overlap": prf(right, share(overlapped, gold)),
        "span_covered": prf(right, share(covered, gold)),
        "span_exact": prf(share(exact, counts.guesses), share(exact, gold)),
        "char_leak_rate": share(counts.leaked_chars, counts.gold_chars),
        "leak_docs": share(counts.leak_docs, counts.phi_docs),
        "over_redacted_chars": share(counts.over_chars, counts.other_chars),
        "phi_docs": counts.phi_docs,
        "negative_docs": counts.negative_docs,
        "over_neg_docs": touched if counts.negative_docs else None,
        "by_label": {
            label: {
                "spans": each.spans,
                "overlap_R": share(each.overlapped, each.spans),
                "covered_R": share(each.covered, each.spans),
                "token_R": share(each.tokens_found, each.tokens),
                "exact_R": share(each.exact, each.spans),
            }
            for label, each in labels.items()
        },
        "by_pred_label": {
            label: {"spans": each[1], "overlap_P": share(each[0], each[1])}
            for label, each in guesses
            if each[1]
        },
        "typed": {
            label: prf(share(hit, hit + off), share(hit, every))
            for label, hit, every, off in _typed(counts)
            if every or off
        },
    }


def _typed(counts: Counts) -> Iterable[tuple[str, int, int, int]]:
    """Give for each label: gold spans found under it, gold spans, predictions off any of it."""
    for label in sorted({*counts.by_label, *counts.by_guess}):
        gold, guess = counts.by_label.get(label), counts.by_guess.get(label)
        yield (
            label,
            gold.typed if gold else 0,
            gold.spans if gold else 0,
            guess[2] if guess else 0,
        )


def intervals(
    rows: Sequence[Mapping[str, int]], *, draws: int, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the interval of each figure over documents, whose counts are `rows` (`Counts.row`).

    The keys are `P`, `R`, `leak_docs`, `over_neg_docs`, and `R <label>`.
    """
    names = sorted({name for row in rows for name in row})
    table = np.array([[row.get(name, 0) for name in names] for row in rows], dtype=np.int64)
    chance = random.Random(seed)  # noqa: S311 -- a draw of documents, no secret
    count = len(rows)
    sums = np.zeros((draws, len(names)))
    for draw in range(draws):
        chosen = np.bincount([chance.randrange(count) for _ in range(count)], minlength=count)
        sums[draw] = chosen @ table
    of = {name: sums[:, place] for place, name in enumerate(names)}
    pairs = {
        "P": (of["tp"], of["tp"] + of["fp"]),
        "R": (of["tp"], of["tp"] + of["fn"]),
        "leak_docs": (of["leak_docs"], of["phi_docs"]),
        "over_neg_docs": (of["touched_docs"], of["negative_docs"]),
    }
    for name in names:
        if name.startswith("n "):
            label = name.removeprefix("n ")
            pairs[f"R {label}"] = (of["hit " + label], of[name])
    found = {}
    for name, (part, whole) in pairs.items():
        shares = np.divide(part, whole, out=np.zeros(draws), where=whole > 0)
        if name not in {"P", "R"}:  # a draw without any of these says nothing of them
            shares = shares[whole > 0]
        if shares.size:
            shares.sort()
            tail = int(shares.size * _TAIL)
            found[name] = (float(shares[tail]), float(shares[-tail - 1]))
    return found


def curve(counts: Counts) -> list[dict[str, float]]:
    """Return token P and R were only spans kept that score at least a threshold, rising.

    Where all spans score the same there is no curve.
    """
    levels = sorted({level for level, _ in counts.levels})
    if len(levels) < 2:  # noqa: PLR2004 -- a curve has two points
        return []
    step = max(1, -(-len(levels) // _CURVE_POINTS))
    points = []
    for threshold in levels[::step]:
        kept = Counter[bool]()
        for (level, gold), tokens in counts.levels.items():
            if level >= threshold:
                kept[gold] += tokens
        recall = share(kept[True], counts.tp + counts.fn)
        points.append({"threshold": threshold, "P": share(kept[True], kept.total()), "R": recall})
    return points
