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
from wardgate.web.server.exchange import Exchange

_Result = TypeVar("_Result")


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
    exchange: Exchange | None = scope.get("wardgate.exchange")
    if exchange is not None and exchange.ended:  # no wait, so no deadline: one costs a timer
        return await _read(receive, limits.body_bytes)
    return await read(receive, limit=limits.body_bytes, seconds=limits.body_seconds)


async def read(receive: Receive, *, limit: int, seconds: float) -> bytes:
    """Read the whole body.

    Raises BodyTooLarge past `limit` bytes, BodyTimeout past `seconds`, BodyIncomplete where the
    caller broke off.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _read(receive, limit)
    except TimeoutError:
        raise BodyTimeout from None


async def _read(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
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


async def watched(work: Awaitable[_Result], scope: Scope) -> _Result:
    """Await `work`; if the caller leaves meanwhile, cancel it and raise CallerLeft.

    Our own server tells who leaves (`Exchange.on_leave`); under another nobody is watched.
    """
    exchange: Exchange | None = scope.get("wardgate.exchange")
    if exchange is None:
        return await work
    task = asyncio.current_task()
    assert task is not None
    left = False

    def leave() -> None:
        nonlocal left
        left = True
        task.cancel()

    exchange.on_leave(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if left:
            task.uncancel()
            raise CallerLeft from None
        raise
    finally:
        exchange.on_leave(None)
