from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny_models
from wardgate.errors import ManifestInvalid, ModelOutputInvalid, NoteExceedsModel
from wardgate.nlp.tokenize import Tokenizer, split

CLS, SEP, UNKNOWN = 2, 3, 1


def words(count):
    return " ".join(f"w{number % 500}" for number in range(count))


def ids(count):
    return [5 + number % 500 for number in range(count)]


def test_a_short_text_is_one_row_with_its_special_tokens():
    tokenizer = Tokenizer(tiny_models.tokenizer_json(), 64, 8)
    assert tokenizer.encode("a w1 nowhere").rows == ([CLS, 4, 6, UNKNOWN, SEP],)


def test_an_empty_text_is_its_special_tokens_alone():
    assert Tokenizer(tiny_models.tokenizer_json(), 64, 8).encode("").rows == ([CLS, SEP],)


def test_a_text_of_just_the_models_length_is_one_row():
    encoding = Tokenizer(tiny_models.tokenizer_json(), 64, None).encode(words(62))
    assert encoding.rows == ([CLS, *ids(62), SEP],)


def test_a_longer_text_is_refused_where_there_is_no_rule_for_windows():
    tokenizer = Tokenizer(tiny_models.tokenizer_json(), 64, None)
    with pytest.raises(NoteExceedsModel):
        tokenizer.encode(words(63))


@given(count=st.integers(0, 900), length=st.integers(8, 64), overlap=st.integers(0, 5))
def test_windows_hold_every_token_in_order_and_share_the_overlap(count, length, overlap):
    tokenizer = Tokenizer(tiny_models.tokenizer_json(), length, overlap)
    rows = tokenizer.encode(words(count)).rows
    assert all(row[0] == CLS and row[-1] == SEP and len(row) <= length for row in rows)
    joined = rows[0][1:-1]
    for row in rows[1:]:
        inner = row[1:-1]
        assert inner[:overlap] == joined[len(joined) - overlap :]
        joined += inner[overlap:]
    assert joined == ids(count)


@given(
    tokens=st.integers(1, 100_000),
    room=st.integers(1, 600),
    share=st.floats(0, 1, exclude_max=True),
)
def test_windows_are_as_few_as_can_be_and_alike_in_size(tokens, room, share):
    overlap = int(room * share)
    windows = split(tokens, room, overlap)
    sizes = [end - start for start, end in windows]
    assert windows[0][0] == 0
    assert windows[-1][1] == tokens
    assert max(sizes) <= room
    assert max(sizes) - min(sizes) <= 1
    assert all(
        right[0] == left[1] - overlap and right[1] > left[1] for left, right in pairwise(windows)
    )
    fewer = len(windows) - 1
    assert fewer == 0 or fewer * (room - overlap) + overlap < tokens


def test_the_files_own_truncation_and_padding_are_off():
    """A tokenizer.json may ask to cut; a note is never cut."""
    tokenizer = Tokenizer(tiny_models.tokenizer_json(truncation=4), 64, None)
    assert tokenizer.encode(words(20)).rows == ([CLS, *ids(20), SEP],)
    assert tokenizer.encode("a").rows == ([CLS, 4, SEP],)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"not json"])
def test_a_file_that_is_no_tokenizer_is_refused(content):
    with pytest.raises(ManifestInvalid, match=r"tokenizer\.json"):
        Tokenizer(content, 64, 8)


@pytest.mark.parametrize(("length", "overlap"), [(2, None), (8, 6), (8, -1)])
def test_a_length_or_overlap_that_leaves_no_room_is_refused(length, overlap):
    with pytest.raises(ManifestInvalid):
        Tokenizer(tiny_models.tokenizer_json(), length, overlap)


def test_a_panic_of_the_library_is_an_error_like_any_other(capfd):
    tree = json.loads(tiny_models.tokenizer_json())
    tree["pre_tokenizer"] = {
        "type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip
    tokenizer = Tokenizer(json.dumps(tree).encode(), 64, 8)
    with pytest.raises(ModelOutputInvalid, match="tokenizer failed"):
        tokenizer.encode("a" * 64 + "!")
    capfd.readouterr()  # the library writes its panic to stderr
