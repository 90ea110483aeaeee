"""What is turned away before any caller is known is in the audit record: counted, never quoted.

A real worker behind real sockets. Nothing of what was typed may reach the record, and a flood may
not make it grow.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib

import pytest
import pytest_asyncio
from tests.conftest import Shared

from wardgate.audit.read import search
from wardgate.settings import Settings
from wardgate.web.server.serve import bind
from wardgate.web.worker import Worker

pytestmark = pytest.mark.asyncio(loop_scope="session")

CANARY = "Zebulon-Quartermain-219-09-9999"
HOST = b"Host: gate\r\n"
ENDED = HOST + b"Connection: close\r\n\r\n"
FLOOD = 300
"""Requests in the flood, each to another path."""

TURNED_AWAY = {
    "unknown path": (f"GET /patients/{CANARY} HTTP/1.1\r\n".encode() + ENDED, "other", "not-found", 404),
    "unknown query": (f"GET /a?ssn={CANARY} HTTP/1.1\r\n".encode() + ENDED, "other", "not-found", 404),
    "other method": (f"DELETE /v1/predict?{CANARY} HTTP/1.1\r\n".encode() + ENDED, "other", "method-not-allowed", 405),
    "malformed": (f"GET /{CANARY}%zz HTTP/1.1\r\n".encode() + ENDED, "server", "request-malformed", 400),
    "large head": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + CANARY.encode() * 900 + b"\r\n\r\n", "server", "headers-too-large", 431),
    "slow head": (f"GET /{CANARY} HTTP/1.1\r\nX: {CANARY}".encode(), "server", "headers-timeout", 408),
}  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def worker(engine, monkeypatch, tmp_path):
    """Run a worker; give its address, and a way to drain it and read what it recorded."""

    async def start_engine(*_: object) -> Shared:
        return Shared(engine)

    monkeypatch.setattr("wardgate.web.app.start_engine", start_engine)
    tmp_path.chmod(0o700)
    listener = bind("127.0.0.1", 0)
    address = listener.getsockname()
    started = Worker(
        Settings(state=tmp_path, deid={"processes": 0}, limits={"header_seconds": 0.5}), [listener]
    )
    await started.start()
    drained = False

    async def record() -> list[dict]:
        nonlocal drained
        drained = True
        await started.drain()
        return list(search(tmp_path / "audit"))

    yield address, record, tmp_path
    if not drained:
        await started.drain()


async def ask(address, request: bytes) -> int:
    """Send a request on a connection of its own; return the status of the reply."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                writer.write(request)
                await writer.drain()
            line = await reader.readline()
            await reader.read()
            return int(line.split()[1])
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_each_refusal_before_a_route_is_counted_by_network_and_reason(worker) -> None:
    address, record, state = worker
    expected: collections.Counter[tuple[str, str, int, str]] = collections.Counter()
    for request, route, reason, status in TURNED_AWAY.values():
        assert await ask(address, request) == status
        expected[route, reason, status, "127.0.0.0/24"] += 1
    events = [each["event"] for each in await record()]
    found = {
        (row["route"], row["reason"], row["status"], row["network"]): row["count"]
        for event in events
        if event["kind"] == "refusals"
        for row in event["counts"]
    }
    assert found == expected
    kept = [path.read_bytes() for path in state.rglob("*") if path.is_file()]
    assert kept
    assert not any(CANARY.encode() in content for content in kept)
    assert not any(b"Zebulon" in content for content in kept)


async def test_a_flood_of_unknown_paths_makes_no_record_of_its_own(worker) -> None:
    address, record, _ = worker
    reader, writer = await asyncio.open_connection(*address)
    for number in range(FLOOD):
        writer.write(f"GET /{CANARY}/{number} HTTP/1.1\r\n".encode() + HOST + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"}")
    writer.close()
    await writer.wait_closed()
    refusals = [
        each["event"] for each in await record() if each["event"]["kind"] in ("refusals", "denial")
    ]
    assert len(refusals) <= 3  # one in ten seconds, and one at the end
    assert sum(row["count"] for event in refusals for row in event["counts"]) == FLOOD
    assert {row["route"] for event in refusals for row in event["counts"]} == {"other"}
    assert all(event["others"] == 0 for event in refusals)
