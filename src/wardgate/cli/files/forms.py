"""What becomes of one item of a file: a line, a CSV record, the cells of a row, a file of a folder.

Runs in the processes of `crew.py`. What cannot be done raises `Broken`, without a word of the text.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import marshal
import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from wardgate.cli.jsonl import LINE_BYTES, Broken, dump, parse
from wardgate.errors import WardgateError
from wardgate.types import Deidentified

Item = tuple[int, bytes | None]
"""A number to name it by, counted from 1, and its bytes; None where it is too long to be read."""
NOT_UTF8 = Broken("not-utf8", "not UTF-8")
NO_PATIENT = Broken("no-patient", "it does not say whose it is")
TEXT_CHARS = 1 << 20
"""Longest text, code points: the detector takes hundreds of times as much memory."""
STRAY_RETURN = Broken("stray-return", "a carriage return outside quotes ends no line")
TOO_LONG = Broken("text-too-long", f"a text of more than {TEXT_CHARS:,} characters")


class Detect(Protocol):
    """De-identifies one text; raises WardgateError where it cannot."""

    def __call__(self, text: str, *, patient: str | None = None) -> Deidentified:
        """Derive the same for the same patient."""


class Form(Protocol):
    """Makes of an item what is written for it, and adds what was found to the counts by type."""

    def __call__(self, item: Item, detect: Detect, counts: Counter[str]) -> bytes:
        """Return what is written. Raises Broken, or WardgateError of the detector."""


@dataclass(frozen=True, slots=True)
class JsonLine:
    """A line with `text`; gets `deidentified` and `spans`."""

    keep_text: bool = True
    patient: str | None = None
    """The member that names the patient."""

    def __call__(self, item: Item, detect: Detect, counts: Counter[str]) -> bytes:
        """Return the line that is written."""
        record = parse(item[1])
        patient = None
        if self.patient is not None:
            patient = record.get(self.patient)
            if not isinstance(patient, str | int) or not str(patient):
                raise NO_PATIENT
            patient = str(patient)
        text = record["text"] if self.keep_text else record.pop("text")
        found = detect(_bounded(text), patient=patient)
        record["deidentified"] = found.text
        record["spans"] = [
            {"start": s.start, "end": s.end, "label": s.label, "score": s.score}
            for s in found.spans
        ]
        line = dump(record) + b"\n"
        counts.update(found.counts)
        return line


@dataclass(frozen=True, slots=True)
class Record:
    """A CSV record; the fields named are replaced, and all others stay to the byte."""

    delimiter: str
    columns: tuple[int, ...]
    """Which fields are replaced, counted from 0."""
    width: int
    """How many fields a record must have."""
    header: bool
    """Whether the first record of the file only names the fields."""
    patient: int | None = None
    """The field that names the patient."""

    def __call__(self, item: Item, detect: Detect, counts: Counter[str]) -> bytes:
        """Return the record that is written, its line end included."""
        number, raw = item
        if raw is None:
            raise TOO_LONG
        body = raw.rstrip(b"\r\n")
        if not body or (self.header and number == 1):
            return raw
        fields = split(body, self.delimiter)
        if len(fields) != self.width:
            raise Broken("wrong-columns", f"{len(fields)} columns in place of {self.width}")
        patient = None if self.patient is None else self._text(fields[self.patient])
        if patient == "":
            raise NO_PATIENT
        found: Counter[str] = Counter()
        for column in self.columns:
            clean = detect(_bounded(self._text(fields[column])), patient=patient)
            found.update(clean.counts)
            if clean.alignment:
                fields[column] = self._field(clean.text, quoted=fields[column][:1] == b'"')
        counts.update(found)
        return self.delimiter.encode().join(fields) + raw[len(body) :]

    def _text(self, field: bytes) -> str:
        try:
            text = field.decode()
        except UnicodeDecodeError:
            raise NOT_UTF8 from None
        return text[1:-1].replace('""', '"') if text[:1] == '"' else text

    def _field(self, text: str, *, quoted: bool) -> bytes:
        if quoted or any(char in text for char in (self.delimiter, '"', "\n", "\r")):
            text = '"' + text.replace('"', '""') + '"'
        return text.encode()


def _bounded(text: str) -> str:
    if len(text) > TEXT_CHARS:
        raise TOO_LONG
    return text


def split(record: bytes, delimiter: str) -> list[bytes]:
    """Return the fields of a record as they stand, quotes included (RFC 4180 §2).

    Raises Broken where a quoted field does not end at a delimiter, or where a carriage return
    stands outside quotes: programs that take it for the end of a line would read other records.
    """
    if b'"' not in record:
        if b"\r" in record:
            raise STRAY_RETURN
        return record.split(delimiter.encode())
    pattern, fields, at = _field_pattern(delimiter), [], 0
    while True:
        match = pattern.match(record, at)
        if match is None:
            raise Broken("bad-quoting", "a quoted field does not end where it should")
        if b"\r" in match[1] and match[1][:1] != b'"':
            raise STRAY_RETURN
        fields.append(match[1])
        at = match.end()
        if not match[2]:
            return fields


@cache
def _field_pattern(delimiter: str) -> re.Pattern[bytes]:
    """Match a quoted or a plain field, and the delimiter or end behind it, in linear time."""
    sign = re.escape(delimiter).encode()
    plain = rb'(?:[^"' + sign + rb"][^" + sign + rb"]*+)?"
    return re.compile(rb'("[^"]*+(?:""[^"]*+)*+"|' + plain + rb")(" + sign + rb"|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Cells:
    """The text cells of one row of a table: None where there is none, bytes for what is no text."""

    patient: bool = False
    """Whether one cell more stands before them, which names the patient."""

    def __call__(self, item: Item, detect: Detect, counts: Counter[str]) -> bytes:
        """Return the new cells; both ways as `marshal` of a list."""
        if item[1] is None:
            raise TOO_LONG
        found: Counter[str] = Counter()
        cells: list[str | None] = []
        given = marshal.loads(item[1])  # noqa: S302 -- written by our own parent
        patient = given.pop(0) if self.patient else None
        if self.patient and not patient:
            raise NO_PATIENT
        for cell in given:
            if cell is None:
                cells.append(None)
                continue
            if isinstance(cell, bytes):
                raise NOT_UTF8
            clean = detect(_bounded(cell), patient=patient)
            found.update(clean.counts)
            cells.append(clean.text)
        counts.update(found)
        return marshal.dumps(cells)


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file of a folder; the same path below another folder gets the de-identified text."""

    source: str
    target: str

    def __call__(self, item: Item, detect: Detect, counts: Counter[str]) -> bytes:
        """Write the file, whole and durable or not at all; return its line of the list of files."""
        assert item[1] is not None
        name = os.fsdecode(item[1])
        try:
            raw = _read(Path(self.source, name))
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Broken("not-a-file", "a link") from None
            raise Broken("not-readable", f"cannot be read: {error.strerror}") from None
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise NOT_UTF8 from None
        if "\0" in text:
            raise Broken("not-text", "a binary file")
        found = detect(_bounded(text))
        clean = found.text.encode()
        _replace(Path(self.target, name), clean)
        counts.update(found.counts)
        digest = hashlib.sha256(clean).hexdigest()
        return dump({"file": name, "bytes": len(clean), "sha256": digest}) + b"\n"


def _read(path: Path) -> bytes:
    """Return what a file holds; follows no link. Raises Broken where it is too long or no file."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise Broken("not-a-file", "no regular file")
        raw = opened.read(LINE_BYTES + 1)
    if len(raw) > LINE_BYTES:
        raise TOO_LONG
    return raw


def _replace(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 by its own name or not at all. Raises OSError."""
    for folder in reversed(path.parents):
        folder.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(f".wardgate-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:24]}")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        draft.replace(path)
        _sync(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


_FORMS = {form.__name__: form for form in (JsonLine, Record, Cells, TextFile)}


def pack(form: Form) -> dict[str, Any]:
    """Return a form as plain values, for `unpack` in another process."""
    return {"form": type(form).__name__, **asdict(form)}  # type: ignore[call-overload]


def unpack(said: Mapping[str, Any]) -> Form:
    """Return the form of `pack`'s values."""
    options = dict(said)
    made: Form = _FORMS[options.pop("form")](**options)
    return made


def work(
    form: Form, items: list[Item], detect: Detect
) -> tuple[list[bytes | tuple[str, str]], dict[str, int]]:
    """Return for each item what is written, or the code and sentence of what is wrong with it.

    Counts what was found by type over all items that are written. Raises OSError where OUT cannot
    be written.
    """
    counts: Counter[str] = Counter()
    done: list[bytes | tuple[str, str]] = []
    for item in items:
        try:
            done.append(form(item, detect, counts))
        except Broken as why:
            done.append((why.code, why.detail))
        except WardgateError as error:
            done.append((error.slug, error.detail))
    return done, dict(counts)
