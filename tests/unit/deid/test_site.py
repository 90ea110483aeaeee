from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid.policyfile import parse_site
from wardgate.deid.site import LONGEST, NONE, compiled, shortest
from wardgate.deid.spans import Place
from wardgate.deid.transform import TAG
from wardgate.errors import SettingsInvalid
from wardgate.types import EntityType

NAME = EntityType.NAME


def _judged(site, text, found=()):
    return [(c[0], c[1], c[2]) for c in parse_site(site).judge(text, list(found), TAG)]


def _said(site, text, found=()):
    return [text[a:b] for a, b, _ in _judged(site, text, found)]


def _identifier(pattern, example, **more):
    return {"identifiers": [{"type": "MRN", "pattern": pattern, "examples": [example], **more}]}


@pytest.mark.parametrize(
    ("pattern", "example", "text", "hits"),
    [
        (r"UH-\d{7}", "UH-1234567", "uh-1234567, UH-12345678 XUH-1234567", ["uh-1234567"]),
        (r"[A-C]\d{3,5}", "A123", "B1234 D1234 A12 C123456", ["B1234"]),
        (r"E?\d{6}", "123456", "E123456 123456 F123456", ["E123456", "123456"]),
        (r"\d{3} \d{3}", "123 456", "123 456-7 x", ["123 456"]),
        (r"\.\d{4}\[x\]", ".1234[x]", "a .1234[x] b", [".1234[x]"]),
    ],
)
def test_identifiers_of_the_site(pattern, example, text, hits):
    assert _said(_identifier(pattern, example), text) == hits


def test_words_that_must_stand_before():
    site = _identifier(r"\d{3}", "123", after=["Encounter"])
    assert _said(site, "room 123, encounter no. 456") == ["456"]
    assert _said(site, "encounter" + " " * 40 + "123") == []


@pytest.mark.parametrize(
    "pattern",
    [
        "", "(a)", "a|b", "a*", "a+", "a{2,}", "a{3,2}", "a{0}", "[^a]", "[z-a]", r"\w", ".", "^a",
        r"\d{65}", "é", "a{1", "a??", r"(\d+)+",
    ],
)  # fmt: skip
def test_no_other_syntax_is_taken(pattern):
    with pytest.raises(SettingsInvalid):
        compiled(pattern)


ATOMS = st.sampled_from([r"\d", "[0-9A-F]", "[a-z]", "a", "7", "-"])
TIMES = st.sampled_from(["", "?", "{2}", "{1,3}", "{4,8}"])


@given(st.lists(st.tuples(ATOMS, TIMES), min_size=1, max_size=6))
def test_what_is_taken_cannot_backtrack(parts):
    pattern = "".join(a + t for a, t in parts)
    found = compiled(pattern)
    # every repeat is possessive and none holds another
    assert all(piece.endswith("+") for piece in re.findall(r"\{\d+,\d+\}.?", found.pattern))
    assert shortest(pattern) <= LONGEST


def test_a_repeat_gives_nothing_back():
    assert compiled(r"\d{1,3}[a-z]").fullmatch("123a")
    assert compiled(r"\d{1,3}\d").fullmatch("123") is None


def test_persons_to_hide_in_any_case_accent_and_spacing():
    site = {"salt": "0" * 16, "deny": {"NAME": ["Élodie Quux-Zed"], "LOCATION": ["the blue ward"]}}
    text = "ELODIE  quux zed; Elodie alone; elodie\nquux-zed's. The Blue Ward"
    assert _said(site, text) == ["ELODIE  quux zed", "elodie\nquux-zed", "The Blue Ward"]
    found = parse_site(site).judge(text, [], TAG)
    assert found[-1][2:] == (EntityType.LOCATION, 1.0, Place.FACILITY)


def test_the_longest_entry_counts_and_what_was_written_before_stays():
    site = {"salt": "0" * 16, "deny": {"NAME": ["name", "ann", "ann lee"]}}
    assert _said(site, "[NAME] ann lee, Ann") == ["ann lee", "Ann"]


def test_allowed_words_are_left_alone_only_where_all_of_a_candidate_is_allowed():
    site = {"allow": ["Kaposi", "will rose form"]}
    text = "Kaposi; Kaposi Smith; Will Rose form; Will Rose"
    spans = [(0, 6), (8, 20), (22, 31), (38, 47)]
    found = [(a, b, NAME, 0.9, None) for a, b in spans]
    assert _said(site, text, found) == ["Kaposi Smith", "Will Rose"]


def test_the_sites_own_is_never_dropped():
    site = {
        "salt": "0" * 16,
        "deny": {"NAME": ["kaposi"]},
        "allow": ["kaposi"],
        "thresholds": {"NAME": 1},
    }
    assert _said(site, "Kaposi", [(0, 6, NAME, 0.9, None)]) == ["Kaposi"]


def test_thresholds_are_of_a_type():
    site = {"thresholds": {"NAME": 0.8}}
    found = [(0, 1, NAME, 0.8, None), (2, 3, NAME, 0.79, None), (4, 5, EntityType.MRN, 0.1, None)]
    assert [c[:2] for c in _judged(site, "a b c", found)] == [(0, 1), (4, 5)]


def test_a_site_that_adds_nothing_changes_nothing():
    found = [(0, 1, NAME, 0.1, None)]
    assert NONE.judge("a", found, TAG) is found


@given(st.text(max_size=80))
def test_any_text(text):
    site = {
        "salt": "0" * 16,
        "deny": {"NAME": ["ab cd"]},
        "allow": ["ef"],
        **_identifier(r"[A-Z]\d{3,4}", "A123"),
    }
    for start, end, _ in _judged(site, text):
        assert 0 <= start < end <= len(text)
