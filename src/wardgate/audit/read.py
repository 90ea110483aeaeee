"""Reads audit records back, over all chains of a folder, newest last; checking is verify's."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from wardgate.audit.verify import open_read_only

Record = dict[str, Any]
"""A record's JSON object: `alg chain event format key prev seq`."""


def tail(folder: Path, count: int) -> Iterator[Record]:
    """Give the last `count` records of all chains together, by time."""
    query = "SELECT time, record FROM records ORDER BY seq DESC LIMIT ?"
    found: list[tuple[int, bytes]] = []
    for path in _stores(folder):
        with closing(open_read_only(path)) as store:
            found += store.execute(query, (count,)).fetchall()
    found.sort(key=_time)
    for _, record in found[max(0, len(found) - count) :]:
        yield orjson.loads(record)


def search(
    folder: Path,
    *,
    tenant: str | None = None,
    subject: str | None = None,
    request_id: str | None = None,
    kind: str | None = None,
    since: int | None = None,
    until: int | None = None,
) -> Iterator[Record]:
    """Give all records that match every filter given, by time, streaming.

    `since` (included) and `until` (excluded) are microseconds since 1970-01-01T00:00:00Z.
    `subject` finds the records that name it: intents, denials, and counts of refusals.
    """
    filters: dict[str, object] = {
        "tenant = ?": tenant,
        "request_id = ?": request_id,
        "kind = ?": kind,
        "time >= ?": since,
        "time < ?": until,
    }
    given = {clause: value for clause, value in filters.items() if value is not None}
    where = " AND ".join(given) or "1"
    query = f"SELECT time, record FROM records WHERE {where} ORDER BY seq"  # noqa: S608 -- own text
    stores = [open_read_only(path) for path in _stores(folder)]
    try:
        streams = [_rows(store, query, tuple(given.values())) for store in stores]
        for _, record in heapq.merge(*streams, key=_time):
            envelope: Record = orjson.loads(record)
            if subject is None or _names(envelope["event"], subject):
                yield envelope
    finally:
        for store in stores:
            store.close()


def _stores(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.db"))


def _rows(
    store: sqlite3.Connection, query: str, values: tuple[object, ...]
) -> Iterator[tuple[int, bytes]]:
    # `yield from` would close the cursor, and then perhaps after its store.
    for row in store.execute(query, values):  # noqa: UP028
        yield row


def _time(row: tuple[int, bytes]) -> int:
    return row[0]


def _names(event: Record, subject: str) -> bool:
    return event.get("sub") == subject or any(
        count.get("sub") == subject for count in event.get("counts", ())
    )
