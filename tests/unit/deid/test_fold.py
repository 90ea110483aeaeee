from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid.fold import fold, is_format, readings, unfold


def test_ascii_is_the_same_object():
    text = "BP 120/80"
    assert fold(text) == (text, None)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("１２３", "123"),
        ("José", "Jose"),
        ("Łukasz", "Lukasz"),
        ("a\u00a0b", "a b"),
        ("555\u2011010\u20130", "555-010-0"),
        ("D’Amore", "D'Amore"),
        ("Ѕmіth", "Smith"),
        ("𝐉𝐨𝐡𝐧", "John"),
        ("٣/٤", "3/4"),
        ("İ", "I"),
        ("漢字", "漢字"),
    ],
)
def test_one_character_becomes_one(text, folded):
    assert fold(text) == (folded, None)


@pytest.mark.parametrize(
    ("text", "folded"),
    [("J\u200bohn", "John"), ("Jose\u0301", "Jose"), ("\u202eJohn", "John"), ("a\ufe0fb", "ab")],
)
def test_hidden_characters_are_left_out(text, folded):
    got, index = fold(text)
    assert got == folded
    assert index is not None
    assert [text[i] for i in index[:-1]] != list(text)
    assert index[-1] == len(text)


@given(st.text())
def test_index_points_at_the_kept_characters(text):
    folded, index = fold(text)
    assert len(folded.lower()) == len(folded)
    if index is None:
        assert len(folded) == len(text)
        return
    assert len(index) == len(folded) + 1
    assert index == sorted(set(index))


def test_unfold_takes_in_the_marks_that_follow_and_no_format_characters():
    text = "Jose\u0301 x"
    _, index = fold(text)
    assert unfold(text, 0, 4, index) == (0, 5)
    assert unfold(text, 2, 3, None) == (2, 3)
    text = "Jose\u0301\u200bx"
    _, index = fold(text)
    assert unfold(text, 0, 4, index) == (0, 5)


@pytest.mark.parametrize("hidden", "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u202e")
def test_a_text_with_format_characters_is_read_without_them_and_with_spaces(hidden):
    assert [form for form, _ in readings(f"ab{hidden}cd")] == ["abcd", "ab cd\n"]
    assert [form for form, _ in readings(f"aB{hidden}3{hidden}4")] == [
        "aB34",
        "aB 3 4\n",
        "aB 34\n",
    ]


@given(st.lists(st.sampled_from(["aB1 ", "\u200b", "x" * 150, "y " * 90, "\u00ad", "e\u0301"])))
def test_every_reading_points_at_its_characters(parts):
    text = "".join(parts)
    for form, index in readings(text):
        where = range(len(text)) if index is None else index[:-1]
        assert len(where) == len(form)
        assert list(where) == sorted(where)
        assert all(
            char == "\n" or text[i] == char or (char == " " and is_format(text[i]))
            for i, char in zip(where, form, strict=True)
        )


def test_what_is_far_from_a_format_character_is_read_once():
    text = "a " * 5000 + "b\u200bc\u200bD" + " d" * 5000
    whole, spaced, mixed = (form for form, _ in readings(text))
    assert len(whole) == len(text) - 2
    assert "b c D" in spaced
    assert "bc D" in mixed
    assert len(spaced) < 300


@pytest.mark.parametrize("text", ["plain", "Jos\u00e9", "Jose\u0301", "\u2640\u200d\u2642"])
def test_any_other_text_is_read_once(text):
    assert readings(text) == [fold(text)]


@given(st.text(alphabet=st.characters(min_codepoint=0x80)))
def test_any_character_folds(text):
    fold(text)
