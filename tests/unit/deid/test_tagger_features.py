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
    last = 0
    for word, start, end in zip(pieces.words, pieces.starts, pieces.ends, strict=True):
        if word.isspace():
            assert start == end
            assert text[last:end] == word
        else:
            assert text[last:start] in {"", " "}
            assert text[start:end].lower() == word
        last = end
    assert last == len(text)
    assert all(0 <= shape < features.SHAPES for shape in pieces.shapes)


@given(st.text(max_size=300))
def test_a_run_of_letters_and_digits_is_one_piece(text):
    spans = set(zip(features.cut(text).starts, features.cut(text).ends, strict=True))
    assert {match.span() for match in TOKEN.finditer(text)} <= spans


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
        "-----": features.SIGN_LINE, "__": features.SIGN_LINE, "42": features.number("42"),
        "\u0664\u0662": features.UNKNOWN,
    }  # fmt: skip
    assert {piece: features.special(piece) for piece in cases} == cases


def test_how_a_word_is_written_shows():
    pieces = features.cut("Smith smith SMITH S 12 a1 McCoy")
    assert len(set(pieces.shapes)) == len(pieces.words)
    assert len(set(features.cut("Smith Brown").shapes)) == 2  # one has a space before it


@given(st.text(min_size=1, max_size=60))
def test_a_word_has_as_many_affixes_whatever_it_is(word):
    found = features.affixes(word)
    assert len(found) == features.AFFIXES_EACH
    assert all(0 <= bucket < features.AFFIXES for bucket in found)


def test_words_that_begin_or_end_alike_share_affixes():
    half = features.AFFIXES_EACH // 2
    kowalski, nowalski, kowal = map(features.affixes, ("kowalski", "nowalski", "kowalczyk"))
    assert kowalski[half:] == nowalski[half:]
    assert kowalski[:half] == kowal[:half]
    assert not set(kowalski[:half]) & set(nowalski[:half])


def test_digits_of_a_word_are_not_told_apart():
    assert features.affixes("mrn123") == features.affixes("mrn987")


def test_codes_sum_the_lists():
    lists = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32)
    assert features.all_codes(lists).tolist() == [[0, 0], [1, 0], [0, 2], [1, 2]]
