"""Pieces: nothing of a text lies between them, and no run of letters or digits is cut."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid import tagger_features as features

TOKEN = re.compile(r"[^\W_]+")


@given(st.text(max_size=300))
def test_the_pieces_are_the_text(text):
    pieces = features.cut(text)
    assert "".join(pieces.words) == features.lower(text)
    for word, start, end in zip(pieces.words, pieces.starts, pieces.ends, strict=True):
        assert features.lower(text)[start:end] == word.removeprefix(" ") or word == " "
    assert ((pieces.shapes >= 0) & (pieces.shapes < features.SHAPES)).all()


@given(st.text(max_size=300))
def test_a_run_of_letters_and_digits_is_one_piece(text):
    low = features.lower(text)
    spans = set(zip(features.cut(text).starts, features.cut(text).ends, strict=True))
    assert {match.span() for match in TOKEN.finditer(low)} <= spans


def test_lower_case_never_changes_the_length():
    assert features.lower("\u0130STANBUL") == "\u0130stanbul"
    assert features.lower("A\ud800B") == "a\ud800b"


def test_numbers_are_told_apart_by_what_they_may_be():
    rows = [
        features.number(n)
        for n in ("7", "07", "12", "31", "59", "89", "90", "1930", "1985", "123456789")
    ]
    assert len(set(rows)) == len(rows)
    assert features.number("90") == features.number("99")
    assert features.number("123456789") == features.number("987654321")
    widths = [f"{n:0{w}}" for w in range(1, 5) for n in range(10**w)] + [
        "1" * w for w in range(5, 40)
    ]
    assert all(features.SIGN_LINE < features.number(n) < features.SPECIALS for n in widths)


def test_what_is_no_word_has_a_row_of_its_own():
    cases = {
        "word": features.UNKNOWN, "\n": features.NEWLINE, " \n\n ": features.BLANK_LINE,
        "   ": features.WIDE_SPACE, " ": features.WIDE_SPACE, "\u2022": features.SIGN,
        " -----": features.SIGN_LINE, "__": features.SIGN_LINE, " 42": features.number("42"),
        "\u0664\u0662": features.UNKNOWN,
    }  # fmt: skip
    assert {piece: features.special(piece) for piece in cases} == cases


def test_how_a_word_is_written_shows():
    pieces = features.cut("Smith smith SMITH S 12 A1c McCoy")
    assert len(set(pieces.shapes.tolist())) == len(pieces.words)
    assert len(set(features.cut("Smith Brown").shapes.tolist())) == 2  # one has a space before it


@given(st.lists(st.from_regex(r"[a-z0-9\u00e9]{1,60}", fullmatch=True), min_size=1, max_size=8))
def test_runs_of_letters_are_counted_and_belong_to_one_word(words):
    buckets, starts, counts = features.grams(words)
    ends = [*starts[1:], buckets.shape[1]]
    for word, start, end, count in zip(words, starts, ends, counts, strict=True):
        own = buckets[:, start:end]
        assert (own < features.GRAMS).sum() == count
        alone = features.grams([word])[0]
        assert np.array_equal(own[own < features.GRAMS], alone[alone < features.GRAMS])


def test_digits_of_a_word_are_not_told_apart():
    assert np.array_equal(features.grams(["mrn123"])[0], features.grams(["mrn987"])[0])


def test_codes_sum_the_lists():
    lists = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32)
    assert features.all_codes(lists).tolist() == [[0, 0], [1, 0], [0, 2], [1, 2]]
