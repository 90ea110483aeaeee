"""HTTP/2 streams whose reply is complete while their body still comes, and for how long. Pure.

A server may reset such a stream at once (RFC 9113 §8.1), but clients built on h2 then fail while
they send and never read the reply. So the rest is let in and dropped, in bounds: the counterpart of
a lingering close in HTTP/1.1.
"""

from __future__ import annotations

import math


class Linger:
    """The lingering streams of one connection. Their number is bounded by its open streams."""

    __slots__ = ("_bytes", "_dropped", "_due", "_seconds")

    def __init__(self, seconds: float, count: int) -> None:
        """Allow each stream `seconds`, and all that linger at one time `count` bytes together."""
        self._seconds = seconds
        self._bytes = count
        self._due: dict[int, float] = {}
        self._dropped: dict[int, int] = {}

    def __contains__(self, stream_id: int) -> bool:
        """Tell whether a stream lingers."""
        return stream_id in self._due

    def __bool__(self) -> bool:
        """Tell whether any stream lingers."""
        return bool(self._due)

    @property
    def deadline(self) -> float:
        """When the first stream is overdue; infinite where none lingers."""
        return next(iter(self._due.values()), math.inf)  # equal waits: first in, first due

    def begin(self, stream_id: int, now: float) -> None:
        """Let a stream linger from `now` on."""
        self._due[stream_id] = now + self._seconds
        self._dropped[stream_id] = 0

    def drop(self, stream_id: int, count: int) -> bool:
        """Count bytes dropped for a lingering stream; tell whether all is still within bounds."""
        self._dropped[stream_id] += count
        return sum(self._dropped.values()) <= self._bytes

    def end(self, stream_id: int) -> None:
        """Forget a stream that ended, if it lingers."""
        self._due.pop(stream_id, None)
        self._dropped.pop(stream_id, None)

    def overdue(self, now: float) -> list[int]:
        """Return the streams whose time is over."""
        return [stream_id for stream_id, due in self._due.items() if due <= now]
