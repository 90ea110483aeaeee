"""HTTP/2 frame headers as they pass by: what floods are made of, and what is only half there. Pure.

h2 answers each frame as the protocol says and counts none of them. A peer that sends frames which
cost it nothing (CVE-2019-9512 to 9518, CVE-2023-44487) is told apart here by counting.
"""

from __future__ import annotations

from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""RFC 9113 §3.4."""

_HEADER = 9
_END_STREAM = 0x1
_END_HEADERS = 0x4


class FrameType(IntEnum):
    """RFC 9113 §6."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


_STRIKES = {
    FrameType.PRIORITY: 1,
    FrameType.RST_STREAM: 5,
    FrameType.SETTINGS: 5,
    FrameType.PING: 2,
    FrameType.WINDOW_UPDATE: 1,
}
"""What a frame costs: resets and settings make the most work for the least bytes."""


class FrameWatch:
    """Follows one connection's incoming bytes frame by frame, without keeping payloads."""

    __slots__ = ("_buffer", "_in_headers", "_payload", "_preface", "_type", "strikes")

    def __init__(self) -> None:
        """Expect the client's preface."""
        self.strikes = 0
        """Cost of idle frames so far; the owner forgives some over time."""
        self._preface = len(PREFACE)
        self._buffer = b""
        self._payload = 0
        self._type = -1
        self._in_headers = False

    @property
    def partial(self) -> bool:
        """Whether something is begun that must end soon: preface, header block, or a small frame.

        A half-sent DATA frame is not: the body has a deadline of its own.
        """
        unfinished = bool(self._buffer) or (self._payload > 0 and self._type != FrameType.DATA)
        return self._preface > 0 or self._in_headers or unfinished

    def feed(self, data: bytes) -> None:
        """Follow more bytes."""
        at = min(self._preface, len(data))
        self._preface -= at
        if self._buffer:
            data, at, self._buffer = self._buffer + data[at:], 0, b""
        end = len(data)
        while at < end:
            if self._payload:
                step = min(self._payload, end - at)
                self._payload -= step
                at += step
            elif end - at < _HEADER:
                self._buffer = data[at:]
                return
            else:
                length = int.from_bytes(data[at : at + 3])
                self._frame(data[at + 3], data[at + 4], length)
                self._payload = length
                at += _HEADER

    def _frame(self, kind: int, flags: int, length: int) -> None:
        self._type = kind
        if kind in (FrameType.HEADERS, FrameType.CONTINUATION):
            self._in_headers = not flags & _END_HEADERS
            if self._in_headers and not length:
                self.strikes += 10
        elif kind == FrameType.DATA:
            if not length and not flags & _END_STREAM:
                self.strikes += 5
        else:
            self.strikes += _STRIKES.get(kind, 1)  # type: ignore[call-overload]
