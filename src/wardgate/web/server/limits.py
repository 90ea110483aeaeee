"""How much a connection may bring and how slowly: the server's own limits, as plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of every connection. The limits of a body and of its time are the application's."""

    header_bytes: int = 16_384
    """Request line and headers together, bytes; also what chunk framing may cost."""
    header_seconds: float = 10.0
    """From accept (TLS included) or a later request's first byte to the end of its headers."""
    idle_seconds: float = 30.0
    """How long a kept-alive connection may idle, and how long a reader of a reply may stall."""
    connections: int = 2048
    """Open connections; a few more are told 503, and what comes beyond those is closed."""
    streams: int = 100
    """Requests at once on one HTTP/2 connection (RFC 9113 §6.5.2 recommends at least 100)."""
    linger_seconds: float = 2.0
    """After a reply ahead of the body's end: how long the rest is read; so the reply is seen."""
    linger_bytes: int = 32 << 20
    """After such a reply: how many bytes of the rest are read on one connection at a time."""
    grace_seconds: float = 1.0
    """While draining: how long an idle connection may still send a request, or end its TLS."""

    @property
    def overflow(self) -> int:
        """Connections above the cap that are still told 503 rather than closed."""
        return max(16, self.connections // 16)

    @property
    def tick(self) -> float:
        """Seconds between two looks at the deadlines."""
        return min(1.0, self.header_seconds / 10, self.idle_seconds / 10, self.grace_seconds / 4)

    @property
    def header_wait(self) -> float:
        """Seconds after which the next tick still comes within `header_seconds`."""
        return self.header_seconds - self.tick
