from __future__ import annotations

import os
from dataclasses import replace
from hashlib import sha256

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from wardgate.audit import chain

KEY = Ed25519PrivateKey.generate()
KEYS = {"k1": KEY.public_key()}
SECRET = os.urandom(32)


def mark(seq=3, key=KEY, key_id="k1", secret=SECRET, digest=bytes(range(32))):
    return chain.sign_head(
        key, key_id, chain="w0-ab", seq=seq, digest=digest, time=17, secret=secret
    )


events = st.dictionaries(st.text(max_size=8), st.integers(-9, 9) | st.text(max_size=20)).map(
    lambda value: orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
)


@given(st.lists(events, min_size=1, max_size=8), st.data())
def test_a_record_follows_only_where_it_was_linked(bodies, data):
    linker, prev, records, hashes = chain.Linker("w0-ab", "k1"), chain.GENESIS, [], []
    for seq, body in enumerate(bodies, 1):
        record = linker.link(body, seq, prev)
        assert chain.follows(record, chain="w0-ab", seq=seq, prev=prev)
        hashes.append(prev)
        records.append(record)
        prev = sha256(record).digest()
    for seq, record in enumerate(records, 1):
        at = data.draw(st.integers(1, len(records)))
        expected = at == seq
        assert chain.follows(record, chain="w0-ab", seq=at, prev=hashes[at - 1]) is expected


@given(events)
def test_a_record_carries_its_envelope(body):
    record = chain.Linker("w0-ab", "k1").link(body, 7, b"\x01" * 32)
    value = orjson.loads(record)
    assert value == {
        "alg": "sha256",
        "chain": "w0-ab",
        "event": orjson.loads(body),
        "format": 1,
        "key": "k1",
        "prev": "01" * 32,
        "seq": 7,
    }
    assert list(value) == sorted(value)


@pytest.mark.parametrize("record", [b"", b"{}", b"[]", b"\xff", b'"x"', b'{"chain":"w0-ab"}'])
def test_bytes_that_are_no_record_follow_nothing(record):
    assert not chain.follows(record, chain="w0-ab", seq=1, prev=chain.GENESIS)


def test_a_head_survives_its_line():
    head = mark().head
    assert chain.parse_head(head.line()) == head
    assert head.signed_by(KEYS)


@pytest.mark.parametrize(
    "change",
    [
        {"chain": "w1-cd"},
        {"seq": 4},
        {"hash": bytes(32)},
        {"time": 18},
        {"key": "k2"},
        {"seal": "0" * 64},
        {"signature": bytes(64)},
    ],
)
def test_every_field_of_a_head_is_signed(change):
    keys = {**KEYS, "k2": KEY.public_key()}
    assert not replace(mark().head, **change).signed_by(keys)


def test_a_head_signed_by_another_key_is_not_ours():
    other = Ed25519PrivateKey.generate()
    assert not mark(key=other).head.signed_by(KEYS)
    assert not mark(key=other, key_id="k9").head.signed_by(KEYS)


def test_the_end_mark_needs_the_secret_of_its_own_head():
    end = mark()
    assert chain.parse_end(end.line()) == end
    assert end.valid(KEYS)
    older = mark(seq=2, secret=os.urandom(32))
    assert not replace(older, secret=end.secret).valid(KEYS)
    assert not replace(end, head=older.head).valid(KEYS)


def test_the_end_mark_fits_one_sector():
    longest = chain.sign_head(
        KEY, "f" * 16, chain="w" * (16 + 9), seq=2**63, digest=SECRET, time=2**62, secret=SECRET
    )
    assert len(longest.line()) <= 512


@given(st.binary(max_size=600))
def test_garbage_is_neither_head_nor_end(line):
    assert chain.parse_head(line) is None
    assert chain.parse_end(line) is None


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"alg": "md5"}, {"seq": "3"}, {"hash": "zz"}, {"time": 1.5}]
)
def test_a_head_of_another_form_is_none(change):
    line = orjson.dumps(orjson.loads(mark().head.line()) | change)
    assert chain.parse_head(line) is None
