from __future__ import annotations

import csv
import datetime as dt
from importlib import resources

import pytest

from wardgate.deid import policy
from wardgate.deid.spans import Place
from wardgate.deid.transform import TAG, edits_of, shows_over_89, year_alone, zip3
from wardgate.types import EntityType


def _population():
    table = resources.files("wardgate.deid") / "data/zip3_2020.csv"
    with table.open(encoding="ascii") as file:
        return {row["zip3"]: int(row["population"]) for row in csv.DictReader(file)}


def test_all_thousand_prefixes():
    population = _population()
    assert len(population) == 894
    kept = 0
    for number in range(1000):
        prefix = f"{number:03}"
        keeps = population.get(prefix, 0) > 20_000
        kept += keeps
        assert zip3(prefix + "45") == (f"{prefix}**" if keeps else "000**")
        assert zip3(prefix + "45-6789") == zip3(prefix + "45")
    assert 0 < kept < 894


def test_the_bound_is_more_than_20000():
    assert all(
        (people > 20_000) == (zip3(p + "00") != "000**") for p, people in _population().items()
    )


REFERENCE = dt.date(2026, 7, 28)


@pytest.mark.parametrize(
    ("birth", "over"),
    [
        ((1936, 7, 27), True),
        ((1936, 7, 28), True),
        ((1936, 7, 29), False),
        ((1937, 1, 1), False),
        ((1936, 12, 0), True),
        ((1936, 0, 0), True),
        ((1937, 0, 0), False),
    ],
)
def test_ninety_years_to_the_day_is_over_89(birth, over):
    assert shows_over_89(*birth, REFERENCE) is over
    assert year_alone(*birth, REFERENCE) == ("" if over else str(birth[0]))


def test_an_unknown_reference_lets_no_year_through():
    assert year_alone(2019, 3, 4, None) == ""
    assert year_alone(0, 3, 4, REFERENCE) == ""


@pytest.mark.parametrize(
    ("name", "outs"),
    [
        (
            "safe_harbor",
            ["[NAME]", "2019", "90+", "[LOCATION]", "[LOCATION]", "021**", "[LOCATION]"],
        ),
        ("limited_data_set", ["[NAME]", None, None, "[LOCATION]", None, None, "[LOCATION]"]),
        (
            "expert_determination",
            ["[NAME]", "[DATE]", "90+", "[LOCATION]", "[LOCATION]", "021**", "[LOCATION]"],
        ),
    ],
)
def test_policies(name, outs):
    text = "02115" * 20
    found = [
        (0, 5, EntityType.NAME, 1.0, None),
        (5, 10, EntityType.DATE, 1.0, (2019, 3, 4, False)),
        (10, 15, EntityType.AGE, 1.0, None),
        (15, 20, EntityType.LOCATION, 1.0, Place.STREET),
        (20, 25, EntityType.LOCATION, 1.0, Place.CITY),
        (25, 30, EntityType.LOCATION, 1.0, Place.ZIP),
        (30, 35, EntityType.LOCATION, 1.0, None),
    ]
    got = {start: new for start, _, new in edits_of(text, found, policy.get(name), REFERENCE)}
    assert [got.get(c[0]) for c in found] == outs


@pytest.mark.parametrize("form", ["[NAME]", "[OTHER_ID]", "021**", "000**", "90+"])
def test_what_it_writes_is_known_as_such(form):
    assert TAG.fullmatch(form)
