"""The values: raw text never shows, and what crosses a step cannot be changed."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate import types
from wardgate.types import (
    PHI,
    CleanText,
    Deidentified,
    Encoding,
    EntityType,
    Priority,
    RequestContext,
    Span,
)

SECRET = "Jane Roe, MRN 4471"
SHOWN = "PHI(18 chars)"

WAYS = {
    "repr": repr,
    "str": str,
    "f-string": lambda value: f"{value}",
    "f-string with width": lambda value: f"{value:>40}".strip(),
    "f-string with !r": lambda value: f"{value!r}",
    "percent": lambda value: "%s" % value,  # noqa: UP031 -- the way that logging formats
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "deep copy": copy.deepcopy,
    "in a dataclass": lambda value: str(RequestContext(patient=value)),
    "as a dictionary": lambda value: str(dataclasses.asdict(RequestContext(patient=value))),
    "in an exception": lambda value: str(ValueError(value)),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_raw_text_shows_its_length_alone(way) -> None:
    found = way(PHI(SECRET))
    assert SHOWN in found
    assert "Jane" not in found
    assert "4471" not in found


def test_raw_text_does_not_reach_a_log(caplog) -> None:
    logging.getLogger("test").warning("note %s of %r", PHI(SECRET), PHI(SECRET))
    assert caplog.messages == [f"note {SHOWN} of {SHOWN}"]


def test_raw_text_is_no_string_and_has_no_json() -> None:
    with pytest.raises(TypeError) as refused:
        json.dumps({"text": PHI(SECRET)})
    assert "Jane" not in str(refused.value)
    assert not isinstance(PHI(SECRET), str)
    assert not hasattr(PHI(SECRET), "__dict__")
    with pytest.raises(TypeError):
        "" + PHI(SECRET)  # type: ignore[operator]


@given(st.text())
def test_reveal_gives_the_very_text(text: str) -> None:
    assert PHI(text).reveal() == text
    assert len(PHI(text)) == len(text)


VALUES = [
    value
    for value in vars(types).values()
    if dataclasses.is_dataclass(value) and value.__module__ == types.__name__
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_every_value_is_frozen_and_slotted(value) -> None:
    assert value.__dataclass_params__.frozen
    assert "__slots__" in vars(value)
    assert value.__doc__


def test_there_are_values() -> None:
    assert len(VALUES) >= 12


def test_entity_types_are_those_of_the_interface() -> None:
    assert [each.value for each in EntityType] == [
        "NAME",
        "DATE",
        "AGE",
        "LOCATION",
        "PHONE",
        "FAX",
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
        "PHOTO",
        "OTHER_ID",
    ]


def test_counts_add_up_by_type() -> None:
    spans = (
        Span(0, 4, EntityType.NAME, 0.9),
        Span(5, 8, EntityType.NAME, 0.9),
        Span(9, 12, EntityType.DATE, 1.0),
    )
    clean = Deidentified(CleanText("[NAME] [NAME] [DATE]"), spans, (), "safe_harbor", "0" * 64)
    assert clean.counts == {"NAME": 2, "DATE": 1}


def test_spans_sort_by_position() -> None:
    later, first = Span(7, 9, EntityType.AGE, 1.0), Span(2, 3, EntityType.URL, 0.1)
    assert sorted([later, first]) == [first, later]


def test_windows_are_the_rows_of_an_encoding() -> None:
    assert Encoding(([1, 2], [3])).windows == 2


def test_a_request_is_interactive_and_waits_ten_seconds_unless_it_says_otherwise() -> None:
    context = RequestContext()
    assert context.priority is Priority.INTERACTIVE
    assert context.timeout_ms == 10_000
