from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

import tiny_models
from wardgate.engine import remote as module
from wardgate.engine.frames import Kind, Reader, frame, pack_result, unpack_infer
from wardgate.engine.remote import RemoteEngine
from wardgate.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    ModelOutputInvalid,
    Overloaded,
)
from wardgate.types import Encoding, Priority

TESTS = Path(tiny_models.__file__).parent
PROCESS = Path(__file__).with_name("engine_process.py")


async def infer(engine, *rows, timeout=10.0):
    return await engine.infer(
        "tiny",
        Encoding(tuple(rows)),
        deadline=time.monotonic() + timeout,
        priority=Priority.INTERACTIVE,
    )


async def until_served(engine):
    async with asyncio.timeout(20):
        while True:
            try:
                return await engine.check()
            except EngineUnavailable:
                await asyncio.sleep(0)


@asynccontextmanager
async def process(path):
    """A real engine process, killed at the end."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROCESS),
        str(path),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    try:
        assert await asyncio.wait_for(child.stdout.readline(), 30) == b"ready\n"
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@asynccontextmanager
async def peer(path, answer):
    """A peer that gives `answer(kind, number, body)` for each frame; b"" closes the connection."""
    writers = []

    async def serve(reader, writer):
        writers.append(writer)
        frames = Reader()
        while data := await reader.read(65536):
            for each in frames.feed(data):
                reply = answer(*each)
                if reply == b"":
                    writer.close()
                    return
                if reply is not None:
                    writer.write(reply)
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    engine = RemoteEngine(path)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()
        for writer in writers:
            writer.close()
        server.close()
        await server.wait_closed()


async def test_a_killed_engine_fails_its_callers_at_once_and_is_found_again(tmp_path):
    """kill -9 in the middle of calls: 503 for all of them, then a new process answers."""
    path = tmp_path / "engine.sock"
    engine = RemoteEngine(path)
    await engine.start()
    with pytest.raises(EngineUnavailable):
        await infer(engine, [4])
    async with process(path) as child:
        await until_served(engine)
        assert (await infer(engine, [4, 5])).tolist() == [[9, 14]]
        calls = [asyncio.create_task(infer(engine, [tiny_models.SLOW_ID])) for _ in range(200)]
        await engine.check()  # they have all been sent
        child.kill()
        found = await asyncio.gather(*calls, return_exceptions=True)
        lost = [each for each in found if isinstance(each, EngineUnavailable)]
        assert lost
        assert all(each.retry_after == 1.0 and each.status == 503 for each in lost)
        assert all(isinstance(each, EngineUnavailable | np.ndarray) for each in found)
        with pytest.raises(EngineUnavailable):
            await infer(engine, [4])
    async with process(path):
        await until_served(engine)
        assert (await infer(engine, [6])).tolist() == [[6, 6]]
    await engine.close()


async def test_a_caller_that_leaves_or_is_late_sends_cancel(tmp_path):
    seen = []

    def answer(kind, number, body):
        seen.append((kind, number))
        if kind is Kind.DESCRIBE:
            return frame(Kind.SERVED, number, b"[]")
        return None

    async with peer(tmp_path / "s", answer) as engine:
        leaver = asyncio.create_task(infer(engine, [4]))
        await engine.check()
        leaver.cancel()
        with pytest.raises(DeadlineExceeded):
            await infer(engine, [5], timeout=0.01)
        await engine.check()
        assert leaver.cancelled()
    infers = [number for kind, number in seen if kind is Kind.INFER]
    assert len(infers) == 2
    assert sorted(number for kind, number in seen if kind is Kind.CANCEL) == infers


async def test_the_time_left_travels_and_not_the_clock(tmp_path):
    budgets = []

    def answer(kind, number, body):
        budgets.append(unpack_infer(body)[3])
        return frame(Kind.RESULT, number, pack_result(np.zeros((1, 2), np.float32)))

    async with peer(tmp_path / "s", answer) as engine:
        await infer(engine, [4], timeout=5.0)
    assert 4.0 < budgets[0] <= 5.0


async def test_frames_of_one_turn_go_out_in_one_write(tmp_path, monkeypatch):
    writes = []

    def answer(kind, number, body):
        return frame(Kind.RESULT, number, pack_result(np.zeros((1, 2), np.float32)))

    async with peer(tmp_path / "s", answer) as engine:
        transport = engine._link._transport
        monkeypatch.setattr(
            engine._link,
            "_transport",
            type(
                "Counted",
                (),
                {
                    "write": lambda _, data: (writes.append(data), transport.write(data)),
                    "abort": lambda _: transport.abort(),
                    "get_write_buffer_size": lambda _: transport.get_write_buffer_size(),
                },
            )(),
        )
        await asyncio.gather(*(infer(engine, [number]) for number in range(1, 20)))
    assert len(writes) == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"nonsense nonsense",
        frame(Kind.RESULT, 1, b"\1"),
        frame(Kind.ERROR, 1, b"\0\0\0\0no-such-slug"),
        frame(Kind.SERVED, 1, b"{"),
        frame(Kind.CANCEL, 1),
    ],
)
async def test_a_peer_that_breaks_the_rules_is_an_engine_that_is_gone(tmp_path, reply):
    async with peer(tmp_path / "s", lambda *_: reply) as engine:
        with pytest.raises(EngineUnavailable):
            await infer(engine, [4])


async def test_rows_that_nobody_asked_for_are_an_error(tmp_path):
    def answer(kind, number, body):
        return frame(Kind.RESULT, number, pack_result(np.zeros((3, 2), np.float32)))

    async with peer(tmp_path / "s", answer) as engine:
        with pytest.raises(ModelOutputInvalid):
            await infer(engine, [4])


async def test_an_answer_to_nobody_is_let_go(tmp_path):
    def answer(kind, number, body):
        result = pack_result(np.full((1, 2), number, np.float32))
        return frame(Kind.RESULT, number + 500, result) + frame(Kind.RESULT, number, result)

    async with peer(tmp_path / "s", answer) as engine:
        assert (await infer(engine, [4])).tolist() == [[1, 1]]


async def test_an_engine_that_says_nothing_is_taken_for_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.01)
    async with peer(tmp_path / "s", lambda *_: None) as engine:
        with pytest.raises(EngineUnavailable):
            await engine.check()


async def test_an_engine_that_does_not_read_is_not_fed_without_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BACKLOG_BYTES", 1_000)
    release = asyncio.Event()

    async def deaf(reader, writer):
        await release.wait()
        writer.close()

    server = await asyncio.start_unix_server(deaf, tmp_path / "s", limit=64)
    engine = RemoteEngine(tmp_path / "s")
    await engine.start()
    calls = []
    async with asyncio.timeout(20):
        while not any(call.done() for call in calls):
            calls.append(asyncio.create_task(infer(engine, *[[4] * 64] * 200)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    assert [type(call.exception()) for call in calls if call.done()] == [Overloaded]
    await engine.close()
    await asyncio.gather(*calls, return_exceptions=True)
    release.set()
    server.close()
    await server.wait_closed()


async def test_close_ends_the_task_that_connects(tmp_path):
    engine = RemoteEngine(tmp_path / "nothing")
    await engine.start()
    keeper = engine._keeper
    await engine.close()
    await engine.close()
    assert keeper.done()
