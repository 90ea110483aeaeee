"""The first layer by itself: candidates in folded text."""

from __future__ import annotations

import datetime as dt

import pytest

from wardgate.deid import gazetteer
from wardgate.deid.rules import detect
from wardgate.types import EntityType

TODAY = dt.date(2026, 1, 1)


@pytest.mark.parametrize(
    ("text", "found", "label"),
    [
        ("seen by Dr. Marguerite Okonkwo today", "Marguerite Okonkwo", EntityType.NAME),
        ("admitted 03/14/2025 at night", "03/14/2025", EntityType.DATE),
        ("MRN: 00482913", "00482913", EntityType.MRN),
        ("write to m.okonkwo@example.org", "m.okonkwo@example.org", EntityType.EMAIL),
        ("Maria Delgado, 92, of Boston", "92", EntityType.AGE),
    ],
)
def test_each_kind_of_rule_is_asked(text, found, label):
    hits = [
        (text[start:end], kind) for start, end, kind, *_ in detect(text, TODAY, gazetteer.load())
    ]
    assert (found, label) in hits


def test_what_an_earlier_pass_wrote_is_left_alone():
    assert not detect("[NAME] was seen on [DATE], aged 90+.", TODAY, gazetteer.load())
