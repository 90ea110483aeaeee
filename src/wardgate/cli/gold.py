"""Reads gold and predictions for `wardgate deid eval`; tells each fault with its file and line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from wardgate.cli.journal import Refused
from wardgate.deid.score import Marked
from wardgate.types import EntityType

_LABELS = frozenset(label.value for label in EntityType)
_FAULTS_SHOWN = 10
_LONGEST_LABEL = 40


@dataclass(frozen=True, slots=True)
class Document:
    """A line of a file: its text, None where it has none, and its spans."""

    line: int
    id: str | None
    text: str | None
    spans: tuple[Marked, ...]


class _Fault(Exception):
    """What is wrong with a line, in our own words."""


def gold(path: Path) -> list[Document]:
    """Read a gold file. Raises Refused with its faults, ClickException where it cannot be read."""
    faults: list[str] = []
    found: list[Document] = []
    for line, raw in _lines(path):
        try:
            record = _record(raw)
            spans = tuple(_spans(record))
            text = _text(record)
            _check_gold(text, spans)
            found.append(Document(line, _id(record), text, spans))
        except _Fault as fault:
            faults.append(f"{path}:{line}: {fault}")
    if not faults and not found:
        faults.append(f"{path}: no documents")
    _refuse(faults)
    return found


def predictions(path: Path, documents: list[Document]) -> list[tuple[Marked, ...]]:
    """Read the spans predicted for documents, by id where both have them, else by order.

    Raises Refused with the faults, ClickException where the file cannot be read.
    """
    faults: list[str] = []
    found: list[Document] = []
    for line, raw in _lines(path):
        try:
            record = _record(raw)
            found.append(Document(line, _id(record), None, tuple(_spans(record))))
        except _Fault as fault:
            faults.append(f"{path}:{line}: {fault}")
    _refuse(faults)
    if found and found[0].id is not None and documents[0].id is not None:
        of = {each.id: each for each in found}
        if len(of) < len(found):
            faults.append(f"{path}: two lines have the same id")
        faults += [
            f"{path}: no line for the document of line {document.line} of gold"
            for document in documents
            if document.id not in of
        ]
        _refuse(faults)
        ordered = [of[document.id] for document in documents]
    elif len(found) != len(documents):
        raise Refused(f"{path}: {len(found):,} lines for {len(documents):,} documents of gold")
    else:
        ordered = found
    for each, document in zip(ordered, documents, strict=True):
        try:
            _check_offsets(document.text or "", each.spans)
        except _Fault as fault:
            faults.append(f"{path}:{each.line}: {fault}")
    _refuse(faults)
    return [each.spans for each in ordered]


def _refuse(faults: list[str]) -> None:
    if not faults:
        return
    more = len(faults) - _FAULTS_SHOWN
    shown = faults[:_FAULTS_SHOWN] + ([f"... and {more:,} more"] if more > 0 else [])
    raise Refused("\n  ".join(["The input cannot be scored:", *shown]))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if raw.strip():
                    yield number, raw
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}.") from None


def _record(raw: bytes) -> dict[str, Any]:
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        raise _Fault("not JSON") from None
    if not isinstance(record, dict) or not isinstance(record.get("spans"), list):
        raise _Fault('no JSON object with a list "spans"')
    return record


def _text(record: dict[str, Any]) -> str:
    text = record.get("text")
    if not isinstance(text, str):
        raise _Fault('no string "text"')
    return text


def _id(record: dict[str, Any]) -> str | None:
    return None if record.get("id") is None else json.dumps(record["id"])


def _spans(record: dict[str, Any]) -> Iterator[Marked]:
    for number, span in enumerate(record["spans"], 1):
        try:
            start, end, label = span["start"], span["end"], span["label"]
        except (KeyError, TypeError):
            raise _Fault(f'span {number}: no "start", "end" and "label"') from None
        if type(start) is not int or type(end) is not int or not isinstance(label, str):
            raise _Fault(f"span {number}: start and end are integers, label is a string")
        score = span.get("score")
        if score is not None and (type(score) not in {int, float} or not 0 <= score <= 1):
            raise _Fault(f"span {number}: the score is not in [0, 1]")
        yield Marked(start, end, label, bool(span.get("ignore")), score)


def _check_offsets(text: str, spans: tuple[Marked, ...]) -> None:
    for number, span in enumerate(spans, 1):
        if not 0 <= span.start < span.end <= len(text):
            raise _Fault(
                f"span {number}: [{span.start}, {span.end}) is no part of the text, which has "
                f"{len(text)} code points"
            )


def _check_gold(text: str, spans: tuple[Marked, ...]) -> None:
    """Check offsets, and of what is not ignored labels and overlaps."""
    _check_offsets(text, spans)
    counted = [(number, span) for number, span in enumerate(spans, 1) if not span.ignore]
    for number, span in counted:
        if span.label not in _LABELS:
            raise _Fault(
                f"span {number}: unknown label {span.label[:_LONGEST_LABEL]!r}; know "
                f"{', '.join(sorted(_LABELS))}"
            )
    counted.sort(key=lambda pair: pair[1].start)
    for (one, left), (other, right) in pairwise(counted):
        if right.start < left.end:
            raise _Fault(
                f"spans {one} and {other} overlap: [{left.start}, {left.end}) and "
                f"[{right.start}, {right.end})"
            )
