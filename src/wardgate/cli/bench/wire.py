"""What the generator knows of a connection: lanes, each with one request on it at a time."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

LOST = 0
"""The status of a request whose connection broke."""


class Lane(Protocol):
    """Room for one request; after `send` it is taken until `answered` was called with it."""

    def send(self, number: int) -> None:
        """Send the request of this number."""

    def close(self) -> None:
        """Close what is below."""


Answered = Callable[[Lane, int, bytes, bytes], None]
"""Called with lane, status (200 is good, of gRPC too), head and body of each whole reply. The head
is the raw header block; of HTTP/2 it holds `server-timing` alone."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go. `ca` is the PEM file of who signed its certificate, where there is TLS."""

    host: str
    port: int
    path: str
    token: str | None = None
    ca: str | None = None

    def context(self, protocol: str) -> ssl.SSLContext | None:
        """Return the TLS 1.3 context for this protocol (ALPN), or None where there is no TLS."""
        if self.ca is None:
            return None
        context = ssl.create_default_context(cafile=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols([protocol])
        return context
