"""One request and its reply as an ASGI application sees them; the protocols are subclasses.

Nothing is read for the application before it asks: `receive` is what lets more of the body in. What
goes wrong in the application is logged by type and place alone, never with its message, which may
hold input.
"""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from itertools import chain
from typing import Any

from wardgate.web.server.heads import Headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOG = logging.getLogger("wardgate.server")

BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
"""Replies that never have a body (RFC 9110 §6.4.1)."""

_BREAK = re.compile(rb"[\r\n\0]")


class ReplyInvalid(RuntimeError):
    """The application's reply breaks ASGI or HTTP; the connection or stream is cut."""


class Exchange(ABC):
    """A request that is being read and answered. One task runs it; the connection feeds it."""

    __slots__ = (
        "_begun",
        "_chunks",
        "_delivered",
        "_event",
        "_leaving",
        "_remaining",
        "complete",
        "ended",
        "gone",
        "scope",
        "started",
        "wants",
    )

    def __init__(self, scope: Scope) -> None:
        """Begin with no body and no reply."""
        self.scope = scope
        self.ended = False
        """The request is whole."""
        self.wants = False
        """The application waits for more of the body."""
        self.started = False
        """Bytes of the reply have left."""
        self.complete = False
        """The reply is whole."""
        self.gone = False
        """The caller left, or its request broke off."""
        self._chunks: list[bytes] = []
        self._begun = False
        self._delivered = False
        self._event: asyncio.Event | None = None
        self._leaving: Callable[[], None] | None = None
        self._remaining: int | None = None

    # -- the connection's side --------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._chunks.append(data)
        self.wants = False
        self.wake()

    def end(self) -> None:
        """Mark the request as whole."""
        self.ended = True
        self.wake()

    def leave(self) -> None:
        """Mark the caller as gone, or its request as broken off."""
        self.gone = True
        self.wake()
        self._tell()

    def _tell(self) -> None:
        tell, self._leaving = self._leaving, None
        if tell is not None:
            tell()

    def wake(self) -> None:
        """Let those who wait look again."""
        if self._event is not None:
            self._event.set()

    @property
    def buffered(self) -> bool:
        """Whether a piece of the body waits for the application."""
        return bool(self._chunks)

    # -- the application's side -------------------------------------------------------------------

    async def run(self, app: Application) -> None:
        """Run the application on this request; make sure that the caller gets some answer."""
        self.scope["wardgate.exchange"] = self
        try:
            if not self.gone:
                await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.abort()
            raise
        except Exception as error:  # noqa: BLE001 -- the last place that can answer
            frame = traceback.extract_tb(error.__traceback__)[-1]
            LOG.error(  # noqa: TRY400 -- a traceback shows the message, which may hold input
                "Application failed: %s at %s", type(error).__name__, frame.name
            )
        finally:
            del self.scope["wardgate.exchange"]  # a cycle would outlive the request
        if self.complete or self.gone:
            return
        if self.started:
            self.abort()
        else:
            self.fail()

    async def receive(self) -> Message:
        """Give the next piece of the body, or `http.disconnect` once nobody is there."""
        while True:
            if self.gone or self.complete:
                return {"type": "http.disconnect"}
            if self._chunks or (self.ended and not self._delivered):
                chunks, self._chunks = self._chunks, []
                body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                self._delivered = self.ended
                self.taken()
                return {"type": "http.request", "body": body, "more_body": not self.ended}
            if not self.ended:
                self.wants = True
                self.want()
            await self.changed()

    def on_leave(self, tell: Callable[[], None] | None) -> None:
        """Have `tell` called, once, when the caller leaves; None takes that back.

        To wait for `http.disconnect` says the same, but takes a task.
        """
        self._leaving = tell
        if self.gone and tell is not None:
            asyncio.get_running_loop().call_soon(self._tell)

    async def changed(self) -> None:
        """Wait until the connection has news for this exchange."""
        if self._event is None:
            self._event = asyncio.Event()
        self._event.clear()
        await self._event.wait()

    async def send(self, message: Message) -> None:
        """Send the reply's head or a piece of its body. A caller who left costs nothing."""
        if self.gone:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self._begun:
            given = message.get("headers", ())
            self._begin(message["status"], [(name.lower(), value) for name, value in given])
            self._begun = True
        elif kind == "http.response.body" and self._begun and not self.complete:
            body, more = message.get("body", b""), message.get("more_body", False)
            if self._remaining is not None:
                self._remaining -= len(body)
                if self._remaining < 0 or (self._remaining and not more):
                    raise ReplyInvalid("The body is not of its declared length.")
            self.started = True
            await self.write(b"" if self.scope["method"] == "HEAD" else body, more=more)
        else:
            raise ReplyInvalid("ASGI messages came out of order.")

    def _begin(self, status: int, headers: Headers) -> None:
        if _BREAK.search(b"".join(chain.from_iterable(headers))):
            raise ReplyInvalid("A header of the reply holds a line break.")
        length = dict(headers).get(b"content-length")
        if length is not None and self.scope["method"] != "HEAD":
            self._remaining = int(length)
        if status in BODILESS:
            self._remaining = 0
        self.head(status, headers)

    @property
    def sized(self) -> bool:
        """Whether the reply's length is declared."""
        return self._remaining is not None

    # -- what a protocol does ---------------------------------------------------------------------

    @abstractmethod
    def want(self) -> None:
        """Let more of the body in."""

    def taken(self) -> None:  # noqa: B027 -- most protocols need not know
        """Note that the application took what was buffered."""

    @abstractmethod
    def head(self, status: int, headers: Headers) -> None:
        """Keep the reply's head; it leaves with the first piece of the body."""

    @abstractmethod
    async def write(self, body: bytes, *, more: bool) -> None:
        """Write a piece of the reply; without `more` the reply is complete."""

    @abstractmethod
    def fail(self) -> None:
        """Answer 500 where no reply was started."""

    @abstractmethod
    def abort(self) -> None:
        """Cut the connection or stream in the middle of a reply."""
