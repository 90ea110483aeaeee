"""The ASGI application that every server in this comparison runs."""

from __future__ import annotations

import asyncio
import json
from typing import Any


async def reply(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read(receive: Any) -> bytes | None:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: C901 -- a table of routes
    if scope["type"] != "http":
        return
    path = scope["path"]
    if path == "/echo":  # reads the body, answers 200
        body = await read(receive)
        if body is not None:
            await reply(send, 200, body)
    elif path == "/refuse":  # answers without reading, as a gateway does to an unknown caller
        await reply(send, 401, b"no")
    elif path == "/stall":  # looks at the body only after two seconds
        await asyncio.sleep(2)
        await reply(send, 401, b"no")
    elif path == "/slow":  # works for a second
        await asyncio.sleep(1)
        await reply(send, 200, b"done")
    elif path == "/deadline":  # gives the body one second
        try:
            async with asyncio.timeout(1):
                await read(receive)
        except TimeoutError:
            await reply(send, 408, b"late")
        else:
            await reply(send, 200, b"read")
    elif path == "/tls":
        tls = scope.get("extensions", {}).get("tls", {})
        names = {"http": scope["http_version"], "client": tls.get("client_cert_name")}
        await reply(send, 200, json.dumps(names).encode())
    else:
        await reply(send, 404, b"unknown")
