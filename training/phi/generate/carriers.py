"""Real clinical prose and dialogue that carry inserted identifiers, or none at all.

The three sets have no gold. A first pass over every name, date and place in them gave the rules
here: what is surely PHI gets its label, what may be is `ignore`, the rest is text that must stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.phi.generate.document import Document, Span
from training.phi.generate.gazetteer import belongs
from training.phi.generate.public import read_lines, tidy

SETS = ("aci_bench_text/text_dev.jsonl", "mts_dialog_text/text.jsonl", "primock57_text/text.jsonl")
_MONTH = "january|february|april|june|july|august|september|october|november|december"
_YEAR = r"(?:19|20)\d\d"
_ORDINAL = r"\d{1,2}(?:st|nd|rd|th)?"
_NUMBER = (
    "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|(?:thir|four|fif|six|seven|eigh|nine)teen(?:th)?"
    "|twentieth|thirtieth|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|thousand|hundred|and|o|oh|of"
)
_DATES = re.compile(
    # A date said aloud: "the fifth of november two thousand eight".
    rf"(?:\b(?:{_NUMBER}) (?:{_NUMBER} )?of )?\b(?:{_MONTH}|march)"
    rf"(?:,? (?:{_NUMBER})\b)+(?<!\band)(?<!\bof)"
    rf"|\b(?:{_MONTH})(?:,? (?:of )?{_YEAR}| {_ORDINAL}\b(?!\s?(?:mg|%))(?:,? {_YEAR})?)?\b"
    rf"|(?<=\bin )(?:march|may)\b(?: of)?(?: {_YEAR})?"
    rf"|\b(?:march|may) (?:of )?(?:{_YEAR}\b|{_ORDINAL}\b(?! ?mg))"
    r"|\b\d{1,2}/\d{1,2}/(?:\d{4}|\d\d)\b|\b\d{1,2}-\d{1,2}-(?:19|20)?\d\d\b"
    r"|\b\d{1,2}/(?:19|20)\d\d\b",
    re.IGNORECASE,
)
_TITLED = re.compile(
    r"\b(?:(mr|mrs|ms|dr) ?\.?|(miss|mister|doctor|nurse)) ([A-Za-z][\w'-]*)(?: ([A-Za-z][\w-]*))?",
    re.IGNORECASE,
)
_GREETED = re.compile(
    r"\b(?:hi|hey|hello|okay|alright|thanks|bye|morning|name is|named|so|and|yeah)[ ,.]+([a-z]+)\b",
    re.IGNORECASE,
)
_FACILITY = re.compile(
    r"\b(?:[A-Z][\w.'\u2019]+ )+"
    r"(?:Hospital|Clinic|Medical Center|Manor|University|Center|School|Home|House|Residence)\b"
)
_DOUBTFUL = re.compile(
    r"\b[A-Z]\w+ State\b|\b(?:Mary|Al|Sherry|Arjun)\b|\brex cent\w+"
    r"|\b(?:May|March|Easter|Christmas|Thanksgiving)\b|\b[A-Z]\d{5,}\b|\b\d{5,}\b"
)
_CITIES = re.compile(
    r"\b(?:dallas|columbus|Las Cruces|Gig Harbor|Norwich|Tacoma|Bremerton|Munich|Sacaton|Seattle"
    r"|Mazatlan|Wichita|Fayetteville|Vail|Yosemite|Conway|Baylis|Babylon|Baltimore|Cheyenne|Newton|Easton"
    r"|Bartow|Santa Cruz|San Diego|Las Vegas|Angola|Breckenridge|Coolidge)\b"
)
_PATTERNS = ((_DATES, "DATE"), (_CITIES, "LOCATION"), (_FACILITY, "OTHER"), (_DOUBTFUL, "OTHER"))
_NO_NAMES = frozenset(("sample", "will", "may", "to", "so", "do", "in", "an", "see", "did", "asap"))
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Lower-case first names and surnames, safe words, and words that are safe in these texts."""

    first: frozenset[str]
    last: frozenset[str]
    common: frozenset[str]
    safe: frozenset[str]


def load_carriers(data: Path, lexicon: Lexicon, part: str) -> list[Document]:
    """Return carrier texts of `part`, kind `dialogue` or `prose`."""
    found = []
    for pattern in SETS:
        for row in read_lines(data, pattern):
            key = re.sub(r"-(note|dialogue|section_text)$", "", row["id"])
            if pattern.startswith("aci") and row["kind"] == "note":
                continue
            if belongs(key, part):
                text = row["text"].replace("\r\n", "\n")
                kind = "dialogue" if row["kind"] == "dialogue" else "prose"
                found.append(Document(row["id"], text, tidy(list(marks(text, lexicon))), kind))
    return found


def marks(text: str, lexicon: Lexicon) -> Iterator[Span]:
    """Return what is PHI in a carrier, and what may be."""
    for pattern, label in _PATTERNS:
        for match in pattern.finditer(text):
            yield Span(match.start(), match.end(), label, ignore=label == "OTHER")
    yield from _titled(text, lexicon)
    for match in _GREETED.finditer(text):
        word = match[1].lower()
        if (
            word in lexicon.first
            and word not in lexicon.safe
            and word not in ("will", "may", "my", "in", "see", "an", "so")
        ):
            yield Span(match.start(1), match.end(1), "NAME")
    for match in _WORD.finditer(text):
        word = match[0].lower()
        if word in lexicon.common or word in lexicon.safe:
            continue
        if word in lexicon.first and len(word) > 2 and text.islower():
            yield Span(match.start(), match.end(), "NAME")
        elif match[0][0].isupper() and (word in lexicon.first or word in lexicon.last):
            yield Span(match.start(), match.end(), "OTHER", ignore=True)


def _titled(text: str, lexicon: Lexicon) -> Iterator[Span]:
    for match in _TITLED.finditer(text):
        first, second = match[3], match[4]
        if len(first) == 1 or (first.isupper() and len(first) < 5):
            # De-identified by their authors: Dr. X, Ms. ABC.
            yield Span(match.start(3), match.end(3), "OTHER", ignore=True)
            continue
        known = first.lower() in lexicon.first or first.lower() in lexicon.last
        common = first.lower() in lexicon.common
        if first[0].isupper():
            name = first[1:].islower() and (known or not common)
        else:
            name = known and text.islower() and (bool(match[1]) or not common)
        if not name or first.lower() in _NO_NAMES:
            continue
        yield Span(match.start(3), match.end(3), "NAME")
        if (
            second
            and second.lower() not in lexicon.common
            and second[0].isupper() == first[0].isupper()
        ):
            yield Span(match.start(4), match.end(4), "NAME")
