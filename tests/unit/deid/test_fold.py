from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid.fold import fold, is_format, readings, unfold
from wardgate.types import EntityType


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


@pytest.mark.parametrize("text", ["Jose\u0301 x", "Jose\u0301\u200bx"])
def test_unfold_takes_in_the_marks_that_follow_and_no_format_characters(text):
    _, index = fold(text)
    found = [(0, 4, EntityType.NAME, 0.5, None), (2, 3, EntityType.AGE, 0.1, None)]
    assert unfold(text, found, index) == [
        (0, 5, EntityType.NAME, 0.5, None),
        (2, 3, EntityType.AGE, 0.1, None),
    ]


def _forms(text):
    forms, unread = readings(text)
    assert unread == []
    return [form for form, _ in forms]


@pytest.mark.parametrize(
    "hidden", "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u202e\x00\x08\x0e\x1c\x7f\x80\x9f"
)
def test_a_text_with_format_characters_is_read_without_them_and_with_spaces(hidden):
    assert _forms(f"ab{hidden}cd") == ["abcd", "ab cd\n"]
    assert _forms(f"aB{hidden}3{hidden}4") == [
        "aB34",
        "aB 34\n",
        "aB 3 4\n",
    ]


@given(st.lists(st.sampled_from(["aB1 ", "\u200b", "x" * 150, "y " * 90, "\u00ad", "e\u0301"])))
def test_every_reading_points_at_its_characters(parts):
    text = "".join(parts)
    for form, index in readings(text)[0]:
        where = range(len(text)) if index is None else index[:-1]
        assert len(where) == len(form)
        assert list(where) == sorted(where)
        assert all(
            char == "\n" or text[i] == char or (char == " " and is_format(text[i]))
            for i, char in zip(where, form, strict=True)
        )


@pytest.mark.parametrize("text", ["a\tb", "a\nb", "a\r\nb", "a\x0bb", "a\x0cb"])
def test_white_space_hides_nothing(text):
    assert readings(text) == ([(text, None)], [])


def test_a_word_spelt_with_marks_is_one_word_in_every_reading():
    spelt = "\u200b".join("Metoprolol")
    assert _forms(f"{spelt} 25") == ["Metoprolol 25"]
    assert _forms(f"{spelt} 25 ab\u200bcd") == ["Metoprolol 25 abcd", "Metoprolol 25 ab cd\n"]
    assert "John A Smith\n" in _forms("John\u200bA\u200bSmith")


def test_what_is_far_from_a_format_character_is_read_once():
    text = "a " * 5000 + "b\u200bc\u200bD" + " d" * 5000
    whole, mixed, spaced = _forms(text)
    assert len(whole) == len(text) - 2
    assert "b c D" in spaced
    assert "bc D" in mixed
    assert len(spaced) < 300


@pytest.mark.parametrize("text", ["plain", "Jos\u00e9", "Jose\u0301", "\u2640\u200d\u2642"])
def test_any_other_text_is_read_once(text):
    assert readings(text) == ([fold(text)], [])


@pytest.mark.parametrize(
    "text", ["a \u200bB", "John\u200b\n", "\u200bJohn", "(\u200b)", "JOHN\u00ad"]
)
def test_a_mark_beside_a_space_or_an_end_or_between_signs_joins_nothing(text):
    assert len(_forms(text)) == 1


@pytest.mark.parametrize("piece", ["Jo\u200bhn\u200bSmith ", "a\u00adb", "A\u200b1\u200b2 \u200b"])
@pytest.mark.parametrize("size", [70_000, 300_000])
def test_what_is_read_is_bounded_and_the_rest_is_told(piece, size):
    text = (piece * size)[:size]
    forms, unread = readings(text)
    assert sum(len(form) for form, _ in forms) <= max(size, 65_536) * 1.07
    assert unread == sorted(unread)
    assert all(start < end <= size for start, end in unread)
    assert all(low[1] < high[0] for low, high in itertools.pairwise(unread))
    read = {i for form, index in forms for i in index[:-1]}
    assert all(
        i in read or is_format(text[i]) or any(start <= i < end for start, end in unread)
        for i in range(0, size, 97)
    )


def test_a_note_of_usual_length_is_read_whatever_it_holds():
    assert readings("Jo\u200bhn\u200bSmith 3\u200b/4\u200b/19 " * 900)[1] == []


@given(st.text(alphabet=st.characters(min_codepoint=0x80)))
def test_any_character_folds(text):
    fold(text)
