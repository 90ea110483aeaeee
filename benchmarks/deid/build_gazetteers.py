"""Build the packaged word lists of `wardgate.deid` from the public lists in a shared data folder.

Run once, when a source changes: `python benchmarks/deid/build_gazetteers.py SHARED_DATA_PHI`.
Sources and licences are named in `src/wardgate/deid/data/README.md`.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path

OUT = Path(__file__).parents[2] / "src" / "wardgate" / "deid" / "data"
WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")
RARE_IN_TEXT = 2
SURNAMES = 45_000
USUAL_PERCENT = 0.03


def plain(word: str) -> str:
    """Lower case, without diacritics."""
    decomposed = unicodedata.normalize("NFD", word.lower())
    return "".join(c for c in decomposed if not unicodedata.combining(c)).replace("\u2019", "'")


def write(name: str, words: set[str]) -> None:
    kept = sorted(w for w in words if w.isascii() and w)
    (OUT / name).write_text("\n".join(kept) + "\n", encoding="ascii")
    print(name, len(kept))


def lower_case_words(root: Path) -> Counter[str]:
    """Count words that stand in lower case in prose; names stand capitalised there."""
    counts: Counter[str] = Counter()
    for path in ("mts_dialog_text/text.jsonl", "aci_bench_text/text_dev.jsonl",
                 "primock57_text/text.jsonl", "tab144/gold_train.jsonl", "wikigold/gold.jsonl",
                 "aci_natural_en/gold_dev.jsonl", "presidio_templates/templates.txt"):  # fmt: skip
        for line in (root / path).read_text(encoding="utf-8", errors="replace").splitlines():
            record = json.loads(line) if line.startswith('{"') else {"text": line}
            if record["text"].islower() or (
                "dialogue" in str(record.get("id", "")) and "D2N" in str(record["id"])
            ):
                continue
            counts.update(w for w in WORD.findall(record["text"]) if w.islower())
    return counts


def main() -> None:
    root = Path(sys.argv[1])
    prose = lower_case_words(root)
    philter = {
        plain(w)
        for w in json.loads(
            (root / "gaz_philter/whitelist_plus_fps_091718_nonames.json").read_text()
        )
    }
    common = {w for w, n in prose.items() if n >= RARE_IN_TEXT}

    first_rank: list[str] = []
    for path in ("dist.female.first", "dist.male.first"):
        first_rank += [
            line.split()[0].lower()
            for line in (root / "gaz_census1990" / path).read_text().splitlines()
        ]
    first = set(first_rank)
    last_rank = [
        line.split()[0].lower()
        for line in (root / "gaz_census1990/dist.all.last").read_text().splitlines()
    ]
    last = set(last_rank[:SURNAMES])
    synthea = (root / "gaz_synthea/names.yml").read_text(encoding="utf-8")
    for kind, names in re.findall(r"^  (M|F|family): \[(.*?)\]", synthea, re.MULTILINE | re.DOTALL):
        words = {plain(n.strip()) for n in names.split(",")}
        (first if kind != "family" else last).update(w for w in words if " " not in w)
    world = lambda f: {
        plain(w.strip())
        for w in (root / "gaz_names_world" / f)
        .read_text(encoding="utf-8", errors="replace")
        .split()
    }
    first |= {
        w for w in world("first_names_us.txt") | world("first_names_es.txt") if w not in philter
    }
    for code in (
        "cn",
        "cz",
        "es",
        "fr",
        "hi",
        "ie",
        "il",
        "it",
        "kr",
        "ne",
        "pl",
        "pt",
        "uk",
        "gk",
    ):
        last |= {w for w in world(f"surnames_{code}.txt") if w not in philter}
    shape = re.compile(r"[a-z][a-z'-]+$")
    first = {w for w in first if shape.match(w)}
    last = {w for w in last if shape.match(w)}
    # A word of the safe list is shipped where it decides something: it is also a name, or common.
    write("first_names.txt", first)
    write("surnames.txt", last)
    usual = {
        line.split()[0].lower()
        for path in ("dist.female.first", "dist.male.first")
        for line in (root / "gaz_census1990" / path).read_text().splitlines()
        if float(line.split()[1]) >= USUAL_PERCENT
    }
    write("common_words.txt", common | ((philter & (first | last)) - (usual - set(prose))))

    cities: set[str] = set()
    with (root / "gaz_us_cities/us_cities.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        cities.add(plain(row["CITY"]))
    write("cities.txt", cities)
    zip3 = (root.parent / "zip3_2020.csv").read_text()
    (OUT / "zip3_2020.csv").write_text(zip3)


if __name__ == "__main__":
    main()
