"""Pieces as numbers for training: every word once, with its row, lists and runs of letters."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from training.phi.notes import TAGS, Note, tags

from wardgate.deid.tagger_features import GRAMS, SPECIALS, UNKNOWN, cut, grams, special

_MOST_GRAMS = 40
Window = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Words by number, shapes and tags of consecutive pieces, int64 [length] each."""


class Words:
    """Every word met so far by number; rows below SPECIALS are of what is no word."""

    def __init__(self, vocabulary: Sequence[str], codes: dict[str, int]) -> None:
        self._rows = {word: SPECIALS + i for i, word in enumerate(vocabulary)}
        self._codes = codes
        self._numbers: dict[str, int] = {}
        self._new: list[str] = []
        self.texts: list[str] = []
        """By number."""
        self.row = np.zeros(0, np.int64)
        self.code = np.zeros(0, np.int64)
        self.grams = np.zeros((0, _MOST_GRAMS), np.int64)

    def numbers(self, pieces: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of each word, new ones after those known."""
        known, out = self._numbers, np.empty(len(pieces), np.int64)
        for i, piece in enumerate(pieces):
            word = piece.removeprefix(" ") or " "
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
        found = np.full((len(rows), _MOST_GRAMS), GRAMS, np.int64)
        plain = [
            i for i, word in enumerate(self._new) if word.isalnum() and not SPECIALS > rows[i] > 0
        ]
        buckets, starts, _ = grams([self._new[i] for i in plain])
        ends = np.append(starts, buckets.shape[1])[1:]
        for i, start, end in zip(plain, starts, ends, strict=True):
            mine = buckets[:, start:end].ravel()
            mine = mine[mine < GRAMS][:_MOST_GRAMS]
            found[i, : len(mine)] = mine
        self.row = np.concatenate([self.row, rows])
        self.code = np.concatenate([self.code, [self._codes.get(word, 0) for word in self._new]])
        self.grams = np.concatenate([self.grams, found])
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
        shown = note if how is None else changed(note, how, dice)
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
    grams: Tensor


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
        *map(torch.from_numpy, (words.row[unique], words.code[unique], words.grams[unique])),
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
