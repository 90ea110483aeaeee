"""Records end where CSV says, whatever stands in quotes; columns are found, or refused silently."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.cli.files.records import Records, form
from wardgate.cli.journal import Refused
from wardgate.cli.jsonl import Place


def read(content: bytes, *, longest: int = 1 << 20) -> list[tuple[int, bytes | None]]:
    records = Records(io.BytesIO(content), ",", longest=longest)
    return [(records.number, raw) for raw in records]


CELL = st.text(st.sampled_from('ab,;"\n\r é'), max_size=6)


@given(
    st.lists(st.lists(CELL, min_size=2, max_size=3), max_size=6), st.sampled_from(["\n", "\r\n"])
)
def test_what_python_writes_is_cut_as_python_reads_it(rows, end) -> None:
    written = io.StringIO()
    csv.writer(written, lineterminator=end).writerows(rows)
    content = written.getvalue().encode()
    records = read(content)
    assert b"".join(raw or b"" for _, raw in records) == content
    assert len(records) == len(rows)
    for number, raw in records:
        before = content[: content.index(raw)] if rows.count(rows[0]) == 1 else None
        if before is not None and content.count(raw) == 1:
            assert number == before.count(b"\n") + 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"a,b", [(1, b"a,b")]),
        (b'a,"x\ny"\nb\n', [(1, b'a,"x\ny"\n'), (3, b"b\n")]),
        (b'a,5" x\nb\n', [(1, b'a,5" x\n'), (2, b"b\n")]),
        (b'"x""\n""y",z\nb\n', [(1, b'"x""\n""y",z\n'), (3, b"b\n")]),
        (b'"x"junk\nb\n', [(1, b'"x"junk\n'), (2, b"b\n")]),
        (b'a,"open\nb\nc\n', [(1, b'a,"open\nb\nc\n')]),
        (b"\n\na\n", [(1, b"\n"), (2, b"\n"), (3, b"a\n")]),
    ],
)
def test_where_records_end(content, expected) -> None:
    assert read(content) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"x" * 40 + b"\nb\n", [(1, None), (2, b"b\n")]),
        (b'a,"' + b"x\n" * 20 + b'"\nb\n', [(1, None), (22, b"b\n")]),
        (b'a,"' + b"x" * 40 + b'\n"\nb\n', [(1, None), (3, b"b\n")]),
        (b'a,"' + b'x""' * 15 + b'",c\nb\n', [(1, None), (2, b"b\n")]),
        (b'a,"' + b"x\n" * 40, [(1, None)]),
        (b"x" * 20, [(1, b"x" * 20)]),
    ],
)
def test_a_record_too_long_is_passed_over_to_its_end(content, expected) -> None:
    assert read(content, longest=20) == expected


def test_a_place_between_records_is_gone_on_from() -> None:
    content = b'h\na,"x\ny"\nb\n'
    records = Records(io.BytesIO(content), ",")
    walk = iter(records)
    next(walk), next(walk)
    place = records.place
    assert (place.offset, place.line) == (10, 3)
    again = Records(io.BytesIO(content), ",")
    next(iter(again))
    assert again.skip(place)
    assert list(again) == [b"b\n"]
    assert again.number == 4
    assert not Records(io.BytesIO(b'h\nb,"x\ny"\nb\n'), ",").skip(place)
    assert Records(io.BytesIO(content), ",").skip(Place())


# -- columns --------------------------------------------------------------------------------------


def test_columns_are_found_by_name_or_by_number() -> None:
    head = b'\xef\xbb\xbfid,"note",  free text ,"a,b","q""q"\r\n'
    found = form(head, ",", ["note", "free text", "a,b", 'q"q', "id"], header=True)
    assert (found.columns, found.width, found.header) == ((1, 2, 3, 4, 0), 5, True)
    found = form(b"Jane|x|y", "|", ["3", "1"], header=False)
    assert (found.columns, found.width, found.header) == ((2, 0), 3, False)


@pytest.mark.parametrize(
    ("first", "column", "header", "why"),
    [
        (b"Jane,b", "note", True, "no column 'note'"),
        (b"note,note", "note", True, "more than one"),
        (b"Jane,b", "3", False, "numbered from 1"),
        (b"", "note", True, "no column"),
        (b'"Jane"x,b', "note", True, "not CSV"),
        (b"Jan\xe9,b", "note", True, "not CSV in UTF-8"),
        (None, "note", True, "too long"),
        (b"note,id\rJane,1\r", "note", True, "more than one line"),
        (b'note,id,"x\nJane,1,y"\n', "note", True, "more than one line"),
        (b"note,id\rJane,1\r", "1", False, "not CSV"),
    ],
)
def test_a_column_that_is_not_there_is_refused_without_a_word_of_the_record(
    first, column, header, why
) -> None:
    with pytest.raises(Refused, match=why) as refused:
        form(first, ",", [column], header=header)
    assert "Jan" not in refused.value.message
