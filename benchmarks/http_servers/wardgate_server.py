"""Starts Wardgate's own server for the comparison: a file descriptor or a port, TLS files."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
from pathlib import Path

import uvloop
from app import app

from wardgate.web.server import HttpServer, TlsFiles, bind


async def serve(arguments: argparse.Namespace) -> None:
    if arguments.fd is None:
        listener = bind("127.0.0.1", arguments.port)
    else:
        listener = socket.socket(fileno=arguments.fd)
    tls = None
    if arguments.cert:
        tls = TlsFiles(arguments.cert, arguments.key, arguments.ca)
    server = HttpServer(app, [listener], tls=tls)
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.drain(10)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fd", type=int)
    parser.add_argument("--cert", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--ca", type=Path)
    uvloop.run(serve(parser.parse_args()))
