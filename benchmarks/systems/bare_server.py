"""Serve the bare route with Wardgate's own HTTP server: both sides stand on the same one."""

from __future__ import annotations

import asyncio

import uvloop
from bare import app

from wardgate.web.server.serve import HttpServer, bind


async def main() -> None:
    """Serve until killed."""
    server = HttpServer(app, [bind("127.0.0.1", 0)])
    await server.start()
    host, port = server.addresses[0]
    print(f"ready http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


uvloop.run(main())
