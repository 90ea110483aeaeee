"""A small `data/phi` folder of made-up names, places, carriers and gold."""

from __future__ import annotations

import csv
import json
from itertools import product
from pathlib import Path

import pytest
from training.phi.generate.gazetteer import ORIGINS

NAMES = [
    "".join(parts).title()
    for parts in product(
        ("ba", "ke", "lo", "mi"), ("ra", "ne", "to"), ("l", "s", "nd"), ("a", "e", "o", "ik")
    )
]
SETS = {
    "aci_natural_en/gold_dev": [
        ("NAME", "Ms. ", "Bareno", " has a cough. She is well."),
        ("DATE", "Seen on ", "03/04/2021", ". No fever today."),
    ],
    "tab144/gold_train": [
        ("NAME", "The applicant, ", "Mr Kera Lonede", ", was born in 1959."),
        ("DATE", "On ", "4 May 2001", " the Court sat, and in 1990 too."),
    ],
    "piianon_clinical_en/gold_train": [("NAME", "Patient ", "Mineka Torale", " seen.")],
    "wikigold/gold": [("LOCATION", "He lived in ", "Georgia", " until 12 May 1999.")],
    "wnut17/gold_train": [("NAME", "saw ", "Mineko", " 555-1234")],
    "btc/gold": [("NAME", "RT ", "Kerase", " http://x.y/z")],
    "meddocan_es/gold_train": [("NAME", "Nombre: ", "Baralo", ". Fin.")],
    "presidio_synth_v2/gold": [("NAME", "call ", "Loneso", " at once")],
}


def write_json_lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def gold(name: str, number: int) -> dict[str, object]:
    label, before, value, after = SETS[name][number % len(SETS[name])]
    span = {"start": len(before), "end": len(before) + len(value), "label": label}
    return {"id": f"{name}-{number}", "text": before + value + after, "spans": [span]}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phi")
    census, world = root / "gaz_census1990", root / "gaz_names_world"
    census.mkdir()
    world.mkdir()
    rows = "".join(f"{name.upper()} 0.{9 - n % 9} 1 {n}\n" for n, name in enumerate(NAMES))
    for name in ("dist.male.first", "dist.female.first"):
        (census / name).write_text(rows)
    extra = "".join(f"{a.upper()}{b.upper()} 0.001 1 1\n" for a in NAMES for b in NAMES[:100])
    (census / "dist.all.last").write_text(rows + extra)
    for origin in ORIGINS:
        (world / f"surnames_{origin}.txt").write_text(
            "\n".join(f"{name}{origin}" for name in NAMES)
        )
    (world / "first_names_all.txt").write_text("\n".join(f"{name}é" for name in NAMES))
    (root / "gaz_philter").mkdir()
    safe = {f"{name.lower()}itis": 1 for name in NAMES} | dict.fromkeys(
        ("patient", "cough", "well", "doctor", "fever"), 1
    )
    (root / "gaz_philter/whitelist_plus_fps_091718_nonames.json").write_text(json.dumps(safe))
    (root / "gaz_us_cities").mkdir()
    with (root / "gaz_us_cities/us_cities.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ID", "STATE_CODE", "STATE_NAME", "CITY", "COUNTY"])
        writer.writerows(
            [n, "OH", "Ohio", f"{name}ville", f"{name}shire"] for n, name in enumerate(NAMES)
        )
    (root / "gaz_synthea").mkdir()
    for name in ("nursing", "primary_care_facilities_children", "primary_care_facilities_women"):
        with (root / f"gaz_synthea/{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["name", "address"])
            writer.writerows(
                [f"{x.upper()} CARE CENTER, INC.", f"12 {x.upper()} ST"] for x in NAMES
            )
    for name in SETS:
        write_json_lines(root / f"{name}.jsonl", [gold(name, number) for number in range(40)])
    talk = "Doctor: Hello, Mister Bareno. Any fever?\nPatient: No fever since October.\nDoctor: Good. Rest now, please.\n"
    carriers = [{"id": f"c{n}-dialogue", "kind": "dialogue", "text": talk} for n in range(40)]
    carriers += [
        {
            "id": f"p{n}-section_text",
            "kind": "section_text",
            "text": f"The cough is better now. He took {n} tablets a day. Dr. X agreed.",
        }
        for n in range(40)
    ]
    write_json_lines(root / "mts_dialog_text/text.jsonl", carriers)
    write_json_lines(
        root / "aci_bench_text/text_dev.jsonl",
        [{"id": "D2-dialogue", "kind": "dialogue", "text": "[doctor] hi bareno how are you\n"}],
    )
    write_json_lines(
        root / "primock57_text/text.jsonl",
        [{"id": "k1", "kind": "note", "text": "3/7 hx of cough. Review in 1/52."}],
    )
    return root
