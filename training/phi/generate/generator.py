"""The stream of documents: which kind comes next, and what is done to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from training.phi.generate import noise, obfuscate
from training.phi.generate.carriers import Lexicon, load_carriers
from training.phi.generate.document import Document, Span
from training.phi.generate.gazetteer import (
    HELD_OUT,
    TRAIN,
    belongs,
    load_names,
    load_places,
    load_rare,
)
from training.phi.generate.public import load_public, tidy
from training.phi.generate.rename import renamed
from training.phi.generate.rng import Rng
from training.phi.generate.scene import Scene, World, write
from training.phi.generate.slots import slots
from training.phi.generate.template import Banks, load_banks
from training.phi.generate.words import load_words
from training.phi.generate.written import load_written, renumbered

HERE = Path(__file__).resolve().parents[1] / "data"
MIX = {
    "visit": 18,
    "docs": 12,
    "fields": 5,
    "table": 4,
    "hl7": 3,
    "question": 14,
    "question_clean": 6,
    "names": 8,
    "natural": 14,
    "dialogue": 5,
    "talk": 5,
    "clean": 8,
    "jargon": 12,
    "carrier": 10,
    "obfuscated": 7,
    "aci": 1.5,
    "court": 3,
    "courtdoc": 4,
    "email": 4,
    "letter": 3,
    "narr": 6,
    "wikigold": 2,
    "wnut17": 2,
    "btc": 2,
    "piianon": 2,
    "written": 50,
    "presidio": 1.5,
    "meddocan": 0.5,
}
"""Shares of the kinds in training text."""
SPLIT_WORDS = ("drug", "dx", "eponym", "device_brand", "gene", "plain", "verb", "role")
"""Word lists of which held-out text uses words that training never saw."""

HELD_KINDS = (
    "visit_notes",
    "questions",
    "natural_notes",
    "obfuscated",
    "court",
    "no_phi",
    "dialogue",
    "names_hard",
)
PUBLIC = frozenset(("aci", "court", "wikigold", "wnut17", "btc", "piianon", "presidio", "meddocan"))


_BREAK = re.compile(
    r"\n|(?<!Dr)(?<!Mr)(?<!Ms)(?<!rs)(?<!St)(?<!vs)(?<!dr)(?<!mr)(?<!ms)(?<=[a-z])[.?!] "
)


class Generator:
    """Documents from `data`, the folder of gazetteers, carriers and public gold."""

    def __init__(self, data: Path, part: str = TRAIN) -> None:
        words = load_words(HERE / "words.txt")
        for section in SPLIT_WORDS:
            words[section] = [word for word in words[section] if belongs(word, part)]
        self._data = data
        self._part = part
        self._words = words
        self._world = World(
            load_names(data, words, part),
            load_places(data, words, part),
            words,
            self._prose(),
            load_rare(data, part),
        )
        self._banks = Banks(load_banks(HERE, part), slots(part))

    def documents(self, seed: int, prefix: str = "") -> Iterator[Document]:
        """Return documents without end in the shares of `MIX`, the same for the same seed."""
        kinds = [kind for kind, share in MIX.items() for _ in range(int(share * 2))]
        number = 0
        while True:
            rng = Rng(f"{seed}-{self._part}-{number}")
            document = self.make(rng.pick(kinds), rng, f"{prefix}{self._part}-{seed}-{number}")
            taught = tuple(span for span in document.spans if span.label != "SOFT")
            yield Document(document.id, document.text, taught, document.kind)
            number += 1

    def held_out(self, kind: str, seed: int, count: int) -> list[Document]:
        """Return one of the sets of `HELD_KINDS`; made of the held-out part alone."""
        if kind == "court":
            return self._public["court"]
        plain = {
            "visit_notes": (
                "visit",
                "visit",
                "docs",
                "visit",
                "docs",
                "docs",
                "fields",
                "table",
                "hl7",
            ),
            "questions": ("question",),
            "natural_notes": ("natural", "aci"),
            "obfuscated": ("obfuscated",),
            "no_phi": ("clean", "carrier"),
            "dialogue": ("dialogue", "talk"),
            "names_hard": ("names",),
        }[kind]
        found: list[Document] = []
        number = 0
        while len(found) < count:
            rng = Rng(f"{seed}-{kind}-{number}")
            document = self.make(plain[number % len(plain)], rng, f"{kind}-{number}")
            number += 1
            if kind != "no_phi" or all(span.ignore for span in document.spans):
                found.append(document)
        return found

    def make(self, kind: str, rng: Rng, identifier: str) -> Document:
        """Return one document of a kind."""
        if kind == "written":
            written = renumbered(rng.pick(self._written), rng)
            return noise.roughened(self._renamed(written, identifier, rng), rng)
        if kind in PUBLIC:
            return self._renamed(rng.pick(self._public[kind]), identifier, rng)
        if kind in {"natural", "carrier", "talk"}:
            return self._carried(kind, rng, identifier)
        bank = {
            "fields": "header",
            "table": "tables",
            "names": "names",
            "obfuscated": "obfuscated",
        }.get(kind, kind)
        hard = {"names": 0.8}.get(kind, 0.2)
        scene = Scene(rng, self._world, hard)
        document = write(self._banks, bank, scene).document(identifier, kind)
        if kind == "obfuscated":
            return obfuscate.obfuscated(document, rng, rng.pick((0.5, 0.8, 1.0)))
        if kind == "dialogue" and rng.chance(0.3):
            return noise.transcribed(document, rng)
        if self._part != HELD_OUT and rng.chance(0.03):
            document = obfuscate.obfuscated(document, rng, rng.pick((0.15, 0.3, 0.6)))
        return noise.roughened(document, rng)

    @cached_property
    def _written(self) -> list[Document]:
        return load_written(HERE / "written", self._part)

    @cached_property
    def _public(self) -> dict[str, list[Document]]:
        return {name: load_public(self._data, name, self._part) for name in PUBLIC}

    def _prose(self) -> list[str]:
        """Return sentences of the carriers that hold nothing doubtful."""
        found = []
        for document in (*self._carriers["prose"], *self._public["aci"]):
            marks = [(span.start, span.end) for span in document.spans]
            ends = [*breaks(document.text), len(document.text)]
            for start, end in zip([0, *ends], ends, strict=False):
                sentence = document.text[start:end].strip()
                if 15 < len(sentence) < 260 and not any(a < end and b > start for a, b in marks):
                    found.append(sentence)
        return found

    @cached_property
    def _carriers(self) -> dict[str, list[Document]]:
        lexicon = load_lexicon(self._data, self._words)
        found = load_carriers(self._data, lexicon, self._part)
        return {kind: [d for d in found if d.kind == kind] for kind in ("dialogue", "prose")}

    def _carried(self, kind: str, rng: Rng, identifier: str) -> Document:
        """Return a stretch of a carrier; for `natural` and `talk` with a few identifiers put in."""
        carrier = rng.pick(
            self._carriers["dialogue" if kind == "talk" or rng.chance(0.35) else "prose"]
        )
        if kind != "carrier" and rng.chance(0.4) and self._public["aci"]:
            carrier = rng.pick(self._public["aci"]) if kind == "natural" else carrier
        part = window(carrier, rng, rng.pick((300, 600, 900, 1500)))
        if self._part != HELD_OUT and rng.chance(0.6):
            part = renamed(part, self._world, rng)
        if kind == "carrier":
            return noise.roughened(Document(identifier, part.text, part.spans, kind), rng)
        scene = Scene(rng, self._world, 0.25)
        scene.speakers = speakers(part.text)
        bank = "said" if carrier.kind == "dialogue" else "insert"
        places = [
            at for at in breaks(part.text) if not any(s.start < at < s.end for s in part.spans)
        ]
        chosen = sorted({rng.pick(places) for _ in range(rng.between(1, 3))}) if places else [0]
        text, spans, at = "", [], 0
        pieces = []
        for place in chosen:
            pieces += [("carrier", at, place), ("new", 0, 0)]
            at = place
        pieces.append(("carrier", at, len(part.text)))
        for source, start, end in pieces:
            if source == "new":
                new = write(self._banks, bank, scene).document("", "")
                if part.text.islower() and rng.chance(0.85):
                    new = noise.cased(new, upper=False)
                gap = "" if not text or text[-1].isspace() else " "
                base = len(text) + len(gap)
                spans += [Span(s.start + base, s.end + base, s.label, s.ignore) for s in new.spans]
                text += gap + new.text
                if not new.text.endswith("\n"):
                    text += "\n" if carrier.kind == "dialogue" else " "
            else:
                base = len(text) - start
                spans += [
                    Span(s.start + base, s.end + base, s.label, s.ignore)
                    for s in part.spans
                    if s.start >= start and s.end <= end
                ]
                text += part.text[start:end]
        return noise.roughened(Document(identifier, text, tidy(spans), kind), rng)

    def _renamed(self, document: Document, identifier: str, rng: Rng) -> Document:
        """Return a public document, long ones cut; in training mostly with other names."""
        if len(document.text) > 1800:
            document = window(document, rng, rng.pick((600, 1000, 1500)))
        document = Document(identifier, document.text, document.spans, document.kind)
        if self._part == HELD_OUT or document.kind == "presidio" or rng.chance(0.4):
            return document
        return renamed(document, self._world, rng)


def breaks(text: str) -> list[int]:
    """Return where a sentence or line may be put in."""
    return [match.end() for match in _BREAK.finditer(text) if match.end() < len(text)]


def window(document: Document, rng: Rng, length: int) -> Document:
    """Return a stretch of about `length` characters from one break to another."""
    text = document.text
    if len(text) <= length * 1.2:
        return document
    starts = [0, *(at for at in breaks(text) if at < len(text) - length // 2)]
    start = rng.pick(starts)
    ends = [at for at in breaks(text) if at >= start + length]
    end = ends[0] if ends else len(text)
    spans = tuple(
        Span(max(s.start, start) - start, min(s.end, end) - start, s.label, s.ignore)
        for s in document.spans
        if s.start < end and s.end > start
    )
    return Document(document.id, text[start:end], spans, document.kind)


def speakers(text: str) -> tuple[str, str]:
    """Return how the dialogue names its speakers."""
    return ("[doctor] ", "[patient] ") if "[doctor]" in text else ("Doctor: ", "Patient: ")


def load_lexicon(data: Path, words: dict[str, list[str]]) -> Lexicon:
    """Return what tells a name in a carrier from a word."""
    census = data / "gaz_census1990"

    def names(*files: str) -> frozenset[str]:
        lines = (line for name in files for line in (census / name).read_text().splitlines())
        return frozenset(line.split()[0].lower() for line in lines)

    white = json.loads(
        (data / "gaz_philter" / "whitelist_plus_fps_091718_nonames.json").read_text(
            encoding="utf-8"
        )
    )
    return Lexicon(
        names("dist.female.first", "dist.male.first"),
        names("dist.all.last"),
        frozenset(white),
        frozenset(words["carrier_safe"]),
    )
