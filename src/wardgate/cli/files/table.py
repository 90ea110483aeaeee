"""Parquet: rows of the named columns, a batch at a time, and the table that is made of them.

A Parquet file is readable only once it is complete. Until then its rows stand in `OUT.part`, a
sequence of Arrow streams that the journal can cut off and go on with; `finish` makes OUT of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from wardgate.cli.files.forms import Item
from wardgate.cli.files.source import CHUNK_BYTES, Chunk
from wardgate.cli.journal import Refused, Stopped
from wardgate.cli.jsonl import LINE_BYTES, Broken, Place, fault

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 512
"""Rows that are decoded at a time."""
_GROUP_BYTES = 32 << 20
"""A row group of OUT ends with the batch that passes this: what is held of it in memory."""
_FRAME = struct.Struct(">Q")


def arrow() -> Any:
    """Return pyarrow with its Parquet module. Raises Refused where it is not installed."""
    try:
        import pyarrow as pa  # noqa: PLC0415 -- an extra
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError:
        raise Refused("pyarrow cannot be loaded: pip install 'wardgate[parquet]'.") from None
    return pa


class Table:
    """The rows of a Parquet file; places count rows."""

    def __init__(
        self, path: Path, columns: Sequence[str], stack: ExitStack, *, patient: str | None = None
    ) -> None:
        """Open a file; `patient` is a column that goes with the others and stays as it is.

        Raises Refused where it is no Parquet or has no such columns of text.
        """
        self._pa = arrow()
        try:
            file = stack.enter_context(path.open("rb"))
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            self._file = self._pa.parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
        except OSError as error:
            raise click.ClickException(f"{path}: {error.strerror or 'cannot be read'}.") from None
        except self._pa.ArrowInvalid:
            raise Refused(f"{path} is not a Parquet file.") from None
        self.size: int | None = self._file.metadata.num_rows
        self._columns = tuple(columns)
        self._patient = patient
        self.schema = self._schema(self._file.schema_arrow)
        self._skipped = 0

    def skip(self, place: Place) -> bool:
        """See Source; the digest of the file is part of what the job is."""
        self._skipped = place.offset
        return True

    def chunks(self) -> Iterator[Chunk]:
        """See Source."""
        done = 0
        try:
            for group in range(self._file.num_row_groups):
                rows = self._file.metadata.row_group(group).num_rows
                if done + rows <= self._skipped:
                    done += rows
                    continue
                for batch in self._file.iter_batches(_ROWS, row_groups=[group]):
                    done += batch.num_rows
                    left = done - self._skipped
                    if left > 0:
                        fresh = batch.slice(max(0, batch.num_rows - left))
                        yield from self._cut(fresh, done - fresh.num_rows)
        except (self._pa.ArrowException, OSError):
            raise Stopped(f"IN cannot be read after row {done:,}: it is damaged.") from None

    def encode(self, chunk: Chunk, rows: list[bytes | Broken]) -> bytes:
        """Return the rows of a chunk that came out well, as an Arrow stream with its length."""
        pa = self._pa
        good = [marshal.loads(row) for row in rows if isinstance(row, bytes)]  # noqa: S302 -- our child's
        batch = chunk.rest.filter(pa.array([isinstance(row, bytes) for row in rows], pa.bool_()))
        arrays = batch.columns
        for place, name in enumerate(self._columns):
            at = self.schema.get_field_index(name)
            arrays[at] = pa.array([row[place] for row in good], self.schema.field(at).type)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.schema) as stream:
            stream.write_batch(pa.record_batch(arrays, schema=self.schema))
        body: bytes = sink.getvalue().to_pybytes()
        return _FRAME.pack(len(body)) + body

    @staticmethod
    def fault(item: Item, why: Broken) -> bytes:
        """See Source."""
        return fault(item[0], why)

    def finish(self, part: Path, target: Path) -> None:
        """Write OUT from its rows, whole and durable or not at all. Raises OSError."""
        pa = self._pa
        draft = target.with_name(target.name + ".new")
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file, part.open("rb") as rows:
                with pa.parquet.ParquetWriter(
                    file, self.schema, compression=self._compression()
                ) as writer:
                    for table in _groups(pa, rows):
                        writer.write_table(table)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise

    def _cut(self, batch: pa.RecordBatch, done: int) -> Iterator[Chunk]:
        """Cut a batch into chunks; `done` rows stand before it."""
        names = self._columns if self._patient is None else (self._patient, *self._columns)
        cells = zip(*[self._texts(batch.column(name)) for name in names], strict=True)
        items: list[Item] = []
        begun, size = 0, 0
        for at, row in enumerate(cells, 1):
            chars = sum(map(len, filter(None, row)))
            long = chars > LINE_BYTES or any(len(c.encode()) > LINE_BYTES for c in row if c)
            items.append((done + at, None if long else marshal.dumps(list(row))))
            size += chars
            if size >= CHUNK_BYTES or at == batch.num_rows:
                place = Place(done + at, done + at)
                yield Chunk(items, place, batch.slice(begun, at - begun))
                items, begun, size = [], at, 0

    def _texts(self, column: pa.Array) -> list[str | bytes | None]:
        """Return the values of a column as text; no bytes at all where one is not UTF-8."""
        try:
            return [None if value is None else str(value) for value in column.to_pylist()]
        except UnicodeDecodeError:
            if self._pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            raw = column.cast(self._pa.large_binary()).to_pylist()
            return [None if value is None else _decoded(value) for value in raw]

    def _schema(self, schema: pa.Schema) -> pa.Schema:
        types = self._pa.types
        if self._patient is not None and len(schema.get_all_field_indices(self._patient)) != 1:
            raise Refused(f"IN has no one column {self._patient!r}.")
        for name in self._columns:
            count = len(schema.get_all_field_indices(name))
            if count != 1:
                has = "more than one column" if count else "no column"
                raise Refused(f"IN has {has} {name!r}; it has: {', '.join(schema.names)}.")
            field = schema.field(name)
            kind = field.type.value_type if types.is_dictionary(field.type) else field.type
            if not (types.is_string(kind) or types.is_large_string(kind)):
                raise Refused(f"Column {name!r} of IN is {field.type}, not text.")
            schema = schema.set(schema.get_field_index(name), field.with_type(kind))
        return schema

    def _compression(self) -> str:
        """Return what IN is packed with, in a word that the writer knows."""
        meta = self._file.metadata
        if meta.num_row_groups and meta.num_columns:
            said = str(meta.row_group(0).column(0).compression).lower()
            if said in {"snappy", "gzip", "brotli", "zstd", "lz4"}:
                return said
            if said == "uncompressed":
                return "none"
        return "zstd"


def _decoded(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return b""


def _groups(pa: Any, rows: BinaryIO) -> Iterator[pa.Table]:
    """Give the rows of a part as tables of a bounded size."""
    batches, size = [], 0
    while head := rows.read(_FRAME.size):
        (length,) = _FRAME.unpack(head)
        with pa.ipc.open_stream(rows.read(length)) as stream:
            batches += list(stream)
        size += length
        if size >= _GROUP_BYTES:
            yield pa.Table.from_batches(batches)
            batches, size = [], 0
    if batches:
        yield pa.Table.from_batches(batches)
