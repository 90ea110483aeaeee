from __future__ import annotations

import pytest

from wardgate.deid import fullnames, gazetteer

WORDS = gazetteer.load()


@pytest.mark.parametrize(
    ("last", "first", "shouted", "is_name"),
    [
        ("smith", "john", True, True),
        ("smith", "mary", False, True),
        ("the", "john", False, False),
        ("pain", "will", False, False),
    ],
)
def test_inverted_names(last, first, shouted, is_name):
    assert fullnames.surname_of(last, first, shouted, WORDS) is is_name


@pytest.mark.parametrize(
    ("text", "known", "is_label"),
    [
        ("Attending: X", False, True),
        ("Patient: X", False, False),
        ("Patient: X", True, True),
        ("Weight: X", True, False),
        ("X", True, False),
    ],
)
def test_labels(text, known, is_label):
    assert fullnames.labelled(text, text.index("X"), known) is is_label
