"""Public gold in Wardgate's label set.

What a set does not label but Wardgate would call PHI becomes `ignore`; a set's own state, country
and organisation labels become `ignore` too. A document's part is a hash of its id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.phi.generate.dates import MONTHS
from training.phi.generate.document import LABELS, Document, Span
from training.phi.generate.gazetteer import HELD_OUT, HELD_SHARE, belongs
from training.phi.generate.words import DATA, load_words

_MONTHS = "|".join(MONTHS)
# What may be PHI where a set labels names and places alone: digits, handles, links, months.
_UNLABELLED = re.compile(
    r"\S*\d\S*|\S*@\S+|\S*#\w+|https?:\S+|www\.\S+"
    rf"|\b(?:{_MONTHS}"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?",
    re.IGNORECASE,
)
# A day or a month; bare years, durations and centuries are not PHI for us.
_DATED = re.compile(
    r"\d\D+\d|\d{5,}|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|ene|abr|ago|dic"
)
# A judgment's gold leaves out dates of its own procedure; they are dates all the same.
_COURT_DATE = re.compile(rf"\d{{1,2}} (?:{_MONTHS})(?: \d{{4}})?|\b(?:19|20)\d\d\b")
_WIDE = frozenset(load_words(DATA / "words.txt")["wide"])
"""Last words of states, countries and continents, which are not PHI."""

NAMES_AND_PLACES = ("wikigold", "wnut17", "btc")
SETS = {
    "aci": "aci_natural_en/gold_dev.jsonl",
    "court": "tab144/gold_*.jsonl",
    "piianon": "piianon_clinical_en/gold_train.jsonl",
    "wikigold": "wikigold/gold.jsonl",
    "wnut17": "wnut17/gold_*.jsonl",
    "btc": "btc/gold.jsonl",
    "meddocan": "meddocan_es/gold_train.jsonl",
    "presidio": "presidio_*/gold.jsonl",
}
SHARES = {"court": 5, "aci": 5}
"""Small sets hold out a larger part."""

TRAIN_ONLY = ("presidio",)


def read_lines(data: Path, pattern: str) -> Iterator[dict[str, Any]]:
    """Return the rows of the files that match, in the order of their names."""
    for path in sorted(data.glob(pattern)):
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)


def load_public(data: Path, name: str, part: str) -> list[Document]:
    """Return the documents of one set that belong to `part`."""
    found = []
    for row in read_lines(data, SETS[name]):
        if part == HELD_OUT and name in TRAIN_ONLY:
            continue
        if name in TRAIN_ONLY or belongs(row["id"], part, SHARES.get(name, HELD_SHARE)):
            found.append(convert(name, row, as_judged=name == "court" and part == HELD_OUT))
    return found


def convert(name: str, row: dict[str, Any], *, as_judged: bool = False) -> Document:
    """Return one row in our labels; `as_judged` keeps the set's own ignored spans alone."""
    text = row["text"]
    if as_judged:
        judged = [
            Span(s["start"], s["end"], s["label"], s.get("ignore", False)) for s in row["spans"]
        ]
        return Document(row["id"], text, tidy(judged), name)
    words = [raw for raw in row["spans"] if any(map(str.isalnum, text[raw["start"] : raw["end"]]))]
    spans = [_span(name, text, raw) for raw in words]
    doubtful = _UNLABELLED.finditer(text) if name in NAMES_AND_PLACES else _holes(name, text)
    spans += [Span(m.start(), m.end(), "OTHER", ignore=True) for m in doubtful]
    return Document(row["id"], text, tidy(spans), name)


def _span(name: str, text: str, raw: dict[str, Any]) -> Span:
    start, end, label = raw["start"], raw["end"], raw["label"]
    ignore = raw.get("ignore", False)
    words = text[start:end].strip("# ").lower()
    if label not in LABELS:
        label, ignore = "OTHER", True
    elif label == "LOCATION":
        ignore = ignore or _is_wide(words) or (name == "presidio" and words.isalpha())
    elif label == "DATE":
        ignore = ignore or not _DATED.search(words)
    return Span(start, end, label, ignore)


def _is_wide(words: str) -> bool:
    """Return whether a place is a state or larger."""
    parts = words.split()
    return bool(parts) and len(parts) < 3 and parts[-1] in _WIDE


def _holes(name: str, text: str) -> Iterator[re.Match[str]]:
    """Return what the gold of a fully labelled set is known to leave out."""
    if name == "piianon":
        return re.finditer(
            r"\b(?:Dr|Mr|Mrs|Ms|Nurse)\.? [A-Z]\w+(?: [A-Z]\w+)?|\b[A-Z]\w+ [A-Z]\w+\b"
            r"|\S*\d\S*|[A-Z]\w+(?=[ ,.:;'\u2019]|$)",
            text,
        )
    if name == "presidio":
        return re.finditer(r"\S*\d\S*|\b[A-Z]\w+\b", text)
    if name == "meddocan":
        return re.finditer(r"\b(?:Dr|Dra|D|Dña)\.? [A-ZÁÉÍÓÚ]\w+|\b(?:19|20)\d\d\b|\d{3,}\S*", text)
    if name == "court":
        return _COURT_DATE.finditer(text)
    return iter(())


def tidy(spans: list[Span]) -> tuple[Span, ...]:
    """Return ordered spans without overlap: labelled before doubtful, longer before shorter."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.ignore, s.start - s.end)):
        start, end = span.start, span.end
        for other in kept:
            if start < other.end and other.start < end:
                if other.start <= start:
                    start = max(start, other.end)
                else:
                    end = min(end, other.start)
        if start < end:
            kept.append(Span(start, end, span.label, span.ignore))
    return tuple(sorted(kept, key=lambda s: s.start))
