"""Codes as text: their form, what looks like one, and where they go."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid.codes import (
    CODE_BYTES,
    MOST_VALUE,
    Value,
    alike,
    filled,
    places,
    read,
    restored,
    standing,
    without,
    written,
)
from wardgate.deid.deidentify import Deidentifier
from wardgate.deid.fold import fold
from wardgate.deid.policy import TAGS
from wardgate.deid.spans import replace
from wardgate.types import CleanText, Deidentified, EntityType, Span

CODE = written(EntityType.NAME, bytes(range(CODE_BYTES)))
labels = st.sampled_from(list(EntityType))


def result_of(raw: str, *edits: tuple[int, int, EntityType, str | None]) -> Deidentified:
    """A result as the detector makes it: None keeps the span."""
    clean, alignment = replace(raw, [(a, b, new) for a, b, _, new in edits if new is not None])
    spans = tuple(Span(a, b, label, 1.0) for a, b, label, _ in edits)
    return Deidentified(CleanText(clean), spans, alignment, "p", "0" * 64)


# -- form -----------------------------------------------------------------------------------------


@given(labels, st.binary(min_size=CODE_BYTES, max_size=CODE_BYTES))
def test_a_code_is_read_as_it_was_written(label, code) -> None:
    text = written(label, code)
    assert read(text) == (label, code)
    assert re.fullmatch(r"\[[A-Z_]+:[a-z2-7]{26}\]", text)


@given(labels, st.binary(min_size=CODE_BYTES, max_size=CODE_BYTES))
def test_a_code_has_one_spelling(label, code) -> None:
    text = written(label, code)
    last = text[-2]
    others = {text[:-2] + other + "]" for other in "abcdefghijklmnopqrstuvwxyz234567"} - {text}
    assert all(read(other) != (label, code) for other in others), last
    assert read(text.upper()) is None
    assert read(f" {text}") is None
    assert read(text + "\n") is None


@pytest.mark.parametrize(
    "text", ["", "[NAME]", "[NAME:]", "[NAME:7f3k]", "[NOPE:" + "a" * 26 + "]", CODE[:-1]]
)
def test_what_is_no_code_is_none(text) -> None:
    assert read(text) is None


@given(labels, st.binary(min_size=CODE_BYTES, max_size=CODE_BYTES), st.text(max_size=20))
def test_every_code_looks_like_one_wherever_it_stands(label, code, around) -> None:
    text = around + written(label, code) + around
    found = alike(text)
    start = len(around)
    assert any(c[0] <= start and c[1] >= len(text) - len(around) for c in found)


def test_values_alike_in_case_and_space_are_one() -> None:
    assert (
        Value(EntityType.NAME, "John  SMITH\n").normal
        == Value(EntityType.NAME, "john smith").normal
    )
    assert Value(EntityType.NAME, "Jon Smith").normal != Value(EntityType.NAME, "john smith").normal


def test_a_value_is_not_shown() -> None:
    assert "Quill" not in repr(Value(EntityType.NAME, "Quill"))


# -- back into a text -----------------------------------------------------------------------------


def test_a_text_is_restored_and_what_was_put_in_is_not_looked_at_again() -> None:
    other = written(EntityType.DATE, os.urandom(CODE_BYTES))
    text = f"a {CODE} b {other} c {CODE}"
    assert standing(text) == [CODE, other]
    assert restored(text, {CODE: other, other: "3 May"}) == f"a {other} b 3 May c {other}"


# -- smuggled codes -------------------------------------------------------------------------------

HIDDEN = [
    CODE,
    CODE.upper(),
    CODE.replace("[", "[ ").replace(":", " :\n "),
    CODE.replace(":", ":\u200b"),
    CODE.replace("[", "［").replace("]", "］"),
    CODE.replace(":", "："),
    CODE[:12] + "\u2060" + CODE[12:],
    "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in CODE),
]


@pytest.mark.parametrize("policy", ["safe_harbor", "limited_data_set", "expert_determination"])
@pytest.mark.parametrize("hidden", HIDDEN, ids=range(len(HIDDEN)))
def test_no_policy_passes_what_looks_like_a_code(policy, hidden) -> None:
    clean = Deidentifier(policy).deidentify(f"Pt seen, {hidden} said the nurse.").text
    assert CODE[6:-1] not in fold(clean)[0].lower().replace("\u200b", "")
    assert not alike(fold(clean)[0])


@pytest.mark.parametrize("label", list(EntityType))
def test_a_code_of_a_type_that_a_policy_keeps_goes_too(label) -> None:
    code = written(label, os.urandom(CODE_BYTES))
    clean = Deidentifier("limited_data_set").deidentify(f"Seen on {code} by us.").text
    assert code[len(label) + 2 : -1] not in clean
    assert "[OTHER_ID]" in clean


def test_a_code_that_the_policy_kept_or_a_replacement_completed_becomes_a_tag() -> None:
    raw = f"x {CODE} y"
    kept = result_of(raw, (2, 2 + len(CODE), EntityType.OTHER_ID, None))
    assert without(raw, kept).text == "x [OTHER_ID] y"

    raw = f"x {CODE[:-5]}03/14/2019] y John"
    start = raw.index("03")
    date = (start, start + 10, EntityType.DATE, "2019")
    name = (len(raw) - 4, len(raw), EntityType.NAME, "[NAME]")
    completed = result_of(raw, date, name)
    assert alike(completed.text)
    clean = without(raw, completed)
    assert clean.text == "x [OTHER_ID] y [NAME]"
    assert [(s.start, s.end, s.label) for s in clean.spans] == [
        (2, start + 11, EntityType.OTHER_ID),
        (len(raw) - 4, len(raw), EntityType.NAME),
    ]
    for row, tag in zip(clean.alignment, ("[OTHER_ID]", "[NAME]"), strict=True):
        assert clean.text[row.out_start : row.out_end] == tag


def test_a_text_without_such_is_left_alone() -> None:
    result = result_of("Pt John", (3, 7, EntityType.NAME, "[NAME]"))
    assert without("Pt John", result) is result


# -- where codes go -------------------------------------------------------------------------------


def test_codes_take_the_place_of_the_tags_that_the_policy_wants_filled() -> None:
    raw = "Pt John on 3 May 2019 at Boston, 02139"
    result = result_of(
        raw,
        (3, 7, EntityType.NAME, "[NAME]"),
        (11, 21, EntityType.DATE, "2019"),
        (25, 31, EntityType.LOCATION, "[LOCATION]"),
        (33, 38, EntityType.LOCATION, "021**"),
    )
    found = places(raw, result, frozenset({EntityType.NAME, EntityType.DATE, EntityType.LOCATION}))
    assert [(p.row, p.value.text) for p in found] == [(0, "John"), (2, "Boston")]
    coded = filled(raw, result, {0: CODE})
    assert coded.text == f"Pt {CODE} on 2019 at [LOCATION], 021**"
    row = coded.alignment[3]
    assert coded.text[row.out_start : row.out_end] == "021**"
    assert coded.spans == result.spans


def test_a_long_value_and_one_that_holds_a_code_keep_their_tag() -> None:
    raw = "a" * (MOST_VALUE + 1) + " " + CODE + " " + HIDDEN[4]
    first, second = MOST_VALUE + 1, MOST_VALUE + 2 + len(CODE)
    tag = TAGS[EntityType.OTHER_ID]
    result = result_of(
        raw,
        (0, first, EntityType.OTHER_ID, tag),
        (first + 1, second, EntityType.OTHER_ID, tag),
        (second + 1, len(raw), EntityType.OTHER_ID, tag),
    )
    assert places(raw, result, frozenset(EntityType)) == []
