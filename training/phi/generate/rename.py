"""Other names, places and dates where the gold is known: a small set wears out more slowly."""

from __future__ import annotations

import re

from training.phi.generate import dates, people
from training.phi.generate.document import Document, Edit
from training.phi.generate.noise import edited
from training.phi.generate.rng import Rng
from training.phi.generate.scene import World

_INITIAL = re.compile(r"[A-Z]\.?")
_TITLES = frozenset(
    (
        "Mr",
        "Mrs",
        "Ms",
        "Dr",
        "Miss",
        "Mr.",
        "Mrs.",
        "Ms.",
        "Dr.",
        "Sir",
        "Prof",
        "Prof.",
        "Lord",
        "Judge",
    )
)
_NUMBER = re.compile(r"\d{4,}/\d\d")
_LONG_DATE = re.compile(rf"\d{{1,2}} (?:{'|'.join(dates.MONTHS)}) \d{{4}}")
_US_DATE = re.compile(r"\d\d/\d\d/\d{4}")
_WORD_PLACE = re.compile(r"[A-Z][^\W\d_]{3,}")


def renamed(document: Document, world: World, rng: Rng) -> Document:
    """Return the document with surrogates; the same word gets the same one throughout."""
    known: dict[str, str] = {}
    edits: list[Edit] = []
    for span in document.spans:
        text = document.text[span.start : span.end]
        if span.ignore or not text:
            continue
        if span.label == "NAME":
            new = _name(text, known, world, rng, foreign=document.kind == "court")
        elif span.label == "DATE":
            new = _date(text, rng)
        elif span.label == "OTHER_ID" and _NUMBER.fullmatch(text):
            new = known.setdefault(text, rng.shape("#" * (len(text) - 3) + "/##"))
        elif span.label == "LOCATION" and _WORD_PLACE.fullmatch(text):
            new = known.setdefault(text, _city(world, rng))
        else:
            continue
        if new != text:
            edits.append((span.start, span.end, new))
    return edited(document, edits)


def _name(
    text: str, known: dict[str, str], world: World, rng: Rng, *, foreign: bool = False
) -> str:
    words = text.split(" ")
    if len(words) > 4 or not all(
        re.fullmatch(r"[^\W\d_]+(?:[-'\u2019.][^\W\d_]*)?", word) for word in words
    ):
        return text
    out = []
    for number, word in enumerate(words):
        if word in _TITLES:
            out.append(word)
            continue
        if word not in known:
            known[word] = _word(
                word,
                world,
                rng,
                last=number == len(words) - 1 and (len(words) > 1 or rng.chance(0.4)),
                foreign=foreign and rng.chance(0.6),
            )
        out.append(known[word])
    return " ".join(out)


def _word(word: str, world: World, rng: Rng, *, last: bool, foreign: bool) -> str:
    if _INITIAL.fullmatch(word):
        return rng.pick("ABCDEFGHIJKLMNOPRSTVWYZ") + word[1:]
    sex = rng.pick("mf")
    names = world.names
    if foreign:
        given = names.foreign_male if sex == "m" else names.foreign_female
        new = rng.pick(names.foreign_last if last else given)
    else:
        new = people.surname(rng, names, 0.2) if last else people.first_name(rng, names, sex, 0.15)
    return (
        new.lower() if word.islower() else new.upper() if word.isupper() and len(word) > 2 else new
    )


def _date(text: str, rng: Rng) -> str:
    if _LONG_DATE.fullmatch(text):
        return dates.write(dates.some_day(rng, 1950), "{d} {Month} {Y}")
    if _US_DATE.fullmatch(text):
        return dates.write(dates.some_day(rng), rng.pick(dates.FULL))
    return text


def _city(world: World, rng: Rng) -> str:
    if rng.chance(0.4):
        return rng.pick(world.places.villages)
    return (
        rng.pick(world.places.foreign_cities)
        if rng.chance(0.5)
        else rng.pick(world.places.cities)[0]
    )
