from __future__ import annotations

import pytest

from wardgate.deid.context import label_left, last_word
from wardgate.types import EntityType


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ("mrn: ", (EntityType.MRN, True, True)),
        ("ssn last 4 ", (EntityType.SSN, True, False)),
        ("policy number is ", (EntityType.HEALTH_PLAN, False, True)),
        ("plan for ", (EntityType.HEALTH_PLAN, False, False)),
        ("id: ", (None, False, True)),
        ("gave aspirin ", (None, False, False)),
        ("mrn 12345 ", (None, False, False)),
        ("", (None, False, False)),
    ],
)
def test_the_nearest_label_decides(left, expected):
    assert label_left(left + "1234", len(left)) == expected


@pytest.mark.parametrize(
    ("left", "word"),
    [("seen in ", "in"), ("born (", "born"), ("line\n", ""), ("", ""), ("on: ", "on")],
)
def test_last_word(left, word):
    assert last_word(left + "x", len(left)) == word
