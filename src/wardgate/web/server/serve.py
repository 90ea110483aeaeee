"""The HTTP server: takes connections from listening sockets, keeps every deadline, drains.

It runs inside the caller's event loop and touches no signal. Sockets come from `bind` or from a
supervisor as inherited file descriptors (`socket.socket(fileno=...)`). Connections are accepted one
for each time a socket is ready, so that workers that share a socket share the load.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from typing import Any

from wardgate.errors import SettingsInvalid
from wardgate.web.server.exchange import Application
from wardgate.web.server.http1 import Http1
from wardgate.web.server.http2 import Http2
from wardgate.web.server.limits import Limits
from wardgate.web.server.state import Refused, Rescue, State, untold
from wardgate.web.server.tls import TlsContexts, TlsFiles, peer

LOG = logging.getLogger("wardgate.server")

BACKLOG = 2048
_TLS_CHECK_SECONDS = 1.0
_DRAIN_LOOK_SECONDS = 0.02


def bind(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket on a numeric or named address; port 0 takes a free one.

    Raises OSError where the address cannot be had.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class HttpServer:
    """One server in one process. `start`, then `drain`."""

    def __init__(
        self,
        app: Application,
        sockets: Sequence[socket.socket],
        *,
        limits: Limits | None = None,
        tls: TlsFiles | None = None,
        refused: Refused = untold,
        rescue: Rescue | None = None,
    ) -> None:
        """Serve `app` on listening `sockets`, which belong to the server from now on.

        `refused` is called for each request that the server itself refuses, with the class of the
        error and the caller's address: malformed or late heads, connections above the cap, an
        application without a reply. `rescue` is told of plain HTTP/1.1 connections.
        Raises SettingsInvalid where the TLS files cannot be used.
        """
        self._app = app
        self._sockets = list(sockets)
        self._limits = limits or Limits()
        self._tls = TlsContexts(tls) if tls else None
        self._refused = refused
        self._rescue = rescue
        self._state: State
        self._openings: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._tls_due = 0.0
        self._resting: list[socket.socket] = []

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each listening socket."""
        return [tuple(listener.getsockname()[:2]) for listener in self._sockets]

    @property
    def connections(self) -> int:
        """Open connections, those in their TLS handshake included."""
        return len(self._state.connections) + len(self._openings)

    async def start(self) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        self._state = State(self._app, self._limits, loop, self._refused, self._rescue)
        self._tick()
        for listener in self._sockets:
            listener.setblocking(False)
            loop.add_reader(listener, self._accept, listener)

    async def drain(self, seconds: float) -> int:
        """Stop accepting, let requests end within `seconds`, close; return how many were cut.

        What waits in a socket's backlog is still accepted and served. Replies say
        `connection: close` (HTTP/2: GOAWAY); idle connections may use their grace.
        """
        state = self._state
        state.draining = True
        for listener in self._sockets:
            while self._accept(listener):
                pass
            state.loop.remove_reader(listener)
            listener.close()
        self._sockets.clear()
        for connection in list(state.connections):
            connection.drain()
        end = state.loop.time() + seconds
        while self._busy and state.loop.time() < end:  # noqa: ASYNC110 -- many sources, one wait
            await asyncio.sleep(_DRAIN_LOOK_SECONDS)
        cut = len(state.tasks)
        await self._stop()
        return cut

    @property
    def _busy(self) -> bool:
        return bool(self._state.connections or self._state.tasks or self._openings)

    async def _stop(self) -> None:
        """Cut what is left; every task has ended when this returns."""
        state = self._state
        for connection in list(state.connections):
            connection.cut()
        left = state.tasks | self._openings
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()

    # -- accepting --------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> bool:
        """Accept one connection; tell whether there was one."""
        state = self._state
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError:  # no descriptor or memory left: try again at the next tick, not at once
            state.loop.remove_reader(listener)
            self._resting.append(listener)
            return False
        if self.connections >= self._limits.connections + self._limits.overflow:
            connection.close()
            return True
        connection.setblocking(False)
        task = state.loop.create_task(self._open(connection))
        self._openings.add(task)
        task.add_done_callback(self._openings.discard)
        return True

    async def _open(self, connection: socket.socket) -> None:
        """Make a protocol for a connection, after its TLS handshake where there is one."""
        state = self._state
        deadline = state.loop.time() + self._limits.header_wait
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                await state.loop.connect_accepted_socket(
                    lambda: Http1(state, deadline=deadline), connection
                )
            else:
                await state.loop.connect_accepted_socket(
                    lambda: _Negotiated(state, deadline),
                    connection,
                    ssl=self._tls.current,
                    ssl_handshake_timeout=self._limits.header_wait,
                    ssl_shutdown_timeout=self._limits.grace_seconds,
                )
        except OSError:  # the caller left, or no TLS came about
            connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise

    # -- time -------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Look at all deadlines, renew the date, and look for new TLS files."""
        state = self._state
        now = state.loop.time()
        state.renew_date()
        for connection in [each for each in state.connections if each.deadline <= now]:
            connection.expire()
        while self._resting and not state.draining:
            listener = self._resting.pop()
            state.loop.add_reader(listener, self._accept, listener)
        if self._tls is not None and now >= self._tls_due:
            self._tls_due = now + _TLS_CHECK_SECONDS
            self.reload_tls()
        self._timer = state.loop.call_later(self._limits.tick, self._tick)

    def reload_tls(self) -> bool:
        """Load changed TLS files for new connections; tell whether that was done."""
        if self._tls is None:
            return False
        try:
            changed = self._tls.reload()
        except SettingsInvalid as error:
            LOG.error(  # noqa: TRY400 -- an expected fault with its own sentence
                "New TLS files refused, the old ones stay: %s", error.detail
            )
            return False
        if changed:
            LOG.info("New TLS files are in use.")
        return changed


class _Negotiated(asyncio.Protocol):
    """Hands a connection over to the protocol that ALPN chose (RFC 7301)."""

    def __init__(self, state: State, deadline: float) -> None:
        self._state = state
        self._deadline = deadline

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        session: ssl.SSLObject = transport.get_extra_info("ssl_object")
        tls: dict[str, Any] = peer(session)
        protocol: Http1 | Http2
        if session.selected_alpn_protocol() == "h2":
            protocol = Http2(self._state, deadline=self._deadline, tls=tls)
        else:
            protocol = Http1(self._state, deadline=self._deadline, tls=tls)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
