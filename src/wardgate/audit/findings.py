"""What checking a chain can find: the first bad record, and intents without an outcome. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from wardgate.audit.event import INTENT, OUTCOME, START

Row = tuple[int, str, str, str, int, bytes, bytes]
"""(seq, tenant, kind, request_id, time, hash, record), as stored."""

MAX_OPEN: Final = 100_000
"""Intents held while their outcome is looked for."""
MAX_LISTED: Final = 100
"""Intents without an outcome that are listed; all are counted."""


class What(StrEnum):
    """What was done to a chain."""

    CHANGED = "changed"
    REMOVED = "removed"
    REORDERED = "reordered"
    CUT_OFF = "cut-off"
    REWRITTEN = "rewritten"
    HEAD_INVALID = "head-invalid"
    HEAD_MISSING = "head-missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """The first record of a chain that is not as it was written."""

    seq: int
    what: What
    detail: str


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """An intent without an outcome."""

    seq: int
    tenant: str
    request_id: str
    time: int
    """Microseconds since 1970-01-01T00:00:00Z."""


@dataclass(slots=True)
class ChainResult:
    """What the records and heads of one chain show."""

    records: int = 0
    heads: int = 0
    """Heads whose hash was compared with the record that they name."""
    ahead: int = 0
    """Records after the last head; usual after a crash, and while a gateway writes."""
    interrupted: int = 0
    """Intents without an outcome whose gateway process has ended since."""
    in_flight: int = 0
    """Intents without an outcome since the last start: under way, or cut short by a crash."""
    without_outcome: list[OpenIntent] = field(default_factory=list)
    """The first `MAX_LISTED` of both, oldest first."""
    finding: Finding | None = None


class Intents:
    """Pairs intents with outcomes in bounded memory; a request id may come more than once."""

    def __init__(self, result: ChainResult) -> None:
        self._result = result
        self._open: dict[tuple[str, str], list[OpenIntent]] = {}

    def see(self, row: Row) -> None:
        """Take note of a record."""
        seq, tenant, kind, request_id, time = row[:5]
        key = (tenant, request_id)
        if kind == INTENT:
            if len(self._open) >= MAX_OPEN:
                self._end(self._open.pop(next(iter(self._open))))
            self._open.setdefault(key, []).append(OpenIntent(seq, tenant, request_id, time))
        elif kind == OUTCOME:
            waiting = self._open.get(key)
            if waiting:
                waiting.pop(0)
                if not waiting:
                    del self._open[key]
        elif kind == START:  # a new process: what is open now will never get an outcome
            for waiting in self._open.values():
                self._end(waiting)
            self._open.clear()

    def close(self) -> None:
        """Count what is still open."""
        for waiting in self._open.values():
            self._result.in_flight += len(waiting)
            self._list(waiting)

    def _end(self, waiting: list[OpenIntent]) -> None:
        self._result.interrupted += len(waiting)
        self._list(waiting)

    def _list(self, waiting: list[OpenIntent]) -> None:
        room = MAX_LISTED - len(self._result.without_outcome)
        self._result.without_outcome += waiting[: max(0, room)]
