"""The gRPC port is held for the workers of one gateway, and for nobody else."""

from __future__ import annotations

import socket

import pytest

from wardgate.web.grpc_port import place, reserve, resolve


def listening(port: int) -> socket.socket:
    """Listen as a worker's gRPC core does."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind(("127.0.0.1", port))
    found.listen()
    return found


def test_several_workers_listen_on_the_port_that_is_held() -> None:
    with reserve("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        with listening(port), listening(port):
            for _ in range(8):  # none goes to the holder, which does not listen
                socket.create_connection(("127.0.0.1", port), 5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)


def test_a_second_gateway_does_not_get_the_port() -> None:
    with reserve("127.0.0.1", 0) as held, pytest.raises(OSError):
        reserve("127.0.0.1", held.getsockname()[1])


def test_a_port_that_is_given_is_held() -> None:
    with reserve("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
    with reserve("127.0.0.1", port) as held:
        assert held.getsockname()[1] == port


def test_names_are_resolved_to_numbers() -> None:
    assert place(resolve("localhost", 5)[1]) in ("127.0.0.1:5", "[::1]:5")
    assert place(("::1", 7, 0, 0)) == "[::1]:7"
