"""The control store: documents under one generation number, and who follows them how far.

Every write adds one to the generation. A process that follows asks for the number alone, which
costs one indexed read, and reads the documents where it has grown. It reports in its own row which
generation it goes by; a row not renewed for `LIVE_SECONDS` is that of a dead process and holds up
nobody. What a document says is not this module's business.

One SQLite file in the state folder, mode 0600, write-ahead log. Every row carries its tenant.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from wardgate.errors import ControlUnavailable, StateInvalid

FILE: Final = "control.db"
"""In the state folder."""
LIVE_SECONDS: Final = 5.0
"""A follower that has not reported for so long is dead."""
GATEWAY: Final = "-"
"""Tenant of rows that belong to the gateway as a whole."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS generations (
    tenant TEXT PRIMARY KEY, generation INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS documents (
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant, kind, name)
) STRICT;
CREATE TABLE IF NOT EXISTS followers (
    tenant TEXT NOT NULL,
    process TEXT NOT NULL,
    pid INTEGER NOT NULL,
    seen REAL NOT NULL,
    generation INTEGER NOT NULL,
    drained INTEGER NOT NULL,
    report TEXT NOT NULL,
    PRIMARY KEY (tenant, process)
) STRICT;
"""


class Superseded(Exception):
    """The document has been written by another since it was read."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document, and the generation at which it was written."""

    generation: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Follower:
    """How far one process has come."""

    process: str
    pid: int
    seen: float
    """Unix seconds of its last report."""
    generation: int
    """It goes by this one."""
    drained: int
    """And has nothing in flight from before this one."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """What it says besides."""


class ControlStore:
    """The store in a state folder. Safe to call from any thread; calls may block for a disk."""

    def __init__(self, state: Path) -> None:
        """Open it, made if there is none. Raises StateInvalid."""
        path = state / FILE
        self._lock = threading.Lock()
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
            self._connection = sqlite3.connect(
                path, timeout=5.0, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            # What is agreed must survive a power cut; a follower's report need not (see `report`).
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_SCHEMA)
            self._connection.execute("INSERT OR IGNORE INTO generations VALUES (?, 0)", (GATEWAY,))
        except (OSError, sqlite3.Error):
            raise StateInvalid("The control store in the state folder cannot be opened.") from None

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def generation(self) -> int:
        """Return the generation. Raises ControlUnavailable."""
        with self._held() as run:
            return self._generation(run)

    def documents(self, kind: str) -> tuple[int, dict[str, Document]]:
        """Return the generation and all documents of a kind by name. Raises ControlUnavailable."""
        with self._held() as run:
            run.execute("BEGIN")
            generation = self._generation(run)
            rows = run.execute(
                "SELECT name, generation, body FROM documents WHERE tenant = ? AND kind = ?",
                (GATEWAY, kind),
            ).fetchall()
            run.execute("COMMIT")
        return generation, {name: Document(at, json.loads(body)) for name, at, body in rows}

    def put(self, kind: str, name: str, body: Mapping[str, Any], *, expected: int) -> int:
        """Write a document and return the new generation.

        `expected` is the generation at which the document was written when it was read, 0 where
        there was none. Raises Superseded where it is another by now, ControlUnavailable.
        """
        with self._held() as run:
            run.execute("PRAGMA synchronous=FULL")
            run.execute("BEGIN IMMEDIATE")
            found = run.execute(
                "SELECT generation FROM documents WHERE tenant = ? AND kind = ? AND name = ?",
                (GATEWAY, kind, name),
            ).fetchone()
            if (found[0] if found else 0) != expected:
                raise Superseded
            generation = self._generation(run) + 1
            run.execute("UPDATE generations SET generation = ?", (generation,))
            run.execute(
                "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?)",
                (GATEWAY, kind, name, generation, json.dumps(body)),
            )
            run.execute("COMMIT")
            return generation

    def report(self, follower: Follower) -> None:
        """Write how far a process has come. Raises ControlUnavailable."""
        with self._held() as run:
            # Once a second from each process: lost in a power cut it is worth nothing anyway.
            run.execute("PRAGMA synchronous=NORMAL")
            run.execute(
                "INSERT OR REPLACE INTO followers VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    GATEWAY,
                    follower.process,
                    follower.pid,
                    follower.seen,
                    follower.generation,
                    follower.drained,
                    json.dumps(follower.report),
                ),
            )

    def leave(self, process: str) -> None:
        """Take a process that ends out of the followers. Raises ControlUnavailable."""
        with self._held() as run:
            run.execute("DELETE FROM followers WHERE process = ?", (process,))

    def followers(self) -> list[Follower]:
        """Return every process that has ever reported and not left. Raises ControlUnavailable."""
        with self._held() as run:
            rows: list[tuple[str, int, float, int, int, str]] = run.execute(
                "SELECT process, pid, seen, generation, drained, report FROM followers "
                "WHERE tenant = ? ORDER BY process",
                (GATEWAY,),
            ).fetchall()
        return [Follower(*row[:5], json.loads(row[5])) for row in rows]

    def _generation(self, run: sqlite3.Connection) -> int:
        (found,) = run.execute(
            "SELECT generation FROM generations WHERE tenant = ?", (GATEWAY,)
        ).fetchone()
        return int(found)

    @contextlib.contextmanager
    def _held(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except (sqlite3.Error, TypeError, ValueError):
                self._roll_back()
                raise ControlUnavailable(retry_after=1.0) from None
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.rollback()


def live(followers: list[Follower], now: float) -> list[Follower]:
    """Return the followers that live at `now`, Unix seconds."""
    return [each for each in followers if now - each.seen <= LIVE_SECONDS]
