"""One bounded read of a request's body, and the watch on a caller that leaves.

Nothing here runs before the caller is known, permitted and admitted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from wardgate.errors import (
    BodyIncomplete,
    BodyTimeout,
    BodyTooLarge,
    ContentTypeUnsupported,
    RequestMalformed,
)
from wardgate.setting_groups import Limits
from wardgate.web.middleware import Receive, Scope

_Result = TypeVar("_Result")
_WATCH_AFTER = 0.005
"""Seconds after which a request's caller is watched: most replies are out by then, and a watch
costs a task."""


class CallerLeft(Exception):
    """The caller closed the connection before its reply."""


def check_headers(
    scope: Scope, *, media_type: bytes, limit: int, or_else: frozenset[bytes] = frozenset()
) -> None:
    """Refuse by the headers alone: wrong type, any content encoding, a declared length too large.

    `or_else` are other types that do as well, b"" for none at all.
    Raises ContentTypeUnsupported, BodyTooLarge, or RequestMalformed for two content types, of which
    another server on the way might take the other (RFC 9110 §5.3).
    """
    given: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"content-type":
            if given is not None:
                raise RequestMalformed("The header Content-Type stands there twice.")
            given = value
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise ContentTypeUnsupported
        elif name == b"content-length" and int(value) > limit:
            raise BodyTooLarge(f"The request body is larger than {limit} bytes.")
    kind, _, parameters = (given or b"").partition(b";")
    kind = kind.strip().lower()
    if kind != media_type and kind not in or_else:
        raise ContentTypeUnsupported(f"Send the body as {media_type.decode()}.")
    charset = parameters.strip().lower()
    if charset and charset.replace(b'"', b"") not in (b"charset=utf-8", b"charset=utf8"):
        raise ContentTypeUnsupported("Send the body as UTF-8, without other parameters.")


async def take(
    scope: Scope,
    receive: Receive,
    limits: Limits,
    *,
    media_type: bytes = b"application/json",
    or_else: frozenset[bytes] = frozenset(),
) -> bytes:
    """Refuse by the headers, then read the whole body. Raises as `check_headers` and `read`."""
    check_headers(scope, media_type=media_type, limit=limits.body_bytes, or_else=or_else)
    return await read(receive, limit=limits.body_bytes, seconds=limits.body_seconds)


async def read(receive: Receive, *, limit: int, seconds: float) -> bytes:
    """Read the whole body.

    Raises BodyTooLarge past `limit` bytes, BodyTimeout past `seconds`, BodyIncomplete where the
    caller broke off.
    """
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BodyIncomplete
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > limit:
                    raise BodyTooLarge(f"The request body is larger than {limit} bytes.")
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except TimeoutError:
        raise BodyTimeout from None


async def watched(work: Awaitable[_Result], receive: Receive) -> _Result:
    """Await `work`; if the caller leaves meanwhile, cancel it and raise CallerLeft.

    The body must have been read whole: the next message can only be the disconnect.
    """
    task = asyncio.current_task()
    assert task is not None
    watch = _Watch(task, receive)
    timer = task.get_loop().call_later(_WATCH_AFTER, watch.start)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.left:
            task.uncancel()
            raise CallerLeft from None
        raise
    finally:
        timer.cancel()
        watch.stop()


class _Watch:
    """Cancels a task when its caller leaves."""

    def __init__(self, task: asyncio.Task[object], receive: Receive) -> None:
        self._task = task
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self.left = False

    def start(self) -> None:
        """Begin to watch."""
        self._watcher = asyncio.ensure_future(self._wait())

    def stop(self) -> None:
        """End the watch."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _wait(self) -> None:
        if (await self._receive())["type"] == "http.disconnect":
            self.left = True
            self._task.cancel()
