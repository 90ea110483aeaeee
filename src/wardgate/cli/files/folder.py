"""A folder of text files: its tree in one order, and a line for each that failed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from wardgate.cli.files.forms import Item
from wardgate.cli.files.source import CHUNK_BYTES, Chunk
from wardgate.cli.journal import Stopped
from wardgate.cli.jsonl import Broken, Place, dump

_FILES = 64
"""Files in a chunk at most."""


class Folder:
    """All files below a folder, sorted, links not followed; places count files.

    A place's digest is over names and sizes. The files themselves are read by the processes.
    """

    def __init__(self, root: Path) -> None:
        """Count the files. Raises OSError where a folder cannot be read."""
        self._root = root
        self._hash = hashlib.sha256()
        self._done = 0
        self._files = self._walk(b"")
        self.size: int | None = sum(1 for _ in self._walk(b""))

    def skip(self, place: Place) -> bool:
        """See Source."""
        while self._done < place.offset:
            if self._next() is None:
                return False
        return place.offset == 0 or self._place() == place

    def chunks(self) -> Iterator[Chunk]:
        """See Source."""
        items: list[Item] = []
        size = 0
        while (found := self._next()) is not None:
            name, length = found
            items.append((self._done, name))
            size += length
            if size >= CHUNK_BYTES or len(items) >= _FILES:
                yield Chunk(items, self._place())
                items, size = [], 0
        if items:
            yield Chunk(items, self._place())
        if self._done != self.size:
            raise Stopped("Files were added to IN or taken away while it was read.")

    @staticmethod
    def encode(chunk: Chunk, rows: list[bytes | Broken]) -> bytes:  # noqa: ARG004 -- see Source
        """See Source."""
        return b"".join([row for row in rows if isinstance(row, bytes)])

    @staticmethod
    def fault(item: Item, why: Broken) -> bytes:
        """Return the line of the error file: the name of the file, too."""
        name = os.fsdecode(item[1] or b"")
        return dump({"file": name, "error": why.code, "detail": why.detail}) + b"\n"

    def _next(self) -> tuple[bytes, int] | None:
        found = next(self._files, None)
        if found is not None:
            self._done += 1
            self._hash.update(b"%b\0%d\0" % found)
        return found

    def _place(self) -> Place:
        return Place(self._done, self._done, self._hash.copy().hexdigest())

    def _walk(self, below: bytes) -> Iterator[tuple[bytes, int]]:
        """Give the path of each file from the root, and its size in bytes."""
        with os.scandir(os.path.join(os.fsencode(self._root), below)) as entries:  # noqa: PTH118
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            name = os.path.join(below, entry.name)  # noqa: PTH118 -- names need not be text
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(name)
            else:
                yield name, entry.stat(follow_symlinks=False).st_size
