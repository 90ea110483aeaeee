"""Notes with gold spans as the tagger learns them: folded, cut into pieces, one tag a piece.

A span that the gold says to ignore is left out of the loss. In notes of our own making it is a
title, a profession, an insurer, a time of day: the tagger learns to leave those alone (`settled`).
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from training.phi.generate.document import LABELS

from wardgate.deid.fold import fold
from wardgate.deid.tagger_features import Pieces, cut

TAGS = ["O", *LABELS]
"""What a piece may be; PHI is judged by its distance from the first."""
_SAME = {"FAX": "PHONE", "PHOTO": "OTHER_ID"}
LEFT_OUT = -100
"""Tag of a piece that counts for nothing."""


@dataclass(frozen=True, slots=True)
class Note:
    """A folded text and its spans: `(start, end, tag)`, the tag of an ignored one is LEFT_OUT."""

    id: str
    text: str
    spans: tuple[tuple[int, int, int], ...]
    kind: str


def read(path: Path, kind: str = "") -> Iterator[Note]:
    """Read a gold file as it stands."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            folded, index = fold(row["text"])
            spans = []
            for span in row["spans"]:
                start, end = span["start"], span["end"]
                if index is not None:
                    start, end = bisect_left(index, start), bisect_left(index, end)
                label = _SAME.get(span["label"], span["label"])
                known = label in TAGS and not span.get("ignore")
                spans.append((start, end, TAGS.index(label) if known else LEFT_OUT))
            yield Note(str(row["id"]), folded, tuple(spans), kind or row.get("kind", ""))


PUBLIC = frozenset({"aci", "btc", "court", "meddocan", "piianon", "presidio", "wikigold", "wnut17"})
"""Kinds of notes whose ignored spans may hide PHI that nobody labelled."""


def settled(notes: Iterable[Note]) -> Iterator[Note]:
    """Take what is ignored in notes of our own making for no PHI."""
    for note in notes:
        if note.kind in PUBLIC:
            yield note
        else:
            known = tuple(span for span in note.spans if span[2] != LEFT_OUT)
            yield Note(note.id, note.text, known, note.kind)


def tags(note: Note, pieces: Pieces) -> NDArray[np.int64]:
    """Return the tag of each piece; one that a span holds in part has the span's tag."""
    found = np.zeros(len(pieces.words), np.int64)
    for start, end, tag in sorted(note.spans, key=lambda s: s[2] != LEFT_OUT):
        found[bisect_right(pieces.ends, start) : bisect_left(pieces.starts, end)] = tag
    return found


def labelled(notes: Iterable[Note]) -> Iterator[tuple[Pieces, NDArray[np.int64]]]:
    """Cut notes and give the tag of each piece."""
    for note in notes:
        pieces = cut(note.text)
        yield pieces, tags(note, pieces)
