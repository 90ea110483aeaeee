"""What all connections of one server share."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Protocol

from wardgate.errors import WardgateError
from wardgate.web.server.exchange import Application, Exchange
from wardgate.web.server.limits import Limits


class Connection(Protocol):
    """A connection as the server sees it."""

    deadline: float
    """Loop time at which `expire` is due."""

    def expire(self) -> None:
        """Close, or answer and close, once the deadline has passed."""

    def drain(self) -> None:
        """Take no more requests than those that are on their way."""

    def cut(self) -> None:
        """Close at once."""


Refused = Callable[[type[WardgateError], str | None], None]
"""Told of each refusal that the server itself makes, and of the caller's address."""


def untold(error: type[WardgateError], peer: str | None) -> None:
    """Take note of nothing."""


class Rescue(Protocol):
    """Who answers the callers of plain HTTP/1.1 connections if this process dies."""

    def opened(self, connection: socket.socket) -> int:
        """Take note of a connection; return its slot."""

    def waits(self, slot: int, waiting: bool) -> None:
        """Take note of whether its caller waits for an answer."""

    def closed(self, slot: int) -> None:
        """Take note that the connection is closed here."""


@dataclass(slots=True)
class State:
    """The application, the limits, and every open connection and running task."""

    app: Application
    limits: Limits
    loop: asyncio.AbstractEventLoop
    refused: Refused = untold
    rescue: Rescue | None = None
    connections: set[Connection] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    draining: bool = False
    date: bytes = b""
    """Value of the `date` header, renewed by the server every tick."""

    @property
    def full(self) -> bool:
        """Whether there are more connections than allowed."""
        return len(self.connections) > self.limits.connections

    def start(self, exchange: Exchange) -> None:
        """Run the application on an exchange; the task is owned here."""
        task = self.loop.create_task(exchange.run(self.app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def renew_date(self) -> None:
        """Set the `date` header's value to now (RFC 9110 §6.6.1)."""
        self.date = formatdate(usegmt=True).encode()


def base_scope(transport: asyncio.BaseTransport, tls: dict[str, Any] | None) -> dict[str, Any]:
    """Return the part of an ASGI scope that all requests of a connection share."""
    peer = transport.get_extra_info("peername")
    here = transport.get_extra_info("sockname")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "server": (str(here[0]), here[1]) if isinstance(here, tuple) else None,
        "client": (str(peer[0]), peer[1]) if isinstance(peer, tuple) else None,
        "scheme": "http" if tls is None else "https",
        "root_path": "",
    }
    if tls is not None:
        scope["extensions"] = {"tls": tls}
    return scope


def address(scope: dict[str, Any]) -> str | None:
    """Return the caller's address, without its port."""
    client = scope["client"]
    return None if client is None else str(client[0])
