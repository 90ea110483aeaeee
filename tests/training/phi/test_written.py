"""Documents written by hand: marks become spans, bad marks are told, shapes of numbers stay."""

from __future__ import annotations

import pytest
from training.phi.generate.gazetteer import DEV, HELD_OUT, TRAIN
from training.phi.generate.generator import HERE
from training.phi.generate.rng import Rng
from training.phi.generate.written import load_written, parsed, renumbered

SOURCE = "Seen by [[IGNORE|Dr.]] [[NAME|Okoye]] for [[MRN|AB-4410]], fax [[FAX|555-0100]]\\u200b."


def test_marks_become_spans():
    document = parsed("x", SOURCE)
    assert document.text == "Seen by Dr. Okoye for AB-4410, fax 555-0100\u200b."
    told = [(document.text[s.start : s.end], s.label, s.ignore) for s in document.spans]
    assert told[1:] == [
        ("Okoye", "NAME", False),
        ("AB-4410", "MRN", False),
        ("555-0100", "PHONE", False),
    ]
    assert told[0][0::2] == ("Dr.", True)


@pytest.mark.parametrize("source", ["[[NAM|Okoye]]", "[[NAME|Okoye", "[[|Okoye]]"])
def test_a_bad_mark_is_told_with_its_place(source):
    with pytest.raises(ValueError, match=r"notes-3"):
        parsed("notes-3", source)


def test_numbers_change_and_keep_their_shape():
    document = parsed("x", SOURCE)
    other = renumbered(document, Rng("1"))
    assert other.text != document.text
    assert [(s.start, s.end, s.label) for s in other.spans] == [
        (s.start, s.end, s.label) for s in document.spans
    ]
    assert "Okoye" in other.text
    for old, new in zip(document.text, other.text, strict=True):
        assert old.isdigit() == new.isdigit()
        assert old.isupper() == new.isupper()


def test_a_document_is_of_one_part_and_none_is_held_out():
    train, dev = ({d.id for d in load_written(HERE / "written", part)} for part in (TRAIN, DEV))
    assert train
    assert dev
    assert not train & dev
    assert not load_written(HERE / "written", HELD_OUT)
