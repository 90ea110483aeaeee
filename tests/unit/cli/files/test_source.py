"""Lines in chunks: every line once, from any place on, from a file, a pipe or gzip."""

from __future__ import annotations

import gzip
import io
import os
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.cli.files import source as module
from wardgate.cli.files.source import STANDARD, LineSource, opened
from wardgate.cli.journal import Refused, Stopped
from wardgate.cli.jsonl import Broken, Lines, Place


def of(content: bytes, size: int | None = None) -> LineSource:
    return LineSource(Lines(io.BytesIO(content), longest=50), size)


LINES = st.lists(st.sampled_from([b"a\n", b"\n", b" \r\n", b"bcd\n", b"x" * 80 + b"\n"]))


@given(LINES, st.integers(1, 40), st.integers(0, 5))
def test_any_place_goes_on_where_it_was(lines, most, after) -> None:
    content = b"".join(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_BYTES", most)
        chunks = list(of(content, len(content)).chunks())
        items = [item for chunk in chunks for item in chunk.items]
        assert items == [
            (n, raw if len(raw) < 50 else None) for n, raw in enumerate(lines, 1) if raw.strip()
        ]
        place = chunks[after - 1].place if 0 < after <= len(chunks) else Place()
        again = of(content, len(content))
        assert again.skip(place)
        left = [item for chunk in again.chunks() for item in chunk.items]
        assert left == [item for item in items if item[0] > place.line]


def test_another_file_is_not_gone_on_with() -> None:
    place = list(of(b"a\nb\n").chunks())[-1].place
    assert not of(b"a\nc\n").skip(place)
    assert not of(b"a\n").skip(place)


def test_a_file_that_changed_while_it_was_read_ends_the_job() -> None:
    with pytest.raises(Stopped, match="changed"):
        list(of(b"a\n", 5).chunks())


def test_the_first_item_and_blank_ones_of_records_are_kept() -> None:
    lines = Lines(io.BytesIO(b"h\n\nx\n"))
    first = next(iter(lines))
    source = LineSource(lines, 5, first=(1, first))
    assert source.skip(Place())
    (chunk,) = source.chunks()
    assert chunk.items == [(1, b"h\n"), (2, b"\n"), (3, b"x\n")]
    lines = Lines(io.BytesIO(b"h\n\nx\n\ny\n"))
    next(iter(lines))
    source = LineSource(lines, 8, first=(1, b"h\n"))
    assert source.skip(chunk.place)
    (rest,) = source.chunks()
    assert rest.items == [(4, b"\n"), (5, b"y\n")]


def test_rows_and_faults_are_written() -> None:
    assert LineSource.encode(None, [b"a\n", Broken("x", "y"), b"b\n"]) == b"a\nb\n"  # type: ignore[arg-type]
    assert LineSource.fault((3, b"Jane"), Broken("x", "y")) == (
        b'{"line": 3, "error": "x", "detail": "y"}\n'
    )


# -- opening --------------------------------------------------------------------------------------


@pytest.fixture
def stack():
    with ExitStack() as found:
        yield found


def test_a_file_has_a_size_and_a_pipe_has_none(tmp_path, stack) -> None:
    (tmp_path / "a").write_bytes(b"one\n")
    file, size = opened(tmp_path / "a", stack)
    assert (file.read(), size) == (b"one\n", 4)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[b"two\n"])
    writer.start()
    file, size = opened(tmp_path / "pipe", stack)
    assert (file.read(), size) == (b"two\n", None)
    writer.join()


def test_standard_input(monkeypatch, stack) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x\n")))
    file, size = opened(STANDARD, stack)
    assert (file.read(), size) == (b"x\n", None)


def test_gzip_is_unpacked_and_a_damaged_one_ends_the_job(tmp_path, stack) -> None:
    lines = b"".join(b"line %d\n" % n for n in range(50_000))
    packed = gzip.compress(lines)
    (tmp_path / "a.gz").write_bytes(packed)
    file, size = opened(tmp_path / "a.gz", stack)
    assert (file.read(), size) == (lines, None)
    for damaged in (packed[:-9], packed[:5000] + b"\xff" * 99 + packed[5099:]):
        (tmp_path / "b.gz").write_bytes(damaged)
        file, _ = opened(tmp_path / "b.gz", stack)
        with pytest.raises(Stopped, match="damaged gzip"):
            list(LineSource(Lines(file), None).chunks())


@pytest.mark.parametrize("content", [b"Jane\0", "Jane".encode("utf-16")])
def test_what_is_no_text_is_refused(tmp_path, stack, content) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(Refused, match=r"UTF-16|binary"):
        opened(tmp_path / "a", stack)


def test_what_cannot_be_opened_is_told(tmp_path, stack) -> None:
    for path in (tmp_path, tmp_path / "absent", Path("/proc/self/mem")):
        with pytest.raises(click.ClickException):
            opened(path, stack)
