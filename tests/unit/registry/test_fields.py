from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.errors import ManifestInvalid
from wardgate.registry.fields import Fields, integer, number, read


def test_a_field_is_taken_once_and_what_is_left_over_is_refused():
    fields = read(b'{"a": 1, "b": "x"}', "thing")
    assert fields.has("a")
    assert fields.whole("a", least=0, most=2) == 1
    assert not fields.has("a")
    with pytest.raises(ManifestInvalid, match="thing: the field 'b' is not known"):
        fields.end()
    assert fields.text("b", re.compile("x"), "an x") == "x"
    fields.end()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1, "a": 2}',
        b"[" * 50_000,
        b'{"a": ["\\ud800"]}',
    ],
)
def test_what_is_no_object_is_refused(raw):
    with pytest.raises(ManifestInvalid):
        read(raw, "thing")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda f: f.text("n", re.compile("x"), "an x"), "n: expected an x"),
        (lambda f: f.whole("t", least=0, most=9), "t: expected a whole number from 0 to 9"),
        (lambda f: f.whole("n", least=5, most=9), "n: expected a whole number"),
        (lambda f: f.number("t", least=0, most=1), "t: expected a number"),
        (lambda f: f.one_of("s", "a", "b"), "s: expected 'a' or 'b'"),
        (lambda f: f.texts("l", "texts", least=1, unique=True), "l: expected texts"),
        (lambda f: f.mapping("l"), "l: expected an object"),
        (lambda f: f.items("l"), r"l\[0\]: expected an object"),
        (lambda f: f.items("missing"), "missing: expected a list of at least 1 object"),
    ],
)
def test_a_wrong_field_is_named(call, said):
    with pytest.raises(ManifestInvalid, match=said):
        call(read(b'{"n": 1, "s": "x", "l": ["a", "a"], "t": true}', "thing"))


def test_a_name_that_is_quoted_is_cut():
    fields = Fields({"x" * 500: 1}, "thing")
    with pytest.raises(ManifestInvalid) as refused:
        fields.end()
    assert len(refused.value.detail) < 120


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text())
def test_numbers_are_numbers_and_no_flags(value):
    assert integer(value) == (type(value) is int)
    if number(value):
        assert type(value) in (int, float)
        assert float(value) - float(value) == 0
