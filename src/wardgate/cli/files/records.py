"""CSV: where a record begins and ends, and which of its fields are meant (RFC 4180 §2).

A quote opens a field only where it stands first in it, and a record ends at a line end outside
quotes. What cannot be read so is given whole to its form, which refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from wardgate.cli.files.forms import Record, split
from wardgate.cli.journal import Refused
from wardgate.cli.jsonl import LINE_BYTES, Broken, Lines

_BOM = b"\xef\xbb\xbf"


class Records(Lines):
    """The records of a CSV file, as `Lines` gives lines; `number` is the line one begins at."""

    def __init__(self, file: BinaryIO, delimiter: str, *, longest: int = LINE_BYTES) -> None:
        super().__init__(file, longest=longest)
        self._delimiter = delimiter.encode()
        self._begin = 0

    @property
    def number(self) -> int:
        """The line, from 1, at which the record that was read last begins."""
        return self._begin

    def __iter__(self) -> Iterator[bytes | None]:
        """Give each record, its line end included; None for one that is too long to be read."""
        while piece := self._take(self._file.readline(self._longest)):
            self._begin = self.line + 1
            parts, size, within = [piece], len(piece), self._open(piece, within=False)
            ended = piece.endswith(b"\n")
            self.line += ended
            while within or not ended:
                piece = self._take(self._file.readline(self._longest))
                if not piece:
                    self.line += not ended
                    break
                if ended:
                    within = self._open(piece, within=within)
                elif piece.count(b'"') % 2:  # of a line too long to be read as fields
                    within = not within
                ended = piece.endswith(b"\n")
                self.line += ended
                size += len(piece)
                if size <= self._longest:
                    parts.append(piece)
                else:
                    parts.clear()
            yield b"".join(parts) if size <= self._longest else None

    def _open(self, line: bytes, *, within: bool) -> bool:
        """Whether a quoted field is open at the end of a line; `within`: at its begin."""
        if not within and b'"' not in line:
            return False
        at = 0
        while True:
            if within or line.startswith(b'"', at):
                at = _closed(line, at if within else at + 1)
                if at < 0:
                    return True
                within = False
            at = line.find(self._delimiter, at) + 1
            if not at:
                return False


def form(
    first: bytes | None,
    delimiter: str,
    columns: Sequence[str],
    *,
    header: bool,
    patient: str | None = None,
) -> Record:
    """Return what becomes of the records of a file by its first and the columns that are named.

    Columns are names in the header, or numbers from 1 where there is none. Raises Refused, without
    a word of the record: a file that has no header shows data there.
    """
    if first is None:
        raise Refused("The first record of IN is too long.")
    body = first.removeprefix(_BOM).rstrip(b"\r\n")
    if header and (b"\n" in body or b"\r" in body):  # it is copied as it is, and may hold anything
        raise Refused(
            "The header of IN goes over more than one line. Lines must end with a line feed; where "
            "a name holds a line break, give --no-header and the columns' numbers."
        )
    try:
        fields = split(body, delimiter)
        names = [field.decode().strip().strip('"').replace('""', '"') for field in fields]
    except (Broken, UnicodeDecodeError):
        raise Refused("The first record of IN is not CSV in UTF-8.") from None
    if not header:
        names = [str(number) for number in range(1, len(fields) + 1)]
    for column in (*columns, *([] if patient is None else [patient])):
        if names.count(column) != 1:
            has = "no column" if column not in names else "more than one column"
            raise Refused(
                f"IN has {has} {column!r}; it has {len(names)} columns. The delimiter is "
                f"{delimiter!r}" + ("." if header else ", and columns are numbered from 1.")
            )
    whose = None if patient is None else names.index(patient)
    return Record(delimiter, tuple(map(names.index, columns)), len(names), header, whose)


def _closed(line: bytes, at: int) -> int:
    """Return where a quoted field that goes on at `at` ends, its closing quote included; or -1."""
    while (at := line.find(b'"', at)) >= 0:
        if not line.startswith(b'"', at + 1):
            return at + 1
        at += 2
    return -1
