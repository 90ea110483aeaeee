from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.auth import encoding


@given(st.binary(max_size=80))
def test_what_is_encoded_decodes_to_itself(data: bytes) -> None:
    text = encoding.encode(data)
    assert text == base64.urlsafe_b64encode(data).decode().rstrip("=")
    assert encoding.decode(text.encode()) == data


@given(st.text(alphabet="ABQgwxyz019-_", max_size=12))
def test_only_the_canonical_spelling_decodes(text: str) -> None:
    try:
        data = encoding.decode(text.encode())
    except ValueError:
        rest = len(text) % 4
        lenient = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if rest != 1 else b""
        assert rest == 1 or encoding.encode(lenient) != text
    else:
        assert encoding.encode(data) == text


@pytest.mark.parametrize(
    "text", [b"QQ==", b"QQ=", b"Q Q", b"QQ\n", b"Q", b"QR", b"QUF", b"QU+B", b"QU/B", b"Q\xc3\xa9A"]
)
def test_other_spellings_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        encoding.decode(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'"a"',
        b"1",
        b"null",
        b"{} {}",
        b"{",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1,}',
        b"{'a':1}",
        b'\xff{"a":1}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\x01"}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' + b"9" * 5_000 + b"}",
    ],
)
def test_what_is_not_one_plain_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError) as caught:
        encoding.load_object(data)
    assert not isinstance(caught.value, encoding.DuplicateMemberError)


@pytest.mark.parametrize(
    "data",
    [b'{"a":1,"a":1}', b'{"x":{"a":1,"a":2}}', b'{"x":[{"a":1,"\\u0061":2}]}'],
)
def test_a_member_named_twice_is_refused_at_every_level(data: bytes) -> None:
    with pytest.raises(encoding.DuplicateMemberError):
        encoding.load_object(data)


@given(
    st.dictionaries(st.text(), st.one_of(st.integers(-(2**60), 2**60), st.text(), st.booleans()))
)
def test_json_objects_are_read(value: dict[str, object]) -> None:
    assert encoding.load_object(json.dumps(value).encode()) == value
