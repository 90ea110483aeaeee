from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Iterator

import pytest

from wardgate.web import rescue
from wardgate.web.rescue import Rescued, Rescuer


@pytest.fixture
async def pair() -> tuple[Rescuer, Rescued]:
    """Both sides in one process: the worker's descriptors are copied, as exec would."""
    rescuer = Rescuer()
    notes, marks = (os.dup(descriptor) for descriptor in rescuer.descriptors)
    rescuer.started()
    return rescuer, Rescued(socket.socket(fileno=notes), marks)


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, caller = socket.socketpair()
    caller.settimeout(10)
    with ours, caller:
        yield ours, caller


async def received(caller: socket.socket) -> bytes:
    def everything() -> bytes:
        return b"".join(iter(lambda: caller.recv(65_536), b""))

    return await asyncio.to_thread(everything)


async def test_whoever_waits_is_answered_and_its_body_is_let_in(pair, connection) -> None:
    rescuer, rescued = pair
    ours, caller = connection
    rescued.waits(rescued.opened(ours), True)
    ours.close()  # the worker dies
    rescued.close()
    caller.sendall(b"x" * 50_000)
    ending = asyncio.create_task(rescuer.end())
    head, _, body = (await received(caller)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nretry-after: 1\r\n" in head
    assert f"\r\ncontent-length: {len(body)}\r\n".encode() in head
    assert json.loads(body)["type"] == "urn:wardgate:problem:worker-lost"
    caller.close()
    await ending


async def test_an_idle_connection_is_closed_without_a_word(pair, connection) -> None:
    rescuer, rescued = pair
    ours, caller = connection
    slot = rescued.opened(ours)
    rescued.waits(slot, True)
    rescued.waits(slot, False)
    ours.close()
    rescued.close()
    await rescuer.end()
    assert await received(caller) == b""


async def test_a_request_that_the_worker_did_not_live_to_read_is_answered(pair, connection) -> None:
    rescuer, rescued = pair
    ours, caller = connection
    rescued.opened(ours)
    caller.sendall(b"POST /v1/predict HTTP/1.1\r\n")
    ours.close()
    rescued.close()
    ending = asyncio.create_task(rescuer.end())
    assert (await received(caller)).startswith(b"HTTP/1.1 503 ")
    caller.close()
    await ending


async def test_a_connection_that_the_worker_closed_ends_at_once_and_frees_its_slot(pair) -> None:
    rescuer, rescued = pair
    seen = set()
    for _ in range(3 * rescue.SLOTS // 2):
        ours, caller = socket.socketpair()
        with ours, caller:
            slot = rescued.opened(ours)
            seen.add(slot)
            ours.close()
            rescued.closed(slot)
            assert await asyncio.get_running_loop().sock_recv(_unblocked(caller), 1) == b""
    assert -1 not in seen
    rescued.close()
    await rescuer.end()


async def test_more_connections_than_slots_are_served_but_not_held(pair, monkeypatch) -> None:
    rescuer, rescued = pair
    monkeypatch.setattr(rescued, "_free", [])
    ours, caller = socket.socketpair()
    with ours, caller:
        slot = rescued.opened(ours)
        assert slot == -1
        rescued.waits(slot, True)
        rescued.closed(slot)
    rescued.close()
    await rescuer.end()


async def test_a_supervisor_that_is_behind_is_told_later_and_nothing_is_lost(connection) -> None:
    rescuer = Rescuer()
    asyncio.get_running_loop().remove_reader(rescuer._notes)
    notes, marks = (os.dup(descriptor) for descriptor in rescuer.descriptors)
    rescuer.started()
    rescued = Rescued(socket.socket(fileno=notes), marks)
    ours, caller = connection
    slots = []
    while (slot := rescued.opened(ours)) >= 0:
        slots.append(slot)
    assert slots
    for slot in slots:
        rescued.closed(slot)
    asyncio.get_running_loop().add_reader(rescuer._notes, rescuer._read)
    ours.close()
    assert await received(caller) == b"", "the last copy is closed once all is told"
    assert rescued.opened(caller) >= 0
    rescued.close()
    await rescuer.end()


def _unblocked(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    return sock
