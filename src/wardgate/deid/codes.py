"""Vault codes as text: how one is written, what only looks like one, and where codes go in a note.

A code is `[NAME:` and 128 random bits in base32 (RFC 4648 §6, small letters) and `]`. It is derived
from nothing (45 CFR 164.514(c)). Detection never sees one of ours: a policy that asks for codes
writes plain tags, and the gateway fills them in last, in one call for the whole request. So what
looks like a code anywhere before is a caller's own, perhaps somebody else's code, and goes.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed

from wardgate.deid.fold import fold
from wardgate.deid.policy import TAGS
from wardgate.deid.spans import Candidate, replace, to_input
from wardgate.types import CleanText, Deidentified, EntityType, Span

CODE_BYTES = 16
"""Random bytes of a code: 128 bits cannot be tried out."""
_LETTERS = 26
MOST_VALUE = 1_024
"""Code points of a value that is kept; a longer one keeps its tag."""

_TYPES = "|".join(EntityType)
_CODE = re.compile(rf"\[({_TYPES}):([a-z2-7]{{{_LETTERS}}})\]")
"""A code, exactly as one is written."""
_ALIKE = re.compile(
    rf"\[\s*+(?:{_TYPES})\s*+:\s*+[0-9a-z]{{20,64}}+\s*+\]", re.ASCII | re.IGNORECASE
)
"""What a reader, or a program that tidies up text, could take for one."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value that gets a code."""

    label: EntityType
    text: str = field(repr=False)

    @property
    def normal(self) -> str:
        """The form under which it is found again: case and white space make no other value."""
        return " ".join(unicodedata.normalize("NFKC", self.text).casefold().split())


@dataclass(frozen=True, slots=True)
class Place:
    """A tag in a clean text that a code takes the place of."""

    row: int
    """Which replacement of the alignment."""
    value: Value


def written(label: EntityType, code: bytes) -> str:
    """Return a code as it stands in a text."""
    letters = base64.b32encode(code).decode("ascii").rstrip("=").lower()
    return f"[{label}:{letters}]"


def read(text: str) -> tuple[EntityType, bytes] | None:
    """Return type and bytes of a code, or None where `text` is not exactly one."""
    found = _CODE.fullmatch(text)
    if found is None:
        return None
    label = EntityType(found[1])
    code = base64.b32decode(found[2].upper() + "=" * (-_LETTERS % 8))
    # the last letter has two bits to spare; one code has one spelling
    return (label, code) if written(label, code) == text else None


def standing(text: str) -> list[str]:
    """Return the codes in a text, each once, in the order in which they first stand there."""
    return list(dict.fromkeys(found[0] for found in _CODE.finditer(text)))


def restored(text: str, values: Mapping[str, str]) -> str:
    """Return the text with each code replaced by its value; values are not looked at again."""
    return _CODE.sub(lambda found: values[found[0]], text)


def alike(folded: str) -> list[Candidate]:
    """Return what looks like a code in a folded text of a caller."""
    return [
        (found.start(), found.end(), EntityType.OTHER_ID, 1.0, None)
        for found in _ALIKE.finditer(folded)
    ]


def without(raw: str, result: Deidentified) -> Deidentified:
    """Return the result with a tag for whatever looks like a code in its text.

    There is such text where the policy keeps its type, or where a replacement completed one.
    """
    hits = [found.span() for found in _ALIKE.finditer(result.text)]
    if not hits:
        return result
    ranges = _ranges([to_input(start, end, result.alignment) for start, end in hits], result.spans)
    edits = [
        (row.start, row.end, result.text[row.out_start : row.out_end])
        for row in result.alignment
        if not _touches(row.start, row.end, ranges)
    ]
    edits += [(start, end, TAGS[EntityType.OTHER_ID]) for start, end in ranges]
    spans = [span for span in result.spans if not _touches(span.start, span.end, ranges)]
    spans += [Span(start, end, EntityType.OTHER_ID, 1.0) for start, end in ranges]
    clean, alignment = replace(raw, sorted(edits))
    return changed(result, text=CleanText(clean), spans=tuple(sorted(spans)), alignment=alignment)


def places(raw: str, result: Deidentified, labels: frozenset[EntityType]) -> list[Place]:
    """Return the tags of these types that stand for a value, in their order.

    A value that is too long, or that holds what looks like a code, keeps its tag: released, the
    latter would be a code again, and perhaps somebody else's.
    """
    known = {(span.start, span.end): span.label for span in result.spans}
    found: list[Place] = []
    for number, row in enumerate(result.alignment):
        label = known.get((row.start, row.end))
        if label not in labels or result.text[row.out_start : row.out_end] != TAGS[label]:
            continue
        text = raw[row.start : row.end]
        if len(text) <= MOST_VALUE and _ALIKE.search(fold(text)[0]) is None:
            found.append(Place(number, Value(label, text)))
    return found


def filled(raw: str, result: Deidentified, codes: Mapping[int, str]) -> Deidentified:
    """Return the result with codes in place of the replacements of these numbers."""
    edits = [
        (row.start, row.end, codes.get(number) or result.text[row.out_start : row.out_end])
        for number, row in enumerate(result.alignment)
    ]
    clean, alignment = replace(raw, edits)
    return changed(result, text=CleanText(clean), alignment=alignment)


def _ranges(hits: list[tuple[int, int]], spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Widen the hits to the spans they touch; return them sorted and disjoint."""
    wide: list[tuple[int, int]] = []
    for start, end in hits:
        touched = [s for s in spans if s.start < end and start < s.end]
        low = min([start, *(s.start for s in touched)])
        high = max([end, *(s.end for s in touched)])
        if wide and low < wide[-1][1]:
            wide[-1] = (wide[-1][0], max(high, wide[-1][1]))
        else:
            wide.append((low, high))
    return wide


def _touches(start: int, end: int, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(start < high and low < end for low, high in ranges)
