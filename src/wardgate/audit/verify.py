"""Checks all chains of an audit folder, also while gateways write to them.

For each chain the end mark and the heads are read before the snapshot of the store is taken: heads
follow their commits, so what they name is in the snapshot, or was taken out.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from wardgate.audit.chain import EndMark, parse_end
from wardgate.audit.findings import ChainResult, Finding, Row, What
from wardgate.audit.verifier import check_chain
from wardgate.errors import StateInvalid

_SIGNED: Final = {What.REWRITTEN, What.HEAD_INVALID, What.HEAD_MISSING}
"""Findings about signatures: a second pass over every signature places them."""
_NOT_READ: Final = (
    "SQLITE_BUSY",
    "SQLITE_CANTOPEN",
    "SQLITE_IOERR",
    "SQLITE_PERM",
    "SQLITE_READONLY",
)
"""SQLite's codes for a store that says nothing about its records."""
_LINE: Final = 4_096
"""Bytes of a head line at most; it has less than 512."""


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What was found in one chain."""

    name: str
    """Of its files: `<name>.db`, `<name>.heads`, `<name>.end`."""
    result: ChainResult

    @property
    def ok(self) -> bool:
        """Whether every record is as it was written."""
        return self.result.finding is None


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in a folder."""

    chains: tuple[ChainReport, ...]

    @property
    def ok(self) -> bool:
        """Whether there is a chain, and every record of all is as it was written."""
        return bool(self.chains) and all(chain.ok for chain in self.chains)

    @property
    def records(self) -> int:
        """Records checked in all chains."""
        return sum(chain.result.records for chain in self.chains)


def verify(folder: Path, public_keys: Mapping[str, Ed25519PublicKey]) -> Report:
    """Check every chain in `folder` against its links, heads and end mark.

    `public_keys` by key id come from the state folder or, better, from elsewhere; never from
    `folder` itself. Memory does not grow with the length of a chain. Raises StateInvalid where a
    store may be whole but cannot be read: no right to, or no answer from the disk.
    """
    names = {path.stem for end in ("db", "heads", "end") for path in folder.glob(f"*.{end}")}
    reports = []
    for name in sorted(names):
        result = _verify_chain(folder, name, public_keys, every_signature=False)
        if result.finding is not None and result.finding.what in _SIGNED:
            result = _verify_chain(folder, name, public_keys, every_signature=True)
        reports.append(ChainReport(name, result))
    return Report(tuple(reports))


def _verify_chain(
    folder: Path, name: str, keys: Mapping[str, Ed25519PublicKey], *, every_signature: bool
) -> ChainResult:
    end = _end_mark(folder / f"{name}.end", keys)
    lines = _head_lines(folder / f"{name}.heads")
    next(lines)  # takes the size now, before the snapshot
    path = folder / f"{name}.db"
    if not path.is_file():
        return check_chain((), lines, end, keys, every_signature=every_signature)
    last = 0

    def rows(store: sqlite3.Connection) -> Iterator[Row]:
        nonlocal last
        for row in store.execute(
            "SELECT seq, tenant, kind, request_id, time, hash, record FROM records ORDER BY seq"
        ):
            last = row[0]
            yield row

    try:
        with closing(open_read_only(path)) as store:
            return check_chain(rows(store), lines, end, keys, every_signature=every_signature)
    except sqlite3.Error as error:
        reason = getattr(error, "sqlite_errorname", type(error).__name__)
        if reason.startswith(_NOT_READ):
            raise StateInvalid(f"The audit store {name} cannot be read ({reason}).") from error
        detail = f"the store cannot be read from here on ({reason})"
        return ChainResult(finding=Finding(last + 1, What.CHANGED, detail))


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a store for reading, also while a gateway writes to it. Raises sqlite3.Error."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    if not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        address += "&immutable=1"  # an archive: SQLite needs no lock where nothing can change
    store = sqlite3.connect(address, uri=True, isolation_level=None, timeout=5.0)
    store.execute("PRAGMA query_only=ON")
    return store


def _end_mark(path: Path, keys: Mapping[str, Ed25519PublicKey]) -> EndMark | None:
    """Read the end mark; again where it was being overwritten."""
    mark = None
    for _ in range(5):
        try:
            mark = parse_end(path.read_bytes())
        except OSError:
            return None
        if mark is not None and mark.valid(keys):
            return mark
    return mark


def _head_lines(path: Path) -> Iterator[bytes]:
    """Give an empty line at once, then each whole line that was there at that moment.

    A last line without its end is one that a crash cut short, or one being written.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            yield b""
            while (left := size - file.tell()) > 0:
                line = file.readline(min(left, _LINE))
                if not line.endswith(b"\n") and len(line) < _LINE:
                    return
                yield line
    except OSError:
        yield b""
