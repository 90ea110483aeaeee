"""A document with its gold spans; it grows from pieces, and a finished one can be edited."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

LABELS = (
    "NAME",
    "DATE",
    "AGE",
    "LOCATION",
    "PHONE",
    "EMAIL",
    "SSN",
    "MRN",
    "HEALTH_PLAN",
    "ACCOUNT",
    "LICENSE",
    "VEHICLE",
    "DEVICE",
    "URL",
    "IP",
    "BIOMETRIC",
    "OTHER_ID",
)
"""What a span may be; the gold files write FAX as PHONE and PHOTO as OTHER_ID."""

IGNORE = "~"
"""Label of a piece that counts neither as PHI nor as its absence."""

SOFT = "-"
"""Label of a piece that counts for nothing when judged (a title, a weekday by a date, an insurer):
held-out text ignores it, training teaches to leave it."""

Piece = tuple[str, str | None]
"""Text and its label: an entity type, `IGNORE`, `SOFT`, or None for text that is not PHI."""

Value = str | tuple[Piece, ...]
"""What a slot yields: plain text that is not PHI, or labelled pieces."""


@dataclass(frozen=True, slots=True)
class Span:
    """Code points `start` to `end` (exclusive) of a text; `ignore`: counts for nothing."""

    start: int
    end: int
    label: str
    ignore: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the span in the gold format of `score_phi.py`."""
        row: dict[str, Any] = {"start": self.start, "end": self.end, "label": self.label}
        return row | {"ignore": True} if self.ignore else row


@dataclass(frozen=True, slots=True)
class Document:
    """A text and its spans, ordered, not overlapping. `kind` names what made it."""

    id: str
    text: str
    spans: tuple[Span, ...]
    kind: str

    def as_json(self) -> dict[str, Any]:
        """Return the line of the gold format, with `kind` added."""
        spans = [span.as_json() for span in self.spans]
        return {"id": self.id, "text": self.text, "spans": spans, "kind": self.kind}


class Draft:
    """Text under construction: pieces are appended, spans follow."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.spans: list[Span] = []
        self.length = 0

    def text(self, text: str) -> None:
        """Append text that is not PHI."""
        self.parts.append(text)
        self.length += len(text)

    def value(self, value: Value) -> None:
        """Append what a slot yielded."""
        if isinstance(value, str):
            self.text(value)
            return
        for text, label in value:
            if label and text:
                end = self.length + len(text)
                kind = {IGNORE: "OTHER", SOFT: "SOFT"}.get(label)
                self.spans.append(Span(self.length, end, kind or label, kind is not None))
            self.text(text)

    def document(self, identifier: str, kind: str) -> Document:
        """Return the finished document."""
        return Document(identifier, "".join(self.parts), tuple(self.spans), kind)


Edit = tuple[int, int, str]
"""Code points `start` to `end` give way to a text; edits are ordered and do not overlap."""


def rewrite(text: str, spans: tuple[Span, ...], edits: list[Edit]) -> tuple[str, tuple[Span, ...]]:
    """Apply the edits; spans keep covering what they covered.

    An edit lies within one span or outside all of them, or begins or ends with one.
    """
    if not edits:
        return text, spans
    parts: list[str] = []
    at = 0
    for start, end, new in edits:
        parts.append(text[at:start])
        parts.append(new)
        at = end
    parts.append(text[at:])
    ends = [end for _, end, _ in edits]
    shift = [0, *accumulate(len(new) - (end - start) for start, end, new in edits)]

    def moved(position: int) -> int:
        return position + shift[bisect_right(ends, position)]

    return "".join(parts), tuple(
        Span(moved(span.start), moved(span.end), span.label, span.ignore) for span in spans
    )
