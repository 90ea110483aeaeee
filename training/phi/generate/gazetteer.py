"""Names and places to draw from, each in one part.

A name that held-out text uses, training never sees.

The part of a name is a hash of its lower-case form, so it is the same in every list that holds it.
"""

from __future__ import annotations

import csv
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TRAIN, DEV, HELD_OUT, FULL = "train", "dev", "held_out", "full"
"""Parts; `FULL` is all of them, for the last training before a release."""

HELD_SHARE = 8
"""One name, place or document in so many is held out, and one is for dev."""

COMMON = 12_000
"""So many surnames, by rank, are drawn by their weight; the rest are rare ones."""

ORIGINS = (
    "es",
    "de",
    "fr",
    "it",
    "pl",
    "pt",
    "ru",
    "hi",
    "il",
    "cn",
    "kr",
    "gk",
    "ne",
    "cz",
    "ie",
    "uk",
)
_SPLIT_NAME = re.compile(r"[\s\-']+")


def part_of(key: str, share: int = HELD_SHARE) -> str:
    """Return the part that a name, a place or an id belongs to; one in `share` is held out."""
    return {0: HELD_OUT, 1: DEV}.get(zlib.crc32(key.lower().encode()) % share, TRAIN)


def belongs(key: str, part: str, share: int = HELD_SHARE) -> bool:
    """Return true where `key` is of `part`."""
    return part in (FULL, part_of(key, share))


@dataclass(frozen=True, slots=True)
class Names:
    """Lists of one part. A common name stands in a list as often as its weight asks for."""

    male: list[str]
    female: list[str]
    world_first: list[str]
    surnames: list[str]
    rare_surnames: list[str]
    by_origin: dict[str, list[str]]
    word_first: list[str]
    word_last: list[str]
    nicknames: list[str]
    foreign_male: list[str]
    foreign_female: list[str]
    foreign_last: list[str]


@dataclass(frozen=True, slots=True)
class Places:
    """Lists of one part: (city, state code, state, county), facility and street names."""

    cities: list[tuple[str, str, str, str]]
    facilities: list[str]
    streets: list[str]
    foreign_cities: list[str]
    known: list[str]
    villages: list[str]
    namesakes: list[str]
    landmarks: list[str]


def _lines(path: Path) -> list[str]:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _census(path: Path) -> list[tuple[str, float]]:
    rows = (line.split() for line in _lines(path))
    return [(row[0].title(), float(row[1])) for row in rows]


def _weighted(rows: Iterable[tuple[str, float]], scale: float) -> list[str]:
    """Return each name as often as the square root of its share, at least once."""
    return [name for name, share in rows for _ in range(max(1, int(scale * share**0.5)))]


def _mac(name: str) -> str:
    return re.sub(r"^(Mc|O')([a-z])", lambda m: m[1] + m[2].upper(), name)


def load_names(data: Path, words: dict[str, list[str]], part: str) -> Names:
    """Return the names of `data/gaz_*` and of our own word lists that belong to `part`."""

    def mine(names: Iterable[str]) -> list[str]:
        return [name for name in names if len(name) > 1 and belongs(name, part)]

    def mine_weighted(path: Path, scale: float) -> list[str]:
        return _weighted([(_mac(n), s) for n, s in _census(path) if belongs(n, part)], scale)

    census, world = data / "gaz_census1990", data / "gaz_names_world"
    last = _census(census / "dist.all.last")
    common = [(_mac(n), s) for n, s in last[:COMMON] if belongs(n, part)]
    origins = {}
    for origin in ORIGINS:
        names = [
            n
            for n in _lines(world / f"surnames_{origin}.txt")
            if n[:1].isupper() and n.replace("-", "").replace("'", "").replace(" ", "").isalpha()
        ]
        origins[origin] = mine(names)
    good = [n for n in _lines(world / "first_names_all.txt") if n.isalpha() and n[0].isupper()]
    return Names(
        male=mine_weighted(census / "dist.male.first", 12),
        female=mine_weighted(census / "dist.female.first", 12),
        world_first=mine(good),
        surnames=_weighted(common, 60),
        rare_surnames=[_mac(n) for n, _ in last[COMMON:] if belongs(n, part)],
        by_origin=origins,
        word_first=mine(words["word_first"]),
        word_last=mine(words["word_last"]),
        nicknames=mine(words["nicknames"]),
        foreign_male=mine(words["foreign_male"]),
        foreign_female=mine(words["foreign_female"]),
        foreign_last=mine(words["foreign_last"]),
    )


def load_places(data: Path, words: dict[str, list[str]], part: str) -> Places:
    """Return the places of `data/gaz_*` and of our own word lists that belong to `part`."""
    cities = []
    with (data / "gaz_us_cities" / "us_cities.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if belongs(row["CITY"], part):
                city = (row["CITY"], row["STATE_CODE"], row["STATE_NAME"], row["COUNTY"])
                cities += [city]
    facilities, streets = set(), set()
    for name in ("nursing", "primary_care_facilities_children", "primary_care_facilities_women"):
        with (data / "gaz_synthea" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                title = re.sub(
                    r",? (INC|LLC|L\.?L\.?C|P\.?C|P\.?A|LTD|LP|PLLC|CORP)\.?$", "", row["name"]
                )
                if belongs(title, part) and len(title) < 45 and "," not in title:
                    facilities.add(_title(title))
                street = _STREET.match(row["address"])
                if street and belongs(street[1], part):
                    streets.add(street[1].title())
    return Places(
        cities,
        sorted(facilities),
        sorted(streets),
        [c for c in words["foreign_cities"] if belongs(c, part)],
        [name for name in words["facility"] if belongs(name, part)],
        [name for name in words["villages"] if belongs(name, part)],
        [name for name in words["facility_people"] if belongs(name, part)],
        [name for name in words["known_place"] if belongs(name, part)],
    )


_STREET = re.compile(
    r"\d+ ([A-Z]{4,}(?: [A-Z]{4,})?) (?:ST|STREET|AVE|AVENUE|RD|ROAD|DR|LN|LANE|BLVD|WAY|CT)\b"
)


def _title(name: str) -> str:
    small = {"Of", "And", "At", "The", "For", "In"}
    words = [
        w if w not in small or i == 0 else w.lower() for i, w in enumerate(name.title().split())
    ]
    return " ".join(words).replace("'S", "'s").replace("\u2019S", "\u2019s")


_MEDICAL = re.compile(
    r"[a-z]{3,}(?:ol|ine|ide|mab|nib|pril|sartan|statin|cillin|mycin|azole|itis|ectomy|emia|osis|pathy"
    r"|plasty|oscopy|algia|uria|oma|graphy|penia|lytic|genic|gram|vir|zepam|setron|ium|ate|ase|ostomy|rrhea|tropic)"
)


def load_rare(data: Path, part: str) -> list[str]:
    """Return medical words that are nobody's name; a third are capitalised."""
    path = data / "gaz_philter" / "whitelist_plus_fps_091718_nonames.json"
    words = [
        w
        for w in json.loads(path.read_text(encoding="utf-8"))
        if 6 < len(w) < 18 and _MEDICAL.fullmatch(w)
    ]
    return [
        w.title() if number % 3 == 0 else w for number, w in enumerate(words) if belongs(w, part)
    ]
