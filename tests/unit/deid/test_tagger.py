"""The tagger: pinned files, spans inside the text that cut no word, the same in one go or in parts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardgate.deid import tagger as module
from wardgate.deid.spans import Place
from wardgate.deid.tagger import Tagger, checked, folder
from wardgate.deid.tagger_features import cut
from wardgate.errors import DetectorFailed
from wardgate.types import EntityType

TAGGER = Tagger.load()
TOKEN = re.compile(r"[^\W_]+")
NOTE = (
    "Patient: Marisol Quintanilla-Reyes\nMRN: 4410982  DOB: 07/29/1956\nSeen by Dr. Okonkwo at "
    "Larkspur Valley Medical Center, 14 Birchwood Lane, Medford, OR 97501. Call 541-555-0142.\n"
    "She takes metoprolol 25 mg daily for hypertension; BP 130/80. Denies chest pain.\n"
)


def _check(text, found):
    tokens = [match.span() for match in TOKEN.finditer(text)]
    last = 0
    for start, end, label, score, detail in found:
        assert last <= start < end <= len(text)
        assert 0.0 <= score <= 1.0
        assert isinstance(label, EntityType)
        assert detail is None or label is EntityType.LOCATION
        assert not any(a < start < b or a < end < b for a, b in tokens)
        last = end


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_spans_lie_in_any_text_and_cut_no_word(text):
    _check(text, TAGGER.tag(text))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from([*NOTE.split(" "), "\x00", "\ud800", "\n\n", "\u0130", "-----"]),
        max_size=60,
    )
)
def test_spans_lie_in_notes_and_cut_no_word(words):
    text = " ".join(words)
    found = TAGGER.tag(text)
    _check(text, found)
    assert TAGGER.tag(text) == found


@pytest.mark.parametrize(
    "text", ["", " ", "\n", "\x00", "\ud800", "a", "7", "_", "-" * 500, "a" * 70_000]
)
def test_odd_texts(text):
    _check(text, TAGGER.tag(text))


def test_a_note():
    found = {NOTE[c[0] : c[1]]: c[2] for c in TAGGER.tag(NOTE)}
    assert found["Marisol Quintanilla-Reyes"] is EntityType.NAME
    assert found["4410982"] is EntityType.MRN
    assert any("Okonkwo" in inside for inside in found)
    assert any("Medford" in inside for inside in found)
    assert not any(word in inside for inside in found for word in ("metoprolol", "130", "chest"))


def test_a_zip_code_is_told():
    zips = [c for c in TAGGER.tag(NOTE + "\nZIP: 97501\n") if c[4] is Place.ZIP]
    assert all(NOTE[c[0] : c[1]] == "97501" or c[1] > len(NOTE) for c in zips)


def test_in_parts_it_says_what_it_says_in_one_go(monkeypatch):
    text = NOTE * 4
    pieces, whole = TAGGER.odds(text)
    for chunk in (7, 64, len(pieces.words) - 1):
        monkeypatch.setattr(TAGGER, "_chunk", chunk)
        assert np.array_equal(TAGGER.odds(text)[1], whole)


def test_what_is_far_away_changes_nothing():
    filler = "stable " * (TAGGER._halo + 1)
    alone = TAGGER.odds(NOTE + filler)[1]
    joined = TAGGER.odds(NOTE + filler + "Call Dr. Who at 617-555-0100.")[1]
    assert np.array_equal(alone[: len(cut(NOTE).words)], joined[: len(cut(NOTE).words)])


def test_odds_of_a_stretch_are_the_highest_of_its_pieces():
    reading = TAGGER.read(NOTE)
    start = NOTE.index("Quintanilla")
    assert reading.odds(start, start + 3) > 0.9
    assert reading.odds(*_span("hypertension")) < 0.1
    assert reading.odds(*_span("Quintanilla-Reyes\nMRN")) >= reading.odds(start, start + 3)
    assert TAGGER.read("").odds(0, 0) == 0.0


def _span(inside):
    return NOTE.index(inside), NOTE.index(inside) + len(inside)


def _copy(tmp_path: Path) -> Path:
    for name in (*module._FILES, "SHA256SUMS"):
        with folder().joinpath(name).open("rb") as given, (tmp_path / name).open("wb") as copy:
            shutil.copyfileobj(given, copy)
    return tmp_path


@pytest.mark.parametrize("name", module._FILES)
def test_a_file_that_is_not_the_pinned_one_is_refused(tmp_path, name):
    place = _copy(tmp_path)
    assert set(checked(place)) == set(module._FILES)
    data = bytearray((place / name).read_bytes())
    data[len(data) // 2] ^= 1
    (place / name).write_bytes(data)
    with pytest.raises(DetectorFailed) as caught:
        checked(place)
    assert caught.value.reason == "tagger-files"


@pytest.mark.parametrize("name", [*module._FILES, "SHA256SUMS"])
def test_a_missing_file_is_refused(tmp_path, name):
    (_copy(tmp_path) / name).unlink()
    with pytest.raises(DetectorFailed):
        checked(tmp_path)


def test_files_that_do_not_fit_together_are_refused():
    files = checked(folder())
    about = json.loads(files["tagger.json"])
    for wrong in (
        {**about, "tags": ["O", "NONE"]},
        {k: v for k, v in about.items() if k != "halo"},
    ):
        with pytest.raises(DetectorFailed):
            Tagger({**files, "tagger.json": json.dumps(wrong).encode()})


def test_a_fault_refuses_and_tells_nothing(monkeypatch):
    def fail(text):
        raise ValueError(text)

    monkeypatch.setattr(module, "cut", fail)
    with pytest.raises(DetectorFailed) as caught:
        TAGGER.tag("Jane Canary")
    assert "Canary" not in repr(caught.value) + caught.value.detail
    assert caught.value.__suppress_context__


def test_odds_that_are_no_numbers_refuse(monkeypatch):
    class Broken:
        def run(self, *_):
            return [np.full((1, 18), np.nan, np.float32)]

    monkeypatch.setattr(TAGGER, "_net", Broken())
    with pytest.raises(DetectorFailed):
        TAGGER.tag("Jane")


def test_all_files_together_are_small():
    size = sum(len(data) for data in checked(folder()).values())
    assert size < 16_000_000


@pytest.mark.parametrize(
    ("before", "part", "after", "whole"),
    [
        ("seen ", "2", "/29.", "2/29"),
        ("seen 2/", "29", ".", "2/29"),
        ("on 3-", "4", "-19 and", "3-4-19"),
        ("May ", "4", "", "4"),
        ("1.2/", "3", "", "3"),
        ("", "2", "/29a", "2"),
    ],
)
def test_a_date_is_taken_with_the_parts_beside_it(before, part, after, whole):
    text = before + part + after
    low, high = module._whole_date(text, len(before), len(before) + len(part))
    assert text[low:high] == whole
