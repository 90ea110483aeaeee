"""Build the pools of surrogate names from the public lists in a shared data folder.

Run once, when a source changes: `python benchmarks/deid/build_name_pools.py SHARED_DATA_PHI`.
A name is in one pool of first names or two (both sexes) and in one pool of surnames, that of its
likeliest origin. Words, eponyms and months are in none: a surrogate must not read as a word.
Sources and licences are named in `src/wardgate/deid/data/README.md`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from build_gazetteers import plain

OUT = Path(__file__).parents[2] / "src" / "wardgate" / "deid" / "data"
SHAPE = re.compile(r"[a-z]{3,12}")
FIRST, LAST, OTHER = 1_200, 2_500, 600
"""First names of a sex, English surnames, and surnames of another origin at most."""
SMALLEST = 100
MORE = 5
"""A name that the other sex bears so many times as often is that one's."""
RARE = 0.001
"""Percent; the census lists no rarer name."""
WORLD = {
    "east_asian": ("cn", "kr"),
    "indian": ("hi", "ne"),
    "italian": ("it",),
    "polish": ("pl",),
    "czech": ("cz",),
    "greek": ("gk",),
    "russian": ("ru",),
    "portuguese": ("pt",),
    "french": ("fr",),
    "german": ("de",),
    "israeli": ("il",),
    "irish": ("ie",),
}
BEFORE_ENGLISH = ("east_asian", "indian")
"""Origins whose names are told apart even where they are common in the census."""


def main() -> None:  # noqa: C901 -- one list after another
    root = Path(sys.argv[1])
    words = set()
    for name in ("common_words.txt", "eponyms.txt"):
        words |= set((OUT / name).read_text("ascii").split())

    def kept(names: list[str]) -> list[str]:
        clean = [plain(name.strip()) for name in names]
        return list(dict.fromkeys(n for n in clean if SHAPE.fullmatch(n) and n not in words))

    def census(name: str) -> list[str]:
        return [
            line.split()[0].lower()
            for line in (root / "gaz_census1990" / name).read_text().splitlines()
        ]

    synthea = (root / "gaz_synthea/names.yml").read_text(encoding="utf-8")
    lists = re.findall(r"^  (M|F|family): \[(.*?)\]", synthea, re.MULTILINE | re.DOTALL)
    spanish = {kind: kept(names.split(",")) for kind, names in lists[3:6]}
    rows: list[tuple[str, str, str]] = []
    often = {
        sex: {
            line.split()[0].lower(): float(line.split()[1])
            for line in (root / "gaz_census1990" / name).read_text().splitlines()
        }
        for sex, name in (("M", "dist.male.first"), ("F", "dist.female.first"))
    }
    for sex, other in (("M", "F"), ("F", "M")):

        def borne(name: str, sex: str = sex, other: str = other) -> bool:
            """Whether a name is this sex's, and not the other's far more often."""
            return often[other].get(name, 0.0) < MORE * often[sex].get(name, RARE)

        own = [each for each in spanish[sex] if each not in spanish[other] and borne(each)]
        rows += [("spanish", sex, each) for each in own]
        names = [n for n in kept(list(often[sex])) if borne(n) and n not in own]
        rows += [("english", sex, n) for n in names[:FIRST] if n not in spanish[other]]

    taken: set[str] = set()

    def surnames(origin: str, names: list[str], most: int) -> None:
        chosen = [n for n in names if n not in taken]
        # of a longer list every n-th, so that all its letters are there
        step = max(1, -(-len(chosen) // most))
        chosen = chosen[::step]
        if len(chosen) >= SMALLEST:
            taken.update(chosen)
            rows.extend((origin, "family", n) for n in chosen)

    def world(origin: str) -> list[str]:
        return kept(
            [
                n
                for code in WORLD[origin]
                for n in (root / f"gaz_names_world/surnames_{code}.txt")
                .read_text(encoding="utf-8", errors="ignore")
                .split()
            ]
        )

    english = kept(census("dist.all.last"))[:LAST]
    surnames("spanish", spanish["family"], OTHER * 2)
    for origin in BEFORE_ENGLISH:
        surnames(origin, world(origin), OTHER)
    surnames("english", english, LAST)
    for origin in WORLD:
        if origin not in BEFORE_ENGLISH:
            surnames(origin, world(origin), OTHER)
    rows.sort()
    text = "origin,kind,name\n" + "".join(",".join(row) + "\n" for row in rows)
    (OUT / "surrogate_names.csv").write_text(text, encoding="ascii")
    counts: dict[tuple[str, str], int] = {}
    for origin, kind, _ in rows:
        counts[origin, kind] = counts.get((origin, kind), 0) + 1
    for key, count in sorted(counts.items()):
        print(*key, count)


if __name__ == "__main__":
    main()
