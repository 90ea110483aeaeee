"""The stream: reproducible, well-formed, and no name of one part in another."""

from __future__ import annotations

import json
from itertools import islice

import pytest
from training.phi.generate.__main__ import save
from training.phi.generate.document import Document
from training.phi.generate.gazetteer import DEV, HELD_OUT, TRAIN, part_of
from training.phi.generate.generator import HELD_KINDS, MIX, Generator
from training.phi.generate.public import convert, load_public


@pytest.fixture(scope="module")
def train(data) -> Generator:
    return Generator(data, TRAIN)


@pytest.fixture(scope="module")
def documents(train) -> list[Document]:
    return list(islice(train.documents(3), 600))


def check(document: Document) -> None:
    end = 0
    for span in document.spans:
        assert end <= span.start < span.end <= len(document.text), document
        assert document.text[span.start : span.end].strip(), document
        end = span.end


def test_the_same_seed_gives_the_same_documents(train, documents):
    assert list(islice(train.documents(3), 50)) == documents[:50]
    assert [d.text for d in islice(train.documents(4), 50)] != [d.text for d in documents[:50]]


def test_documents_are_well_formed(documents):
    for document in documents:
        check(document)
    assert {document.kind for document in documents} == set(MIX)
    assert {span.label for document in documents for span in document.spans} >= {
        "NAME",
        "DATE",
        "AGE",
        "LOCATION",
        "PHONE",
        "EMAIL",
        "SSN",
        "MRN",
        "HEALTH_PLAN",
        "ACCOUNT",
        "LICENSE",
        "VEHICLE",
        "DEVICE",
        "URL",
        "IP",
        "BIOMETRIC",
        "OTHER_ID",
    }
    assert not any(span.label == "SOFT" for document in documents for span in document.spans)


@pytest.mark.parametrize("kind", HELD_KINDS)
def test_held_out_sets_are_well_formed(data, kind):
    found = Generator(data, HELD_OUT).held_out(kind, 1, 20)
    for document in found:
        check(document)
    if kind == "no_phi":
        assert all(span.ignore for document in found for span in document.spans)


def test_parts_share_no_listed_name(data):
    parts = [Generator(data, part)._world for part in (TRAIN, DEV, HELD_OUT)]
    for pick in (
        lambda w: w.names.surnames,
        lambda w: w.names.word_first,
        lambda w: w.names.male,
        lambda w: w.words["eponym"],
        lambda w: [c[0] for c in w.places.cities],
        lambda w: w.rare,
    ):
        lists = [set(map(str.lower, pick(world))) for world in parts]
        assert all(lists)
        assert not lists[0] & lists[1]
        assert not lists[0] & lists[2]


def test_public_documents_are_in_one_part(data):
    ids = [
        {document.id for document in load_public(data, "wikigold", part)}
        for part in (TRAIN, DEV, HELD_OUT)
    ]
    assert all(part_of(i) == TRAIN for i in ids[0])
    assert sum(map(len, ids)) == 40
    assert not load_public(data, "presidio", HELD_OUT)


def test_what_a_set_does_not_label_is_no_negative():
    text = "He met Bo in Ohio on 12 May 1999, tel 555-1234."
    row = {
        "id": "x",
        "text": text,
        "spans": [
            {"start": 7, "end": 9, "label": "NAME"},
            {"start": 13, "end": 17, "label": "LOCATION"},
        ],
    }
    found = [(text[s.start : s.end], s.label, s.ignore) for s in convert("wikigold", row).spans]
    assert found == [
        ("Bo", "NAME", False),
        ("Ohio", "LOCATION", True),
        ("12", "OTHER", True),
        ("May", "OTHER", True),
        ("1999,", "OTHER", True),
        ("555-1234.", "OTHER", True),
    ]


def test_a_bare_year_in_a_judgment_is_ignored():
    row = {
        "id": "x",
        "text": "born in 1959, on 4 May 2001",
        "spans": [
            {"start": 8, "end": 12, "label": "DATE"},
            {"start": 17, "end": 27, "label": "DATE"},
        ],
    }
    assert [s.ignore for s in convert("court", row).spans] == [True, False]
    assert [s.ignore for s in convert("court", row, as_judged=True).spans] == [False, False]


def test_carriers_teach_names_and_leave_what_is_unsure(train):
    talk = next(d for d in train._carriers["dialogue"] if d.id.startswith("c"))
    found = {talk.text[s.start : s.end]: (s.label, s.ignore) for s in talk.spans}
    assert found["Bareno"] == ("NAME", False)
    assert found["October"] == ("DATE", False)
    prose = next(d for d in train._carriers["prose"] if d.id.startswith("p"))
    assert {prose.text[s.start : s.end]: s.ignore for s in prose.spans} == {"X": True}


def test_save_writes_gold_lines(tmp_path, documents):
    assert save(tmp_path / "a" / "x.jsonl", documents[:5]) == 5
    rows = [
        json.loads(line)
        for line in (tmp_path / "a" / "x.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [row["text"] for row in rows] == [document.text for document in documents[:5]]
    assert all({"id", "text", "spans"} <= row.keys() for row in rows)
