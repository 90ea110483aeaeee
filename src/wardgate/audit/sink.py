"""The audit store of one worker: one SQLite file, its heads and its end mark beside it.

`<name>.db` holds the chain (WAL, `synchronous=FULL`: a commit that returned survives a power cut),
`<name>.heads` one signed head for each commit group, `<name>.end` the end mark. A head is written
after its commit, so the store may be ahead of its heads after a crash, never behind. A store that
is behind, or whose end does not hash to what was signed, is refused: it was tampered with.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import sqlite3
import time as clocks
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from wardgate.audit.chain import GENESIS, Linker, follows, parse_end, parse_head, sign_head
from wardgate.audit.event import Entry, start_entry
from wardgate.audit.keys import SigningKey, sync_folder
from wardgate.errors import AuditUnavailable, StateInvalid

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS chain (id TEXT NOT NULL, format INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS probe (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, room BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    request_id TEXT NOT NULL,
    time INTEGER NOT NULL,
    hash BLOB NOT NULL,
    record BLOB NOT NULL
) STRICT;
"""
_COLUMNS: Final = 7
_CHUNK: Final = 64
"""Rows in one statement. A group that fits is one statement and so one hop out of Python."""
_INSERTS: Final = tuple(
    "INSERT INTO records VALUES " + ",".join(["(?,?,?,?,?,?,?)"] * rows)  # noqa: S608 -- own text
    for rows in range(_CHUNK + 1)
)
_CHECKPOINT_PAGES: Final = 1_000
"""Pages of 4 KiB in the write-ahead log before they are moved into the store; SQLite's default."""
_ROOM_BYTES: Final = 262_144
"""What a probe writes after a failure: more than one large group of records."""
_END_BYTES: Final = 512
"""The end mark is overwritten in place; a disk writes one sector of this size whole."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,16}")


def now_us() -> int:
    """Return the time in microseconds since 1970-01-01T00:00:00Z."""
    return clocks.time_ns() // 1000


class SqliteSink:
    """One worker's chain on disk. Not thread-safe: one thread at a time calls its methods."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        key: SigningKey,
        version: str,
        public_keys: Mapping[str, Ed25519PublicKey] | None = None,
        clock: Callable[[], int] = now_us,
    ) -> None:
        """Open the chain `name` in `folder`, made if there is none, and record the start.

        `public_keys` are those of the past that its last head may be signed by.
        Raises StateInvalid where it cannot be opened, another process writes to it, or it was
        tampered with.
        """
        if not _NAME.fullmatch(name):
            raise StateInvalid("An audit chain is named by letters, digits, '-' and '_' alone.")
        self._folder, self._name = folder, name
        self._path, self._heads_path = folder / f"{name}.db", folder / f"{name}.heads"
        self._key, self._clock = key, clock
        self._keys = {**(public_keys or {}), key.key_id: key.private.public_key()}
        self._seq, self._hash = 0, GENESIS
        self._sealed = -1
        self._pages = 0
        self._failed = False
        self._files = contextlib.ExitStack()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open(create=True)
            resumed = self._seq > 0
            self.append([start_entry(version, resumed, clock())])
            self.seal()
            self._sync()
        except AuditUnavailable as error:
            self._files.close()
            raise StateInvalid(f"The audit store {name} takes no write: {error.detail}") from error
        except (OSError, sqlite3.Error) as error:
            self._files.close()
            raise StateInvalid(f"The audit store {name} cannot be opened: {_why(error)}") from error
        except BaseException:
            self._files.close()
            raise

    @property
    def chain(self) -> str:
        """Id of the chain."""
        return self._linker.chain

    @property
    def seq(self) -> int:
        """Sequence of the last durable record."""
        return self._seq

    def append(self, entries: Sequence[Entry]) -> None:
        """Make the entries durable, in order, as one commit; all of them or none.

        Raises AuditUnavailable where that fails; the chain then stands as before.
        """
        self._restore()
        seq, prev, link, size = self._seq, self._hash, self._linker.link, 0
        values: list[object] = []
        for tenant, kind, request_id, time, event in entries:
            seq += 1
            record = link(event, seq, prev)
            prev = sha256(record).digest()
            size += len(record)
            values += (seq, tenant, kind, request_id, time, prev, record)
        try:
            self._insert(values)
        except (sqlite3.Error, OSError) as error:
            self._fail()
            raise _unavailable(error) from error
        self._seq, self._hash = seq, prev
        self._failed = False
        self._pages += 2 + size // 4_000

    def seal(self) -> None:
        """Sign a head over all that is durable, write it, and move a long log into the store.

        Raises AuditUnavailable where that fails; the next `append` tries again before it commits.
        """
        try:
            self._write_head()
            if self._pages >= _CHECKPOINT_PAGES:
                self._pages = 0
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (sqlite3.Error, OSError) as error:
            self._fail()
            raise _unavailable(error) from error

    def probe(self) -> None:
        """Commit a write that leaves no record. Raises AuditUnavailable where that fails.

        After a failure it asks for room: a nearly full disk may take a byte, but no records.
        """
        self._restore()
        room = _ROOM_BYTES if self._failed else 0
        try:
            self._connection.execute(
                "REPLACE INTO probe VALUES (1, ?, zeroblob(?))", (self._clock(), room)
            )
            self._failed = False
            self._pages += 2 + room // 4_000
        except (sqlite3.Error, OSError) as error:
            self._fail()
            raise _unavailable(error) from error

    def close(self) -> None:
        """Write the last head and close all files. Never raises; a later open checks the chain."""
        with contextlib.suppress(sqlite3.Error, OSError):
            self._write_head()
            self._sync()
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._files.close()

    # -- opening ----------------------------------------------------------------------------------

    def _open(self, *, create: bool) -> None:
        """Open all three files, and take up the chain where the store ends."""
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        files = contextlib.ExitStack()
        self._files = files
        self._heads = self._descriptor(f"{self._name}.heads", flags)
        try:
            fcntl.flock(self._heads, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateInvalid(f"Another process writes to the audit store {self._name}.") from None
        self._end = self._descriptor(f"{self._name}.end", flags)
        os.close(os.open(self._path, flags, 0o600))  # SQLite would make it readable by others
        self._connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=1.0,
        )
        files.callback(self._connection.close)
        self._identity = self._stat()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0"):
            self._connection.execute(f"PRAGMA {pragma}")
        if create:
            self._connection.executescript(SCHEMA)
        self._take_up()

    def _descriptor(self, name: str, flags: int) -> int:
        descriptor = os.open(self._folder / name, flags, 0o600)
        self._files.callback(os.close, descriptor)
        return descriptor

    def _take_up(self) -> None:
        """Find the chain's id and end, and check both against what was last signed."""
        found = self._connection.execute("SELECT id FROM chain").fetchone()
        (last,) = self._connection.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()
        signed = parse_end(os.pread(self._end, _END_BYTES, 0))
        head = self._last_head()
        if not last and signed is None and head <= 0 and self._sealed < 0:
            chain = found[0] if found else f"{self._name}-{secrets.token_hex(4)}"
            if not found:
                self._connection.execute("INSERT INTO chain VALUES (?, 1)", (chain,))
            self._linker = Linker(chain, self._key.key_id)
            self._write_head()
            self._sync()
            return
        if not found or signed is None or not signed.valid(self._keys):
            raise self._tampered("its end mark is missing or not signed by a known key")
        if signed.head.chain != found[0]:
            raise self._tampered("it holds another chain than its end mark")
        self._linker = Linker(found[0], self._key.key_id)
        for seq, digest in ((signed.head.seq, signed.head.hash), (self._seq, self._hash)):
            if last < seq:
                raise self._tampered(f"it ends at record {last}, and {seq} were signed")
            if self._hash_at(seq) != digest:
                raise self._tampered(f"record {seq} is not the one that was signed")
        self._follow(signed.head.seq, signed.head.hash)

    def _follow(self, seq: int, prev: bytes) -> None:
        """Walk from the last signed record to the end, so that a new head signs nothing broken."""
        rows = self._connection.execute(
            "SELECT seq, hash, record FROM records WHERE seq > ? ORDER BY seq", (seq,)
        )
        for found, digest, record in rows:
            seq += 1
            linked = follows(record, chain=self.chain, seq=seq, prev=prev)
            prev = sha256(record).digest()
            if not linked or found != seq or digest != prev:
                raise self._tampered(f"record {seq} does not follow from the one before it")
        self._seq, self._hash = seq, prev

    def _hash_at(self, seq: int) -> bytes | None:
        if seq == 0:
            return GENESIS
        row = self._connection.execute(
            "SELECT record FROM records WHERE seq = ?", (seq,)
        ).fetchone()
        return sha256(row[0]).digest() if row else None

    def _last_head(self) -> int:
        """Find where the next head goes; return the last head's sequence, -1 for none."""
        size = os.fstat(self._heads).st_size
        start = max(0, size - 4096)
        tail = os.pread(self._heads, size - start, start)
        self._heads_at = start + tail.rfind(b"\n") + 1
        lines = tail[: self._heads_at - start].splitlines()
        head = parse_head(lines[-1]) if lines else None
        return head.seq if head else -1

    def _tampered(self, what: str) -> StateInvalid:
        return StateInvalid(
            f"The audit store {self._name} was changed from outside: {what}. Run 'wardgate audit "
            f"verify', keep its files as evidence, and move them away to start a new chain."
        )

    # -- writing ----------------------------------------------------------------------------------

    def _insert(self, values: list[object]) -> None:
        rows = len(values) // _COLUMNS
        execute = self._connection.execute
        if rows <= _CHUNK:
            execute(_INSERTS[rows], values)
            return
        execute("BEGIN IMMEDIATE")
        for start in range(0, len(values), _CHUNK * _COLUMNS):
            part = values[start : start + _CHUNK * _COLUMNS]
            execute(_INSERTS[len(part) // _COLUMNS], part)
        execute("COMMIT")

    def _write_head(self) -> None:
        if self._sealed == self._seq:
            return
        mark = sign_head(
            self._key.private,
            self._key.key_id,
            chain=self.chain,
            seq=self._seq,
            digest=self._hash,
            time=self._clock(),
            secret=secrets.token_bytes(32),
        )
        line = mark.head.line()
        _pwrite(self._heads, line, self._heads_at)
        _pwrite(self._end, mark.line().ljust(_END_BYTES), 0)
        self._heads_at += len(line)
        self._sealed = self._seq

    def _sync(self) -> None:
        os.fsync(self._heads)
        os.fsync(self._end)
        sync_folder(self._folder)

    # -- failing and coming back ------------------------------------------------------------------

    def _stat(self) -> tuple[int, ...]:
        """Identify the files that the names lead to now."""
        store, heads = self._path.stat(), self._heads_path.stat()
        return store.st_dev, store.st_ino, heads.st_dev, heads.st_ino

    def _fail(self) -> None:
        """Give up the files; the next call opens them again, where they are there again."""
        self._identity = ()
        self._failed = True
        with contextlib.suppress(sqlite3.Error):
            self._connection.rollback()

    def _restore(self) -> None:
        """Be sure that the files are still those that were opened, and that no head is due."""
        try:
            if self._stat() != self._identity:  # unlinked files would take writes that nobody finds
                self._files.close()
                self._open(create=False)
            self._write_head()
        except StateInvalid as error:
            self._fail()
            raise AuditUnavailable(error.detail, reason="audit-tampered") from error
        except (sqlite3.Error, OSError) as error:
            self._fail()
            raise _unavailable(error) from error


def _pwrite(descriptor: int, content: bytes, at: int) -> None:
    if os.pwrite(descriptor, content, at) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _why(error: Exception) -> str:
    """Say in our own words what the system or SQLite reported."""
    name = getattr(error, "sqlite_errorname", "") or errno.errorcode.get(
        getattr(error, "errno", None) or 0, ""
    )
    if name in {"SQLITE_FULL", "ENOSPC", "EDQUOT", "EFBIG"}:
        return "The audit disk is full."
    if name in {"SQLITE_READONLY", "EROFS", "EACCES", "EPERM"} or name.startswith(
        "SQLITE_READONLY"
    ):
        return "The audit store is read-only."
    if name in {"SQLITE_CANTOPEN", "ENOENT", "ESTALE"}:
        return "The audit store is gone."
    return f"The audit store fails ({name or 'unknown'})."


def _unavailable(error: Exception) -> AuditUnavailable:
    return AuditUnavailable(_why(error), retry_after=1.0)
