from __future__ import annotations

import asyncio
import stat
import time

import pytest

import tiny_models
from wardgate.engine import server as module
from wardgate.engine.frames import Kind, Reader, frame, pack_infer, unpack_error, unpack_result
from wardgate.engine.onnx import OnnxEngine
from wardgate.engine.server import EngineServer
from wardgate.errors import Overloaded
from wardgate.types import Encoding, Priority

ASK = pack_infer("tiny", Encoding(([4, 5],)), Priority.INTERACTIVE, 10.0)


@pytest.fixture
async def served(tmp_path):
    engine = OnnxEngine({"tiny": tiny_models.fingerprint()}, sessions=1, threads=1)
    await engine.start()
    server = EngineServer(engine, tmp_path / "engine.sock")
    await server.start()
    yield tmp_path / "engine.sock", engine, server
    await server.close()
    await server.close()
    await engine.close()


async def answers(reader, count):
    frames, found = Reader(), []
    while len(found) < count:
        data = await asyncio.wait_for(reader.read(65536), 10)
        assert data, "the server closed the connection"
        found += frames.feed(data)
    return found


async def closed(reader):
    """Whether the server ends the connection without an answer."""
    return await asyncio.wait_for(reader.read(), 10) == b""


async def test_the_socket_is_the_users_alone(served):
    assert stat.S_IMODE(served[0].stat().st_mode) == 0o600


async def test_it_answers_by_number(served):
    reader, writer = await asyncio.open_unix_connection(served[0])
    writer.write(frame(Kind.INFER, 7, ASK) + frame(Kind.DESCRIBE, 8))
    found = {number: (kind, body) for kind, number, body in await answers(reader, 2)}
    assert found[7][0] is Kind.RESULT
    assert unpack_result(found[7][1]).tolist() == [[9, 14]]
    assert found[8][0] is Kind.SERVED
    writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        frame(Kind.RESULT, 1),
        frame(Kind.INFER, 1, b"nonsense"),
        frame(Kind.INFER, 1, ASK) + frame(Kind.INFER, 1, ASK),
    ],
)
async def test_a_peer_that_breaks_the_rules_is_closed_and_others_are_not(served, sent):
    reader, writer = await asyncio.open_unix_connection(served[0])
    other_reader, other_writer = await asyncio.open_unix_connection(served[0])
    writer.write(sent)
    assert await closed(reader)
    other_writer.write(frame(Kind.INFER, 1, ASK))
    assert (await answers(other_reader, 1))[0][0] is Kind.RESULT
    writer.close()
    other_writer.close()


async def test_calls_of_a_peer_that_is_gone_leave_the_queue(served):
    path, engine, _ = served
    slow = pack_infer("tiny", Encoding(([tiny_models.SLOW_ID],)), Priority.INTERACTIVE, 10.0)
    _, holder = await asyncio.open_unix_connection(path)
    holder.write(frame(Kind.INFER, 1, slow))
    planner = engine._batcher._planner
    _, writer = await asyncio.open_unix_connection(path)
    async with asyncio.timeout(10):
        while not engine._batcher._running:
            await asyncio.sleep(0)
        writer.write(b"".join(frame(Kind.INFER, number, ASK) for number in range(50)))
        while planner.tokens != 100:
            await asyncio.sleep(0)
        writer.close()
        while planner.tokens:
            await asyncio.sleep(0)
        assert engine._batcher._running
    holder.close()


async def test_calls_of_one_connection_are_bounded(served, monkeypatch):
    monkeypatch.setattr(module, "CALLS", 2)
    reader, writer = await asyncio.open_unix_connection(served[0])
    writer.write(b"".join(frame(Kind.INFER, number, ASK) for number in range(3)))
    found = {number: (kind, body) for kind, number, body in await answers(reader, 3)}
    assert [found[number][0] for number in range(3)] == [Kind.RESULT, Kind.RESULT, Kind.ERROR]
    assert isinstance(unpack_error(found[2][1]), Overloaded)
    writer.close()


async def test_a_peer_that_takes_no_answers_is_closed(served, monkeypatch):
    monkeypatch.setattr(module, "BACKLOG_BYTES", 10_000)
    _, writer = await asyncio.open_unix_connection(served[0], limit=64)
    transport = writer.transport
    transport.pause_reading()
    _, _, server = served
    number = 0
    async with asyncio.timeout(20):
        while server._peers:
            writer.write(b"".join(frame(Kind.DESCRIBE, (number := number + 1)) for _ in range(500)))
            await asyncio.sleep(0)
    writer.close()


async def test_a_peer_of_another_user_is_not_heard(served, monkeypatch):
    monkeypatch.setattr(module.os, "geteuid", lambda: 12345)
    reader, writer = await asyncio.open_unix_connection(served[0])
    writer.write(frame(Kind.DESCRIBE, 1))
    with pytest.raises((ConnectionError, AssertionError)):
        await answers(reader, 1)
    writer.close()


async def test_a_socket_left_by_an_engine_that_died_is_replaced(served):
    path, engine, _ = served
    second = EngineServer(engine, path)
    await second.start()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(frame(Kind.DESCRIBE, 1))
    assert (await answers(reader, 1))[0][0] is Kind.SERVED
    writer.close()
    await second.close()


async def test_a_fault_in_the_engine_is_an_answer(tmp_path):
    class Broken:
        local = True

        async def infer(self, model, encoding, *, deadline, priority):
            assert deadline - time.monotonic() > 5
            raise RuntimeError("secret")

        async def check(self):
            raise RuntimeError("secret")

        async def close(self):
            pass

    server = EngineServer(Broken(), tmp_path / "engine.sock")
    await server.start()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "engine.sock")
    writer.write(frame(Kind.INFER, 1, ASK) + frame(Kind.DESCRIBE, 2))
    found = await answers(reader, 2)
    assert [kind for kind, _, _ in found] == [Kind.ERROR, Kind.ERROR]
    assert all(b"secret" not in body for _, _, body in found)
    writer.close()
    await server.close()
