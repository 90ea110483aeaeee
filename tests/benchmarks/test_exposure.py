"""What counts as an identifier that a model was given."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import exposure  # noqa: E402
import servers  # noqa: E402

TOKENIZER = Tokenizer.from_file(str(servers.SHIPPED / "tokenizer.json"))
TEXT = "Pt Ada Quill, MRN 0048, seen 03/14/2024 by Dr. Quill of Long Lane. Long day in 2023."


def note(*values, **labels):
    spans = []
    for value in values:
        start = TEXT.index(value)
        spans.append({"start": start, "end": start + len(value), "label": "NAME", **labels})
    return exposure.read({"id": "n", "text": TEXT, "spans": spans}, TOKENIZER, "kind", "a")


def given(text):
    return [TOKENIZER.encode(text).ids]


def test_all_identifiers_of_a_text_that_goes_through_as_it_is_are_reached():
    assert exposure.reached(note("Ada Quill", "0048", "03/14/2024"), given(TEXT)) == (3, 0)


def test_none_is_reached_where_tags_stand():
    clean = "Pt [NAME], MRN [MRN], seen 2024 by Dr. [NAME] of [LOCATION]. Long day in 2023."
    assert exposure.reached(note("Ada Quill", "0048", "03/14/2024"), given(clean)) == (0, 0)


def test_a_word_of_an_identifier_is_a_part_of_it():
    assert exposure.reached(note("Ada Quill"), given("Pt Ada [NAME], MRN")) == (0, 1)


def test_the_same_word_outside_of_identifiers_is_none():
    lane = note("Long Lane")
    assert exposure.reached(lane, given("of [LOCATION]. Long day")) == (0, 0)
    assert exposure.reached(lane, given("of Long [LOCATION]. Long day")) == (0, 1)


def test_a_value_that_stands_once_counts_once():
    assert exposure.reached(note("0048"), given("0048 0048")) == (1, 0)


def test_rows_of_several_windows_count_together():
    assert exposure.reached(note("Ada Quill", "0048"), given("Ada Quill") + given("0048")) == (2, 0)


def test_a_year_alone_is_no_identifier():
    assert note("2023").identifiers == ()


def test_what_the_gold_ignores_is_no_identifier():
    assert note("Ada Quill", ignore=True).identifiers == ()


@pytest.mark.parametrize(("part", "whole", "count"), [
    ([1], [1, 1, 1], 3), ([1, 1], [1, 1, 1], 1), ([1, 2], [2, 1, 2, 1, 2], 2), ([9], [], 0),
])  # fmt: skip
def test_occurrences(part, whole, count):
    assert exposure.occurrences(part, whole) == count


def test_notes_are_read_whole_by_the_model_and_have_identifiers():
    found = exposure.notes(200)
    assert len(found) == 200
    assert all(each.identifiers and len(each.ids) <= exposure.LONGEST for each in found)


def test_the_tapped_backend_stands_alone(tmp_path):
    tap = exposure.Tap(tmp_path)
    source = tap.write_backend().read_text()
    compile(source, "model.py", "exec")
    assert source.rstrip().endswith(f"listen({str(tap.path)!r})")


def test_a_tap_gives_each_row_once(tmp_path):
    tap = exposure.Tap(tmp_path)
    tap.path.write_text("[1, 2]\n[3]\n")
    assert tap.heard() == [[1, 2], [3]]
    assert tap.heard() == []


def test_the_result_holds_no_text_of_a_note():
    path = BENCHMARKS / "results" / "exposure.json"
    stored = json.dumps(json.loads(path.read_text())["identifiers"])
    assert not any(each.text[:40] in stored for each in exposure.notes(200))


def test_the_stored_result_as_tables():
    stored = json.loads((BENCHMARKS / "results" / "exposure.json").read_text())
    head, attacks = exposure.tables(stored).split("\n\n")
    assert f"| fastapi | {stored['identifiers']['fastapi']['all']['identifiers']:,} |" in head
    assert len(attacks.strip().splitlines()) == 2 + len(stored["attacks"]["each"])
