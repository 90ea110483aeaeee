"""Pieces as numbers for training: every word once, with its row, lists and affixes."""

from __future__ import annotations

import random
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from training.phi.notes import TAGS, Note, tags

from wardgate.deid.tagger_features import (
    AFFIXES,
    AFFIXES_EACH,
    SPECIALS,
    UNKNOWN,
    affixes,
    cut,
    special,
)

Window = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Words by number, shapes and tags of consecutive pieces, int64 [length] each."""


class Words:
    """Every word met so far by number; rows below SPECIALS are of what is no word."""

    def __init__(
        self, vocabulary: Sequence[str], codes: dict[str, int], strangers: Sequence[str] = ()
    ) -> None:
        self._rows = {word: SPECIALS + i for i, word in enumerate(vocabulary)}
        self._codes = codes
        self.strangers = strangers
        """Rare words that are no names, of no vocabulary; for `estranged`."""
        self._numbers: dict[str, int] = {}
        self._new: list[str] = []
        self.texts: list[str] = []
        """By number."""
        self.row = np.zeros(0, np.int64)
        self.code = np.zeros(0, np.int64)
        self.affixes = np.zeros((0, AFFIXES_EACH), np.int64)

    def numbers(self, pieces: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of each word, new ones after those known."""
        known, out = self._numbers, np.empty(len(pieces), np.int64)
        for i, word in enumerate(pieces):
            at = known.get(word)
            if at is None:
                at = known[word] = len(known)
                self._new.append(word)
                self.texts.append(word)
            out[i] = at
        return out

    def settle(self) -> None:
        """Work out what is to be known of the words met since the last time."""
        if not self._new:
            return
        rows = [self._rows.get(word) or special(word) for word in self._new]
        found = np.full((len(rows), AFFIXES_EACH), AFFIXES, np.int64)
        for i, word in enumerate(self._new):
            if word.isalnum() and not SPECIALS > rows[i] > 0:
                found[i] = affixes(word)
        self.row = np.concatenate([self.row, rows])
        self.code = np.concatenate([self.code, [self._codes.get(word, 0) for word in self._new]])
        self.affixes = np.concatenate([self.affixes, found])
        self._new = []


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Shares of notes (or words) that are changed before they are learnt from."""

    lower: float = 0.10
    upper: float = 0.05
    names_lower: float = 0.10
    typo: float = 0.008
    joined_lines: float = 0.05
    tagged: float = 0.25
    """Notes in which some spans are `[NAME]` and the like already."""
    strange: float = 0.5
    """Notes in which some words outside of PHI are words never seen, and some numbers others."""


def changed(  # noqa: C901 -- one throw of the dice after another
    note: Note, how: Augment, dice: random.Random
) -> Note:
    """Return a note with its writing changed, length and spans kept."""
    text = note.text
    throw = dice.random()
    if throw < how.lower:
        text = text.lower()
    elif throw < how.lower + how.upper:
        text = text.upper()
    elif throw < how.lower + how.upper + how.names_lower:
        for start, end, tag in note.spans:
            if tag == 1:
                text = text[:start] + text[start:end].lower() + text[end:]
    if len(text) != len(note.text):
        text = note.text
    if dice.random() < how.joined_lines:
        text = text.replace("\n", " ")
    if dice.random() < how.tagged:
        return _tagged(text, note, dice)
    letters = list(text)
    for _ in range(int(len(text) * how.typo * dice.random())):
        at = dice.randrange(len(letters) - 1) if len(letters) > 1 else 0
        if letters[at].isalpha() and letters[at + 1 : at + 2] and letters[at + 1].isalpha():
            if dice.random() < 0.5:
                letters[at], letters[at + 1] = letters[at + 1], letters[at]
            else:
                letters[at] = dice.choice("abcdefghijklmnopqrstuvwxyz")
    return Note(note.id, "".join(letters), note.spans, note.kind)


_TOKEN = re.compile(r"(?<![^\W_])(?:[A-Za-z]{3,}|[0-9]{1,5})(?![^\W_])")
_SHARES = (0.01, 0.03, 0.08)
"""Of the words outside of PHI that are made strange in a note, by chance."""
_YEARS = range(1900, 2100)
_OLD = 90


def estranged(note: Note, strangers: Sequence[str], dice: random.Random) -> Note:
    """Put rare words and made-up abbreviations in place of some words outside of PHI.

    The same for numbers, by others of as many digits. A tagger that has seen them knows by what
    stands around it that a word is no name, and not for having met it.
    """
    share = dice.choice(_SHARES)
    covered = sorted(note.spans)
    parts: list[str] = []
    grown: list[tuple[int, int]] = []
    at = number = 0
    for match in _TOKEN.finditer(note.text):
        start, end = match.span()
        while number < len(covered) and covered[number][1] <= start:
            number += 1
        inside = number < len(covered) and covered[number][0] < end
        if inside or dice.random() >= share * (3 if match[0].isdigit() else 1):
            continue
        new = _stranger(match[0], strangers, dice)
        parts += [note.text[at:start], new]
        at = end
        grown.append((end, len(new) - (end - start)))
    parts.append(note.text[at:])
    ends = [end for end, _ in grown]
    moved = [0, *accumulate(more for _, more in grown)]
    kept = tuple(
        (a + moved[bisect_right(ends, a)], b + moved[bisect_right(ends, b)], tag)
        for a, b, tag in note.spans
    )
    return Note(note.id, "".join(parts), kept, note.kind)


def _stranger(word: str, strangers: Sequence[str], dice: random.Random) -> str:
    """Return what takes the place of a word or number: written alike, never met before."""
    if word.isdigit():
        other = "".join(dice.choice("0123456789") for _ in word)
        is_told = (len(other) == 2 and int(other) >= _OLD) or int(other) in _YEARS
        return word if is_told or int(word) in _YEARS else other
    if word.islower():
        return dice.choice(strangers)
    if word.isupper() or dice.random() < 0.3:
        return "".join(dice.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(dice.randint(2, 6)))
    if dice.random() < 0.3:
        return dice.choice(strangers).title() + dice.choice(strangers).title()[: dice.randint(2, 6)]
    return dice.choice(strangers).title()


_YEAR = re.compile(r"(?<![0-9])(?:19|20)[0-9]{2}(?![0-9])")
_ZIP = re.compile(r"[0-9]{5}(?:-[0-9]{4})?")


def _written(inside: str, tag: str, dice: random.Random) -> str:
    """Return what a policy puts in place of PHI: a tag, a year, three digits of a ZIP code."""
    year = _YEAR.search(inside)
    if tag == "DATE" and year is not None and dice.random() < 0.7:
        return year[0]
    if tag == "LOCATION" and _ZIP.fullmatch(inside):
        return f"{inside[:3]}**"
    if tag == "AGE":
        return "90+"
    return f"[{tag}]"


def _tagged(text: str, note: Note, dice: random.Random) -> Note:
    """Put typed tags in place of some or all spans of PHI."""
    share = dice.choice((0.3, 0.7, 1.0))
    parts: list[str] = []
    spans: list[tuple[int, int, int]] = []
    at = moved = 0
    for start, end, tag in sorted(note.spans):
        if start < at:
            continue
        if tag > 0 and dice.random() < share:
            new = _written(text[start:end], TAGS[tag], dice)
            parts += [text[at:start], new]
            at = end
            moved += len(new) - (end - start)
        else:
            spans.append((start + moved, end + moved, tag))
            parts.append(text[at:end])
            at = end
    parts.append(text[at:])
    return Note(note.id, "".join(parts), tuple(spans), note.kind)


def windows(
    notes: Sequence[Note], words: Words, length: int, how: Augment | None, seed: int
) -> list[Window]:
    """Cut notes into windows of at most `length` pieces; the first cut of each falls by chance."""
    dice = random.Random(seed)
    made: list[Window] = []
    for note in notes:
        shown = note
        if how is not None:
            if words.strangers and dice.random() < how.strange:
                shown = estranged(note, words.strangers, dice)
            shown = changed(shown, how, dice)
        pieces = cut(shown.text)
        if not pieces.words:
            continue
        found, numbers = tags(shown, pieces), words.numbers(pieces.words)
        total = len(numbers)
        first = 0 if how is None or total <= length else -dice.randrange(length)
        for start in range(first, total, length):
            part = slice(max(start, 0), min(start + length, total))
            if part.stop > part.start:
                made.append((numbers[part], pieces.shapes[part], found[part]))
    words.settle()
    return made


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows side by side: `word` indexes `unique`; past a window's end tags are LEFT_OUT."""

    word: Tensor
    shape: Tensor
    tag: Tensor
    mask: Tensor
    unique: Tensor
    row: Tensor
    code: Tensor
    affixes: Tensor


def collate(part: Sequence[Window], words: Words) -> Batch:
    """Join windows to one batch, int64 [windows, longest] each."""
    longest = max(len(w[0]) for w in part)
    word = np.zeros((len(part), longest), np.int64)
    shape, tag = np.zeros_like(word), np.full_like(word, -100)
    mask = np.zeros(word.shape, np.float32)
    for i, (numbers, shapes, found) in enumerate(part):
        size = len(numbers)
        word[i, :size], shape[i, :size], tag[i, :size], mask[i, :size] = numbers, shapes, found, 1
    unique, inverse = np.unique(word, return_inverse=True)
    return Batch(
        *map(torch.from_numpy, (inverse.reshape(word.shape), shape, tag, mask, unique)),
        *map(torch.from_numpy, (words.row[unique], words.code[unique], words.affixes[unique])),
    )


def batches(made: list[Window], pieces: int, seed: int) -> list[list[Window]]:
    """Put windows of like length together, at most `pieces` a batch, in an order by chance."""
    dice = random.Random(seed)
    order = sorted(made, key=lambda w: (len(w[0]) // 16, dice.random()))
    parts: list[list[Window]] = [[]]
    for window in order:
        if parts[-1] and (len(parts[-1]) + 1) * len(window[0]) > pieces:
            parts.append([])
        parts[-1].append(window)
    dice.shuffle(parts)
    return parts


__all__ = ["UNKNOWN", "Augment", "Batch", "Window", "Words", "batches", "collate", "windows"]
