from __future__ import annotations

import pytest

from wardgate.deid.reread import calm, reread, touches
from wardgate.types import EntityType


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seen 2019 by", True),
        ("seen 2019.", True),
        ("2019\n", True),
        ("(2019) was", True),
        ("[NAME], 2019, then", True),
        ("seen 2019 Will Dr.", False),
        ("seen 2019 n Main", False),
        ("555 2019 was", False),
        ("in mar 2019 was", False),
        ("ssn 2019 was", False),
        ("seen 2019-03 was", False),
        ("A 2019 was", False),
    ],
)
def test_a_year_between_small_words_and_stops_is_calm(text, expected):
    at = text.index("2019")
    assert calm(text, at, at + 4) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[NAME]", False),
        ("to [NAME], MD", False),
        ("[NAME]: yes", False),
        ("[NAME]'s", False),
        ("a[NAME]", True),
        ("[NAME]-7", True),
        ("[NAME]a", True),
    ],
)
def test_what_touches_a_tag(text, expected):
    at = text.index("[NAME]")
    assert touches(text, at, at + 6) is expected


def test_what_is_found_stands_where_it_is_in_the_clean_text_and_reading_is_bounded():
    text = "word " * 100 + "[NAME]-x \u200bhit " + "word " * 100

    def read(part):
        at = part.find("hit")
        return [] if at < 0 else [(at, at + 3, EntityType.NAME, 1.0, None)]

    at = text.index("[")
    found, left_over = reread(text, [(at, at + 6), (900, 906)], read, 1)
    assert {text[c[0] : c[1]] for c in found} == {"hit"}
    assert left_over == [(900, 906)]
