"""What a job reads: chunks of items and the place behind each; and JSON lines, the simplest."""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import click

from wardgate.cli.files.forms import Item
from wardgate.cli.journal import Refused, Stopped
from wardgate.cli.jsonl import Broken, Lines, Place, fault

CHUNK_BYTES = 64 << 10
"""A chunk ends with the item that passes this: what one process works on at a time."""
STANDARD = Path("-")
"""Standard input as IN, standard output as OUT."""
_GZIP = b"\x1f\x8b"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Items that one process works on, and the place after the last."""

    items: list[Item]
    place: Place
    rest: Any = None
    """What the source needs to write them again."""


class Source(Protocol):
    """An input; `size` counts in the unit of `Place.offset`, None where it is not known."""

    size: int | None

    def skip(self, place: Place) -> bool:
        """Go on to a place; False where what stands before it is not what it was taken of."""

    def chunks(self) -> Iterator[Chunk]:
        """Give what is left. Raises Stopped, or OSError of a file."""

    def encode(self, chunk: Chunk, rows: list[bytes | Broken]) -> bytes:
        """Return what is written for a chunk."""

    def fault(self, item: Item, why: Broken) -> bytes:
        """Return the line of the error file for an item."""


class LineSource:
    """Lines of a file, the blank ones left out, or all its records after `first`, read before."""

    def __init__(self, lines: Lines, size: int | None, *, first: Item | None = None) -> None:
        self._lines, self.size, self._first = lines, size, first
        self._blank = first is not None

    def skip(self, place: Place) -> bool:
        """See Source."""
        if place.offset == 0:
            return True
        self._first = None
        return self._lines.skip(place)

    def chunks(self) -> Iterator[Chunk]:
        """See Source."""
        lines, items = self._lines, [self._first] if self._first else []
        begun = 0 if self._first else lines.offset
        try:
            for raw in lines:
                if raw is None or self._blank or raw.strip():
                    items.append((lines.number, raw))
                if lines.offset - begun >= CHUNK_BYTES:
                    yield Chunk(items, lines.place)
                    items, begun = [], lines.offset
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise Stopped("IN is a damaged gzip file.") from None
        if self.size not in {None, lines.offset}:
            raise Stopped("IN was changed while it was read.")
        if lines.offset > begun:
            yield Chunk(items, lines.place)

    @staticmethod
    def encode(chunk: Chunk, rows: list[bytes | Broken]) -> bytes:  # noqa: ARG004 -- see Source
        """See Source."""
        return b"".join([row for row in rows if isinstance(row, bytes)])

    @staticmethod
    def fault(item: Item, why: Broken) -> bytes:
        """See Source."""
        return fault(item[0], why)


def opened(path: Path, stack: ExitStack) -> tuple[BinaryIO, int | None]:
    """Open a file, a pipe or standard input for reading, through gzip where it is packed.

    Returns it and its size in bytes, None where that is not known. Raises Refused for what is no
    text, ClickException where it cannot be opened.
    """
    try:
        if path == STANDARD:
            file: BinaryIO = sys.stdin.buffer
        else:
            file = stack.enter_context(path.open("rb"))
        plain = cast("io.BufferedReader", file)
        if not hasattr(plain, "peek"):
            plain = io.BufferedReader(cast("io.RawIOBase", file))
        head = plain.peek(1 << 12)
        size = None
        if path != STANDARD:
            found = os.fstat(plain.fileno())
            size = found.st_size if stat.S_ISREG(found.st_mode) else None
        if head[:2] == _GZIP:
            return cast("BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=plain))), None
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}.") from None
    if head[:2] in _UTF16:
        raise Refused(f"{path} is UTF-16. Convert it to UTF-8 first.")
    if b"\0" in head:
        raise Refused(f"{path} is a binary file.")
    return plain, size
