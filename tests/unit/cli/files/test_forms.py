"""Forms: what is named is replaced, all else stays to the byte, and what is odd is refused."""

from __future__ import annotations

import csv
import io
import json
import marshal
import os
import re
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wardgate.cli.files.forms import (
    TEXT_CHARS,
    Cells,
    JsonLine,
    Record,
    TextFile,
    pack,
    split,
    unpack,
    work,
)
from wardgate.cli.jsonl import LINE_BYTES, Broken
from wardgate.errors import DetectorFailed
from wardgate.types import CleanText, Deidentified, EntityType, Replacement, Span

NOTE = "Seen by Jane; no fever."
CLEAN = "Seen by [NAME]; no fever."


def DETECT(text: str, *, patient: str | None = None) -> Deidentified:  # noqa: N802 -- used as a constant
    """Find every `Jane`."""
    starts = [match.start() for match in re.finditer("Jane", text)]
    return Deidentified(
        CleanText(text.replace("Jane", patient or "[NAME]")),
        tuple(Span(start, start + 4, EntityType.NAME, 1.0) for start in starts),
        tuple(Replacement(at, at + 4, at + 2 * n, at + 2 * n + 6) for n, at in enumerate(starts)),
        "test",
        "0",
    )


def done(form, raw: bytes | None, number: int = 2) -> tuple[bytes, Counter[str]]:
    counts: Counter[str] = Counter()
    return form((number, raw), DETECT, counts), counts


# -- lines ----------------------------------------------------------------------------------------


def test_a_line_keeps_its_fields_and_gets_two_more() -> None:
    given_ = {"id": 7, "text": NOTE, "spans": "old", "nested": {"a": [1, None, 1.5]}}
    line, counts = done(JsonLine(), json.dumps(given_).encode())
    found = json.loads(line)
    assert line.endswith(b"\n")
    assert found.pop("deidentified") == CLEAN
    spans = found.pop("spans")
    assert [NOTE[s["start"] : s["end"]] for s in spans] == ["Jane"]
    assert all(s.keys() == {"start", "end", "label", "score"} for s in spans)
    assert found == {"id": 7, "text": NOTE, "nested": {"a": [1, None, 1.5]}}
    assert counts == {"NAME": 1}


def test_the_text_can_be_left_out() -> None:
    line, _ = done(JsonLine(keep_text=False), json.dumps({"text": NOTE}).encode())
    assert json.loads(line).keys() == {"deidentified", "spans"}
    assert b"Jane" not in line


# -- records --------------------------------------------------------------------------------------


def record(*columns: int, width: int = 3, delimiter: str = ",", header: bool = True) -> Record:
    return Record(delimiter, columns, width, header)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (f'1,"{NOTE}",x\r\n', f'1,"{CLEAN}",x\r\n'),
        (f"1,{NOTE},x\n", f"1,{CLEAN},x\n"),
        (f'"a""b",{NOTE},"x,y"', f'"a""b",{CLEAN},"x,y"'),
        (f'1,"{NOTE}\nBP ""124/78"", ok",x\n', f'1,"{CLEAN}\nBP ""124/78"", ok",x\n'),
        (f'1,5" scar {NOTE},x\n', f'1,"5"" scar {CLEAN}",x\n'),
        ('1,"no change",x\n', '1,"no change",x\n'),
        ('1,5" scar,x\n', '1,5" scar,x\n'),
        ("1,,x\n", "1,,x\n"),
        ('1,"",x\n', '1,"",x\n'),
        ("\r\n", "\r\n"),
    ],
)
def test_a_field_is_replaced_and_all_else_stays_to_the_byte(raw, expected) -> None:
    assert done(record(1), raw.encode())[0].decode() == expected


def test_several_columns_and_another_delimiter() -> None:
    form = record(0, 2, delimiter="\t")
    row, counts = done(form, f"{NOTE}\tDr. Jane\t{NOTE}\n".encode())
    assert row.decode() == f"{CLEAN}\tDr. Jane\t{CLEAN}\n"
    assert counts == {"NAME": 2}


def test_the_header_is_copied_and_the_first_record_without_one_is_not() -> None:
    raw = b"Dr. Jane,Dr. Jane,x\n"
    assert done(record(0), raw, number=1)[0] == raw
    assert b"Jane" not in done(record(0, 1, header=False), raw, number=1)[0]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'1,"Jane"x,y\n', "bad-quoting"),
        (b'1,"Jane,y\n', "bad-quoting"),
        (b"1,Jane\n", "wrong-columns"),
        (b"1,Jane,y,z\n", "wrong-columns"),
        (b"1,Jane \xff,y\n", "not-utf8"),
        (b"1,Jane\rJane,y\n", "stray-return"),
        (b'1,Jane\rJane,"y"\n', "stray-return"),
        (None, "text-too-long"),
    ],
)
def test_a_record_that_is_not_what_it_should_be_is_refused(raw, code) -> None:
    with pytest.raises(Broken) as why:
        done(record(1), raw)
    assert why.value.code == code
    assert "Jane" not in why.value.detail


def test_what_is_found_in_a_broken_record_is_not_counted() -> None:
    form = record(0, 1)
    rows, counts = work(form, [(2, f"{NOTE},\xff,y".encode("latin-1"))], DETECT)
    assert rows == [("not-utf8", "not UTF-8")]
    assert counts == {}


FIELDS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r")), min_size=1)


@given(FIELDS, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(",;\t|"))
@example(['"', ""], csv.QUOTE_MINIMAL, ",")
def test_what_python_writes_is_split_as_python_reads_it(fields, quoting, delimiter) -> None:
    written = io.StringIO()
    csv.writer(written, quoting=quoting, delimiter=delimiter, lineterminator="").writerow(fields)
    found = split(written.getvalue().encode(), delimiter)
    assert delimiter.encode().join(found) == written.getvalue().encode()
    form = record()
    assert [form._text(field) for field in found] == fields


def test_splitting_is_linear() -> None:
    for raw in (b'"' * 200_001, b'a"' * 100_000, b'"a' * 100_000, b'""' * 100_000 + b"x"):
        with pytest.raises(Broken):
            split(b'"' + raw + b'"x', ",")


# -- cells and files ------------------------------------------------------------------------------


def test_cells_are_replaced_and_empty_ones_stay() -> None:
    raw, counts = done(Cells(), marshal.dumps([NOTE, None, ""]))
    assert marshal.loads(raw) == [CLEAN, None, ""]
    assert counts == {"NAME": 1}
    with pytest.raises(Broken):
        done(Cells(), None)
    with pytest.raises(Broken, match="not UTF-8"):
        done(Cells(), marshal.dumps([NOTE, b""]))


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "in" / "ward").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    return tmp_path / "in", tmp_path / "out"


def test_a_file_goes_to_the_same_path_private_and_whole(folders) -> None:
    source, target = folders
    (source / "ward" / "a.txt").write_text(NOTE)
    line, counts = done(TextFile(str(source), str(target)), b"ward/a.txt")
    assert (target / "ward" / "a.txt").read_text() == CLEAN
    assert (target / "ward" / "a.txt").stat().st_mode & 0o777 == 0o600
    assert (target / "ward").stat().st_mode & 0o777 == 0o700
    assert json.loads(line)["file"] == "ward/a.txt"
    assert counts == {"NAME": 1}
    assert [path.name for path in (target / "ward").iterdir()] == ["a.txt"]


def test_what_is_no_text_file_is_refused_and_leaves_nothing(folders) -> None:
    source, target = folders
    (source / "binary").write_bytes(b"Jane\0")
    (source / "latin").write_bytes("Jané".encode("latin-1"))
    (source / "link").symlink_to("latin")
    (source / "long").write_bytes(b"x" * (LINE_BYTES + 1))
    os.mkfifo(source / "pipe")
    form = TextFile(str(source), str(target))
    rows, _ = work(
        form,
        [(1, name.encode()) for name in ("binary", "latin", "link", "long", "pipe", "absent")],
        DETECT,
    )
    codes = ["not-text", "not-utf8", "not-a-file", "text-too-long", "not-a-file", "not-readable"]
    assert [row[0] for row in rows] == codes
    assert not any(target.iterdir())


def test_a_file_that_cannot_be_written_ends_the_work(folders) -> None:
    source, target = folders
    (source / "ward" / "a.txt").write_text(NOTE)
    (target / "ward").write_text("in the way")
    with pytest.raises(OSError, match="exists"):
        done(TextFile(str(source), str(target)), b"ward/a.txt")


# -- all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", [JsonLine(), JsonLine(keep_text=False), record(1, 2), Cells(), TextFile("a", "b")]
)
def test_a_form_goes_to_another_process_as_plain_values(form) -> None:
    said = marshal.loads(marshal.dumps(pack(form)))
    assert unpack(said) == form


def test_a_failing_item_is_told_in_its_place() -> None:
    def sometimes(text, *, patient=None):
        if "odd" in text:
            raise DetectorFailed
        return DETECT(text)

    items = [(1, b'{"text": "fine"}'), (2, b'{"text": "odd"}'), (3, b"Jane"), (4, None)]
    rows, _ = work(JsonLine(), items, sometimes)
    assert isinstance(rows[0], bytes)
    assert rows[1] == (DetectorFailed.slug, DetectorFailed.sentence)
    assert [row[0] for row in rows[2:]] == ["not-json", "line-too-long"]


@pytest.mark.parametrize(
    ("form", "raw", "clean"),
    [
        (JsonLine(patient="of"), b'{"text": "Jane", "of": "p1"}', b'"deidentified": "p1"'),
        (JsonLine(patient="of"), b'{"text": "Jane", "of": 7}', b'"deidentified": "7"'),
        (Record(",", (0,), 2, header=True, patient=1), b'Jane,"p,1"', b'"p,1","p,1"'),
        (Cells(patient=True), marshal.dumps(["p1", "Jane", None]), b"p1"),
    ],
)
def test_the_patient_is_handed_on(form, raw, clean) -> None:
    assert clean in done(form, raw)[0]


@pytest.mark.parametrize(
    ("form", "raw"),
    [
        (JsonLine(patient="of"), b'{"text": "Jane"}'),
        (JsonLine(patient="of"), b'{"text": "Jane", "of": ""}'),
        (JsonLine(patient="of"), b'{"text": "Jane", "of": ["x"]}'),
        (Record(",", (0,), 2, header=True, patient=1), b"Jane,"),
        (Cells(patient=True), marshal.dumps([None, "Jane"])),
    ],
)
def test_an_item_of_nobody_is_refused_where_a_patient_is_asked_for(form, raw) -> None:
    with pytest.raises(Broken, match="whose"):
        done(form, raw)


@pytest.mark.parametrize(
    ("form", "raw"),
    [
        (JsonLine(), json.dumps({"text": "x" * (TEXT_CHARS + 1)}).encode()),
        (record(1), b"1," + b"x" * (TEXT_CHARS + 1) + b",2"),
        (Cells(), marshal.dumps(["a", "x" * (TEXT_CHARS + 1)])),
    ],
)
def test_a_text_too_long_is_not_read(form, raw) -> None:
    with pytest.raises(Broken) as why:
        done(form, raw)
    assert why.value.code == "text-too-long"
