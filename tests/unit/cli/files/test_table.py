"""Parquet: rows once and in order, all else kept, types kept, from any row on."""

from __future__ import annotations

import marshal
import struct
import sys
from contextlib import ExitStack

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wardgate.cli.files import source
from wardgate.cli.files import table as module
from wardgate.cli.files.forms import LINE_BYTES
from wardgate.cli.files.table import Table
from wardgate.cli.journal import Refused, Stopped
from wardgate.cli.jsonl import Broken, Place

ROWS = 1000


@pytest.fixture
def stack():
    with ExitStack() as found:
        yield found


@pytest.fixture
def file(tmp_path):
    notes = [None if n % 7 == 0 else f"Jane {n}" for n in range(ROWS)]
    found = pa.table(
        {
            "id": list(range(ROWS)),
            "note": notes,
            "kind": pa.array(["a", "b"] * (ROWS // 2)).dictionary_encode(),
            "also": pa.array(["Jane"] * ROWS, pa.large_string()),
            "list": [[n] for n in range(ROWS)],
        }
    )
    path = tmp_path / "in.parquet"
    pq.write_table(found, path, row_group_size=300, compression="gzip")
    return path


def clean(raw: bytes | None) -> bytes:
    assert raw is not None
    return marshal.dumps([c and c.replace("Jane", "[NAME]") for c in marshal.loads(raw)])


def work(table: Table, part, *, broken: frozenset[int] = frozenset()) -> list[Place]:
    """Do what is left; gives the place after each chunk."""
    places = []
    with part.open("ab") as out:
        for chunk in table.chunks():
            rows = [Broken("x", "y") if n in broken else clean(raw) for n, raw in chunk.items]
            out.write(table.encode(chunk, rows))
            places.append(chunk.place)
    return places


def test_named_columns_are_replaced_and_all_else_is_kept(file, tmp_path, stack) -> None:
    table = Table(file, ["note", "kind", "also"], stack)
    assert table.size == ROWS
    part, target = tmp_path / "part", tmp_path / "out.parquet"
    work(table, part, broken=frozenset({3, 999}))
    table.finish(part, target)
    before, after = pq.read_table(file), pq.read_table(target)
    kept = [row for row in before.to_pylist() if row["id"] not in {2, 998}]
    for row in kept:
        row["note"] = row["note"] and row["note"].replace("Jane", "[NAME]")
        row["also"] = "[NAME]"
    assert after.to_pylist() == kept
    types = {field.name: str(field.type) for field in after.schema}
    assert types["note"] == types["kind"] == "string"
    assert types["also"] == "large_string"
    assert pq.ParquetFile(target).metadata.row_group(0).column(0).compression == "GZIP"
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()].count("out.parquet.new") == 0
    # what a footer says of a column is made anew, too
    assert b"Jane" not in target.read_bytes()


@pytest.mark.parametrize("small", [1, 64 << 10])
def test_any_place_goes_on_where_it_was(file, tmp_path, stack, monkeypatch, small) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", small)
    monkeypatch.setattr(module, "_ROWS", 170)
    places = work(Table(file, ["note"], stack), tmp_path / "whole")
    for place in (Place(), places[0], places[len(places) // 2], places[-2], places[-1]):
        table = Table(file, ["note"], stack)
        assert table.skip(place)
        left = [n for chunk in table.chunks() for n, _ in chunk.items]
        assert left == list(range(place.line + 1, ROWS + 1))


def test_row_groups_of_out_are_bounded(file, tmp_path, stack, monkeypatch) -> None:
    monkeypatch.setattr(module, "_GROUP_BYTES", 1)
    monkeypatch.setattr(module, "_ROWS", 100)
    table = Table(file, ["note"], stack)
    work(table, tmp_path / "part")
    table.finish(tmp_path / "part", tmp_path / "out")
    assert pq.ParquetFile(tmp_path / "out").metadata.num_row_groups == 10


def test_a_cell_too_long_is_not_worked_on(tmp_path, stack) -> None:
    long = "x" * (LINE_BYTES + 1)
    pq.write_table(pa.table({"note": ["a", long, "é" * (LINE_BYTES // 2 + 1)]}), tmp_path / "in")
    (items,) = [
        [raw is None for _, raw in chunk.items]
        for chunk in [*Table(tmp_path / "in", ["note"], stack).chunks()][:1]
    ]
    assert items[:2] == [False, True]
    every = [i for chunk in Table(tmp_path / "in", ["note"], stack).chunks() for i in chunk.items]
    assert [raw is None for _, raw in every] == [False, True, True]
    assert source.CHUNK_BYTES < LINE_BYTES


def test_a_cell_that_is_no_utf8_costs_its_row_alone(tmp_path, stack) -> None:
    offsets = pa.py_buffer(struct.pack("<5i", 0, 4, 8, 8, 12))
    note = pa.Array.from_buffers(
        pa.string(), 4, [None, offsets, pa.py_buffer(b"Janeca\xe9\xffMary")]
    )
    pq.write_table(pa.table({"note": note, "who": note}), tmp_path / "in")
    table = Table(tmp_path / "in", ["note"], stack, patient="who")
    cells = [marshal.loads(raw) for chunk in table.chunks() for _, raw in chunk.items]
    assert cells == [["Jane", "Jane"], [b"", b""], ["", ""], ["Mary", "Mary"]]


def test_what_cannot_be_done_is_refused(file, tmp_path, stack, monkeypatch) -> None:
    with pytest.raises(Refused, match="no column 'text'; it has: id, note"):
        Table(file, ["text"], stack)
    with pytest.raises(Refused, match="'id' of IN is int64, not text"):
        Table(file, ["id"], stack)
    (tmp_path / "text").write_text("Jane")
    with pytest.raises(Refused, match="not a Parquet file"):
        Table(tmp_path / "text", ["note"], stack)
    with pytest.raises(click.ClickException, match="No such file"):
        Table(tmp_path / "absent", ["note"], stack)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Refused, match=r"pip install 'wardgate\[parquet\]'"):
        Table(file, ["note"], stack)


def test_a_damaged_file_ends_the_job(file, tmp_path, stack) -> None:
    raw = bytearray(file.read_bytes())
    raw[200:400] = bytes(200)
    file.write_bytes(raw)
    with pytest.raises(Stopped, match="damaged"):
        work(Table(file, ["note", "also"], stack), tmp_path / "part")


def test_a_fault_names_the_row() -> None:
    assert b'"line": 4' in Table.fault((4, b"Jane"), Broken("x", "y"))
