"""The port of the gRPC servers: held by one process, listened on by each worker.

Without gRPC's library: the supervisor needs the port alone.
"""

from __future__ import annotations

import ipaddress
import socket


def reserve(host: str, port: int) -> socket.socket:
    """Bind the port of the gRPC servers without listening; port 0 takes a free one.

    While the socket is open nobody else gets the port, and each worker may listen on it. Raises
    OSError where it cannot be had.
    """
    family, address = resolve(host, port)
    if port:  # sharing a port is for workers of one gateway, not for two gateways
        with socket.socket(family, socket.SOCK_STREAM) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(address)
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except OSError:
        held.close()
        raise
    return held


def resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    """Return family and address of a numeric or named host, as `server.serve.bind` finds them."""
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return family, address


def place(address: tuple[object, ...]) -> str:
    """Return HOST:PORT; an IPv6 address in brackets."""
    host = str(address[0])
    inner = f"[{host}]" if ipaddress.ip_address(host.partition("%")[0]).version == 6 else host  # noqa: PLR2004
    return f"{inner}:{address[1]}"
