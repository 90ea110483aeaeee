"""Sealed values: what they are bound to, and what shows from outside."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid.codes import CODE_BYTES, Value
from wardgate.deid.vault_keys import KEY_BYTES, KeyFolder
from wardgate.deid.vault_seal import Kept, Order, Row, index, seal, unseal
from wardgate.errors import VaultUnavailable
from wardgate.types import EntityType

ROW = Row(os.urandom(CODE_BYTES), b"i" * 32, 2_000_000_000)
NAME = EntityType.NAME


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    folder = KeyFolder(tmp_path_factory.mktemp("vault") / "keys", os.urandom(KEY_BYTES))
    return folder.open("clinic", folder.make("clinic"))


def order(text="John Smith", patient="p1", tenant="clinic", own=b""):
    return Order(tenant, patient, [Value(NAME, text)], own)


@given(st.text(), st.text(max_size=64))
def test_what_is_sealed_opens(key, text, patient) -> None:
    sealed = seal(key, order(text, patient), Value(NAME, text), ROW)
    assert unseal(key, "clinic", NAME, ROW, sealed) == Kept(NAME, text, patient)


def test_a_lone_surrogate_comes_back(key) -> None:
    sealed = seal(key, order(), Value(NAME, "J\ud800n"), ROW)
    assert unseal(key, "clinic", NAME, ROW, sealed).text == "J\ud800n"


@pytest.mark.parametrize(
    "moved",
    [
        {"tenant": "other"},
        {"label": EntityType.DATE},
        {"row": replace(ROW, code=bytes(CODE_BYTES))},
        {"row": replace(ROW, found_by=b"j" * 32)},
        {"row": replace(ROW, expires=ROW.expires + 1)},
    ],
    ids=lambda moved: next(iter(moved)),
)
def test_what_is_moved_does_not_open(key, moved) -> None:
    sealed = seal(key, order(), Value(NAME, "John Smith"), ROW)
    where = {"tenant": "clinic", "label": NAME, "row": ROW} | moved
    with pytest.raises(VaultUnavailable) as refused:
        unseal(key, where["tenant"], where["label"], where["row"], sealed)
    assert refused.value.reason == "vault-tampered"


@given(st.integers(0, 1_000_000))
def test_a_changed_bit_does_not_open(key, at) -> None:
    sealed = bytearray(seal(key, order(), Value(NAME, "John Smith"), ROW))
    at %= len(sealed) * 8
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises(VaultUnavailable):
        unseal(key, "clinic", NAME, ROW, bytes(sealed))


@pytest.mark.parametrize("size", [0, 5, 27])
def test_what_is_too_short_does_not_open(key, size) -> None:
    with pytest.raises(VaultUnavailable):
        unseal(key, "clinic", NAME, ROW, b"x" * size)


def test_length_and_value_do_not_show(key) -> None:
    short, long = (seal(key, order(), Value(NAME, text), ROW) for text in ("Al", "Alexandra Q"))
    assert len(short) == len(long)
    assert b"Alexandra" not in long
    assert short != seal(key, order(), Value(NAME, "Al"), ROW)


def test_the_index_tells_patients_types_and_requests_apart(key) -> None:
    value, date = Value(NAME, "May"), Value(EntityType.DATE, "May")
    found = {
        index(key, order(), value),
        index(key, order(patient="p2"), value),
        index(key, order(), date),
        index(key, order(patient="", own=b"1"), value),
        index(key, order(patient="", own=b"2"), value),
        index(key, order(patient="p", own=b"1"), value),
    }
    assert len(found) == 6
    assert index(key, order(), value) == index(key, order("another"), Value(NAME, " MAY "))


def test_nothing_of_a_value_is_shown() -> None:
    assert "Quill" not in repr(order("Quill"))
    assert "Quill" not in repr(Kept(NAME, "Quill", ""))
