"""JSON lines: nothing of a broken one is told, and a file is the same from every place on."""

from __future__ import annotations

import io
import json
import os

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.cli.jsonl import LINE_BYTES, Broken, Lines, Place, check_distinct, dump, parse

BROKEN = {
    "no JSON": (b"{nope Jane", "not-json"),
    "two objects": (b'{"text": "a"} {"text": "Jane"}', "not-json"),
    "no object": (b'["Jane"]', "no-text"),
    "no text": (b'{"note": "Jane"}', "no-text"),
    "text of a wrong type": (b'{"text": 7, "name": "Jane"}', "no-text"),
    "invalid UTF-8": (b'{"text": "Jane \xff"}', "not-utf8"),
    "UTF-16": ('{"text": "Jane"}'.encode("utf-16"), "not-utf8"),
    "too deep": (b"[" * 100_000, "not-json"),
    "no number": (b'{"text": "Jane", "n": NaN}', "not-json"),
    "a number too large": (b'{"text": "Jane", "n": 1e999}', "not-json"),
    "too many digits": (b'{"text": "Jane", "n": ' + b"9" * 5_000 + b"}", "not-json"),
    "too long": (None, "line-too-long"),
}


@pytest.mark.parametrize(("line", "code"), BROKEN.values(), ids=BROKEN)
def test_a_broken_line_has_a_code_and_a_sentence_of_ours(line, code) -> None:
    with pytest.raises(Broken) as found:
        parse(line)
    assert found.value.code == code
    assert "Jane" not in found.value.detail + str(found.value)


def test_a_mark_of_utf8_at_the_beginning_is_no_part_of_the_line() -> None:
    assert parse(b'\xef\xbb\xbf{"text": "a"}\r\n') == {"text": "a"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(), JSON), st.text(st.characters()))
def test_what_is_written_reads_back_as_it_was(members, text) -> None:
    record = {**members, "text": text}
    line = dump(record)
    assert b"\n" not in line
    assert parse(line) == record


def test_a_lone_surrogate_is_written_as_its_escape() -> None:
    assert parse(dump({"text": "a \ud800"})) == {"text": "a \ud800"}


def test_an_object_too_deep_to_be_written_is_broken() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Broken):
        dump({"text": deep})


CONTENT = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"x" * 9, "ü".encode()])).map(
    b"".join
)


@given(CONTENT, st.data())
def test_a_file_gives_the_same_lines_from_every_place_on(content, data) -> None:
    whole = Lines(io.BytesIO(content))
    places, lines = [whole.place], []
    for line in whole:
        lines.append(line)
        places.append(whole.place)
    assert b"".join(lines) == content
    assert lines == content.splitlines(keepends=True)
    index = data.draw(st.integers(0, len(lines)))
    again = Lines(io.BytesIO(content))
    assert again.skip(places[index])
    assert again.line == index
    assert list(again) == lines[index:]
    assert again.place == places[-1]


@given(st.lists(st.integers(0, 40), min_size=1))
def test_a_line_too_long_is_none_and_the_next_ones_are_whole(sizes) -> None:
    lines = [b"x" * size + b"\n" for size in sizes]
    found = Lines(io.BytesIO(b"".join(lines)), longest=16)
    assert list(found) == [line if len(line) <= 16 else None for line in lines]
    assert found.line == len(lines)
    assert found.offset == sum(map(len, lines))


def test_a_last_line_too_long_has_no_end() -> None:
    found = Lines(io.BytesIO(b"ab\n" + b"x" * 50), longest=16)
    assert list(found) == [b"ab\n", None]
    assert found.offset == 53
    assert LINE_BYTES > 1 << 20


def test_another_file_is_told_from_the_one_a_place_is_of() -> None:
    first = Lines(io.BytesIO(b"one\ntwo\nthree\n"))
    next(iter(first))
    assert Lines(io.BytesIO(b"one\nTWO")).skip(first.place)
    assert not Lines(io.BytesIO(b"One\ntwo\nthree\n")).skip(first.place)
    assert not Lines(io.BytesIO(b"on")).skip(first.place)
    assert Lines(io.BytesIO(b"")).skip(Place())


def test_a_file_is_itself_by_every_name(tmp_path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text(json.dumps({"text": "a"}))
    check_distinct(first, second)
    os.link(first, tmp_path / "hard")
    (tmp_path / "soft").symlink_to(first)
    (tmp_path / "to-nothing").symlink_to(second)
    for pair in ((first, tmp_path / "hard"), (first, tmp_path / "soft"), (second, second),
                 (second, tmp_path / "to-nothing")):  # fmt: skip
        with pytest.raises(click.UsageError, match="same file"):
            check_distinct(*pair)
