"""JSON lines: what a line must be, how one is written, and reading a file of any size.

A line that cannot be used raises `Broken` with a sentence of our own: never a word of the line.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Never

import click

LINE_BYTES = 16 << 20
"""Longest line that is read into memory, bytes; a gateway takes 1 MiB unless told otherwise."""
_PIECE = 1 << 20


class Broken(Exception):
    """A line that cannot be used: a stable code, and why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def parse(line: bytes | None) -> dict[str, Any]:
    """Return the object of a line as `Lines` gives it.

    Raises Broken unless it is one with a string `text`.
    """
    if line is None:
        raise Broken("line-too-long", f"longer than {LINE_BYTES >> 20} MiB")
    try:
        record = json.loads(
            line.decode("utf-8-sig"), parse_constant=_no_number, parse_float=_number
        )
    except UnicodeDecodeError:
        raise Broken("not-utf8", "not UTF-8") from None
    except (ValueError, RecursionError):
        raise Broken("not-json", "not JSON") from None
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise Broken("no-text", 'expected a JSON object with "text"')
    return record


def dump(record: Mapping[str, Any]) -> bytes:
    """Return an object as a line without its end. Raises Broken where it nests too deep."""
    try:
        return json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form; its escape has
        return json.dumps(record).encode()
    except RecursionError:
        raise Broken("not-json", "not JSON") from None


def fault(number: int, why: Broken) -> bytes:
    """Return the line of an error file: nothing of the text."""
    return dump({"line": number, "error": why.code, "detail": why.detail}) + b"\n"


def _no_number(_: str) -> Never:
    """Refuse NaN and Infinity, which are no JSON (RFC 8259 §6)."""
    raise ValueError


def _number(digits: str) -> float:
    """Refuse a number that could not be written back."""
    value = float(digits)
    if math.isinf(value):
        raise ValueError
    return value


def check_distinct(*files: Path) -> None:
    """Raise UsageError where two names are one file, links included."""
    for place, first in enumerate(files):
        for second in files[place + 1 :]:
            if first.resolve() == second.resolve() or (
                first.exists() and second.exists() and first.samefile(second)
            ):
                raise click.UsageError(f"{first} and {second} are the same file.")


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two lines of a file, and what stands before it."""

    offset: int = 0
    """Bytes before it."""
    line: int = 0
    """Lines before it."""
    sha256: str = hashlib.sha256().hexdigest()
    """Digest of the bytes before it, hex."""


class Lines:
    """The lines of a file, one at a time, with a digest of all bytes read.

    `offset` and `line` count the bytes and lines read so far.
    """

    def __init__(self, file: BinaryIO, *, longest: int = LINE_BYTES) -> None:
        self._file = file
        self._longest = longest
        self._hash = hashlib.sha256()
        self.offset = 0
        self.line = 0

    @property
    def number(self) -> int:
        """The number of the line that was read last, from 1."""
        return self.line

    @property
    def place(self) -> Place:
        """Where the next line begins."""
        return Place(self.offset, self.line, self._hash.copy().hexdigest())

    def skip(self, place: Place) -> bool:
        """Go on to a place; False where the bytes before it are not those it was taken of."""
        while self.offset < place.offset:
            if not self._take(self._file.read(min(_PIECE, place.offset - self.offset))):
                return False
        self.line = place.line
        return self.place == place

    def __iter__(self) -> Iterator[bytes | None]:
        """Give each line, its end included; None for one that is too long to be read."""
        while line := self._take(self._file.readline(self._longest)):
            self.line += 1
            if len(line) < self._longest or line.endswith(b"\n"):
                yield line
                continue
            while rest := self._take(self._file.readline(_PIECE)):
                if rest.endswith(b"\n"):
                    break
            yield None

    def _take(self, raw: bytes) -> bytes:
        self._hash.update(raw)
        self.offset += len(raw)
        return raw
