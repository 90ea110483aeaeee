"""No word of a name stays that is the name: Mai Do, Priya Das, E. Quill."""

from __future__ import annotations

import re

import pytest

from wardgate.deid.nameparts import plain_of
from wardgate.deid.surrogates import Surrogates


def test_a_word_is_looked_up_without_case_accents_and_possessive():
    assert plain_of("Guti\u00e9rrez's") == "gutierrez"


@pytest.mark.parametrize(
    ("name", "before", "form"),
    [
        ("Mai Do", "", r"X X"),
        ("Do, Mai", "", r"X, X"),
        ("Mai DO", "", r"X X"),
        ("Priya Das", "", r"X X"),
        ("Das's", "", r"X's"),
        ("Le", "Ms. ", r"X"),
        ("Al Smith", "", r"X X"),
        ("Della Meislish", "", r"X X"),
        ("E. Quill", "", r"X. X"),
        ("Maria E", "", r"X X"),
        ("Maria E. Quill", "", r"X X. X"),
        ("Kim Le, MD", "", r"X X, MD"),
        ("Jane Quill DO", "", r"X X DO"),
        ("Quill, Jane, DO", "", r"X, X, DO"),
        ("De La Cruz", "", r"De La X"),
        ("Van Dyke", "Dr. ", r"Van X"),
        ("Ortega y Gasset", "", r"X y X"),
        ("Maria del Carmen", "", r"X del X"),
    ],
)
def test_a_particle_stays_only_where_it_leads_to_a_name(name, before, form):
    new = Surrogates(bytes(32), "").name(name, before)
    pattern = re.escape(form).replace("X", r"([A-Z][a-z]*|[A-Z]+)")
    found = re.fullmatch(pattern, new)
    assert found
    assert not {word.lower() for word in found.groups()} & set(re.findall(r"\w+", name.lower()))
