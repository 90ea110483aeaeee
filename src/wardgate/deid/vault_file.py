"""The vault's SQLite file: tables, durability, and what a fault of the disk becomes.

One file for all processes of a gateway: WAL with `synchronous=FULL`, so that what a commit returned
survives a power cut. Every row carries its tenant. Nothing readable is ever in it: values are
sealed before, and SQLite keeps no temporary files.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from wardgate.errors import StateInvalid, VaultUnavailable

FILE: Final = "vault.db"
GATEWAY: Final = "-"
"""Tenant of the row about the vault as a whole."""
_FORMAT: Final = 1
_SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS vault (
    tenant TEXT PRIMARY KEY, format INTEGER NOT NULL, wrapped_by TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tenants (
    tenant TEXT PRIMARY KEY, key TEXT NOT NULL, codes INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS destroyed (
    tenant TEXT NOT NULL, key TEXT PRIMARY KEY, at INTEGER NOT NULL, gone INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS codes (
    tenant TEXT NOT NULL,
    code BLOB NOT NULL,
    key TEXT NOT NULL,
    type TEXT NOT NULL,
    found_by BLOB NOT NULL,
    expires INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (tenant, code)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS codes_found_by ON codes (tenant, found_by);
CREATE INDEX IF NOT EXISTS codes_expires ON codes (expires);
COMMIT;
"""
_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "secure_delete=ON",  # what was deleted is written over with zeros
    "temp_store=MEMORY",
)
_BUSY_MS: Final = 2_000
"""How long a transaction waits for another process's."""
_CHUNK: Final = 64
"""Rows in one statement."""


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for others that open the file: SQLite does not wait where it switches one to WAL."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class VaultFile:
    """The open file; one thread at a time."""

    def __init__(self, folder: Path, *, wrapped_by: str) -> None:
        """Open it, made if there is none; `wrapped_by` is the id of the key-encryption key.

        Raises StateInvalid where it cannot be opened, or was made under another key.
        """
        self._path = folder / FILE
        try:
            with _alone(folder):
                self._connect(create=True)
                self._connection.executescript(_SCHEMA)
                self.run(
                    "INSERT INTO vault VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (GATEWAY, _FORMAT, wrapped_by),
                )
                found = self.run("SELECT format, wrapped_by FROM vault").fetchone()
        except (OSError, sqlite3.Error):
            raise StateInvalid("The vault in the state folder cannot be opened.") from None
        if found != (_FORMAT, wrapped_by):
            self.close()
            raise StateInvalid("The vault was made under another key-encryption key.")

    def close(self) -> None:
        """Let go of it."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def run(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self._connection.execute(statement, values)

    def select(self, query: str, wanted: Sequence[Sequence[object]]) -> list[Any]:
        """Run a query for the `wanted` rows, which stand for its `{}`; it gives one JSON array.

        Each row that SQLite gives lets go of the interpreter lock, and getting it back from a busy
        event loop can take 5 ms. So what is found comes as one row, of many values at a time.
        """
        found: list[Any] = []
        for rows, values in _parts(wanted):
            (part,) = self.run(query.format(rows), values).fetchone()
            found += json.loads(part)
        return found

    def change(self, statement: str, rows: Sequence[Sequence[object]]) -> int:
        """Run a statement for these rows, which stand for its `{}`; return how many it changed."""
        return sum(
            self.run(statement.format(part), values).rowcount for part, values in _parts(rows)
        )

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn every fault into VaultUnavailable, and leave no transaction open."""
        try:
            if self._stat() != self._identity:  # an unlinked file takes writes that nobody finds
                self._connection.close()
                self._connect()
            yield
        except (sqlite3.Error, OSError):
            self._roll_back()
            raise VaultUnavailable(retry_after=1.0) from None
        except BaseException:
            self._roll_back()
            raise

    def empty_log(self) -> None:
        """Move the log into the file and cut it: it holds pages as they were before."""
        self.run("PRAGMA busy_timeout = 100")  # where others read, the next sweep tries again
        try:
            self.run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            self.run(f"PRAGMA busy_timeout = {_BUSY_MS}")

    def _connect(self, *, create: bool = False) -> None:
        flags = os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
        os.close(os.open(self._path, flags, 0o600))  # SQLite would make it readable by others
        self._connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=_BUSY_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
        )
        self._identity = self._stat()
        for pragma in _PRAGMAS:
            self.run(f"PRAGMA {pragma}")

    def _stat(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_dev, found.st_ino

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.rollback()


def _parts(rows: Sequence[Sequence[object]]) -> Iterator[tuple[str, list[object]]]:
    """Give placeholders and values of so many rows at a time as one statement takes."""
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        one = f"({','.join('?' * len(part[0]))})"
        yield ",".join([one] * len(part)), [value for row in part for value in row]
