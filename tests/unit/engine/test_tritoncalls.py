"""Callers and calls over the real server: who leaves takes nothing of others along."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

import tiny_models
from tiny_models import NAN_ID, SLOW_ID
from wardgate.engine.join import FULL_CALLS, Joiner
from wardgate.engine.tensors import served_name
from wardgate.engine.tritoncalls import OVERDUE_SECONDS, Calls
from wardgate.engine.tritonlink import Endpoint, Link
from wardgate.engine.tritonshare import Shape
from wardgate.errors import DeadlineExceeded, EngineUnavailable, ModelOutputInvalid, Overloaded
from wardgate.types import Encoding, ModelId, Priority

LEAVERS = 3000


def out(bench) -> int:
    return len(bench.engine._calls._out)


def test_what_is_ready_in_the_same_turn_goes_as_one_call(triton):
    async def scenario():
        tasks = [asyncio.create_task(triton.infer([4 + each])) for each in range(20)]
        await triton.until(lambda: out(triton), every=0)
        calls = out(triton)
        return calls, [logits.tolist() for logits in await asyncio.gather(*tasks)]

    calls, logits = triton.run(scenario())
    assert calls == 1
    assert logits == [[[4.0 + each, 4.0 + each]] for each in range(20)]


def test_more_rows_than_a_call_takes_go_as_several(triton):
    rows = [[4 + each, 5] for each in range(70)]
    assert triton.run(triton.infer(*rows)).tolist() == tiny_models.expected(rows).tolist()


def test_a_deadline_of_one_caller_ends_no_other_of_the_same_call(triton, monkeypatch):
    monkeypatch.setattr("wardgate.engine.join.DEADLINE_RATIO", 1e6)

    async def scenario():
        hasty = asyncio.create_task(triton.infer([SLOW_ID], timeout=0.01))
        patient = asyncio.create_task(triton.infer([5]))
        await triton.until(lambda: out(triton), every=0)
        joined = out(triton)
        with pytest.raises(DeadlineExceeded):
            await hasty
        assert (await patient).tolist() == [[5, 5]]
        return joined

    assert triton.run(scenario()) == 1


def test_a_call_goes_on_for_those_who_stay_and_runs_to_its_end_when_all_have_left(triton):
    async def scenario():
        leaver = asyncio.create_task(triton.infer([SLOW_ID]))
        stayer = asyncio.create_task(triton.infer([5]))
        await triton.until(lambda: out(triton), every=0)
        leaver.cancel()
        with suppress(asyncio.CancelledError):
            await leaver
        assert out(triton) == 1
        assert (await stayer).tolist() == [[5, 5]]
        alone = asyncio.create_task(triton.infer([SLOW_ID]))
        await triton.until(lambda: out(triton), every=0)
        (task,) = triton.engine._calls._out
        alone.cancel()
        with suppress(asyncio.CancelledError):
            await alone
        await triton.until(task.done)
        return task.cancelled()

    assert not triton.run(scenario())


async def test_where_triton_survives_it_a_call_that_all_have_left_is_cancelled():
    """Against a server that only waits: the real one of the tests may crash."""
    cancelled, running = asyncio.Event(), asyncio.Event()

    class Waits(service_pb2_grpc.GRPCInferenceServiceServicer):
        async def ModelInfer(self, request, context):  # noqa: N802 -- gRPC's
            running.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Waits(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    joiner = Joiner(queue_tokens=1000)
    shape = Shape(ModelId("m", "1", "0" * 64), 2, 16)
    joiner.serve(shape.id.digest, [16], 8)
    calls = Calls(joiner, seen=lambda _: None, cancels=True)
    calls.link = Link(Endpoint(f"127.0.0.1:{port}"))
    callers = [
        asyncio.create_task(
            calls.infer(
                shape,
                Encoding(([4, 5],)),
                deadline=time.monotonic() + 20,
                priority=Priority.INTERACTIVE,
            )
        )
        for _ in range(2)
    ]
    async with asyncio.timeout(20):
        await running.wait()
        for caller in callers:
            assert not cancelled.is_set()
            caller.cancel()
            await asyncio.wait({caller})
            await asyncio.sleep(0.05)
        await cancelled.wait()
    assert not calls._out
    assert calls._left == joiner.tokens == 0
    await calls.close()
    await calls.link.close()
    await server.stop(0)


def test_callers_that_leave_or_run_out_of_time_do_not_crash_the_server(triton):
    """Triton 2.51 crashes when a cancellation crosses an answer, mostly within a thousand."""

    async def leave(number):
        for _ in range(number % 8):  # each goes as a call of its own
            await asyncio.sleep(0)
        stays = 2e-4 * (number % 17)
        timeout = 20.0 if number % 2 else max(stays, 1e-4)
        task = asyncio.create_task(triton.infer([4 + number] * (1 + number % 64), timeout=timeout))
        await asyncio.sleep(stays)
        task.cancel()
        with suppress(asyncio.CancelledError, DeadlineExceeded):
            await task

    async def scenario():
        server = triton.server._process._native
        for first in range(0, LEAVERS, 8):
            leavers = [leave(number) for number in range(first, first + 8)]
            stayer, *_ = await asyncio.gather(triton.infer([4 + first]), *leavers)
            assert stayer.tolist() == [[4 + first, 4 + first]]
        await triton.until(lambda: not out(triton))
        assert await triton.engine.check() == (triton.model.id,)
        return server is triton.server._process._native and server.returncode is None

    assert triton.run(scenario())


async def inferences(triton) -> int:
    """Rows that the server has run, by its own count."""
    request = service_pb2.ModelStatisticsRequest(name=served_name(triton.model.id))
    reply = await triton.engine._calls.link.command("ModelStatistics", request, 20.0)
    return sum(each.inference_count for each in reply.model_stats)


def test_who_leaves_a_long_queue_is_never_run(triton):
    async def scenario():
        engine = triton.make(rows=1)
        await engine.start([triton.model])
        link, answers = engine._calls.link, asyncio.Event()
        infer = link.infer

        async def held(request, seconds):
            await answers.wait()
            return await infer(request, seconds)

        link.infer = held
        try:
            before = await inferences(triton)
            first = [asyncio.create_task(triton.infer([7], engine=engine)) for _ in range(4)]
            await triton.until(lambda: len(engine._calls._out) == FULL_CALLS == len(first))
            leavers = [asyncio.create_task(triton.infer([4], engine=engine)) for _ in range(20)]
            stayer = asyncio.create_task(triton.infer([5], engine=engine))
            with pytest.raises(DeadlineExceeded):
                await triton.infer([6], engine=engine, timeout=0.001)
            assert len(engine._calls._callers) == len(first) + len(leavers) + 1
            for leaver in leavers:
                leaver.cancel()
            await asyncio.wait(leavers)
            assert len(engine._calls._out) == FULL_CALLS
            answers.set()
            assert (await stayer).tolist() == [[5, 5]]
            await asyncio.gather(*first)
            # Triton counts a call a little after it has answered it.
            async with asyncio.timeout(10):
                while (ran := await inferences(triton) - before) < len(first) + 1:
                    pass
            return ran
        finally:
            await engine.close()

    assert triton.run(scenario()) == FULL_CALLS + 1


async def left_alone(triton, engine, ids):
    """A caller that leaves while its call is out; return the call, and what lets its answer in."""
    link, answer = engine._calls.link, asyncio.Event()
    infer = link.infer

    async def held(request, seconds):
        link.infer = infer  # the others pass
        reply = await infer(request, seconds)
        await answer.wait()
        return reply

    link.infer = held
    leaver = asyncio.create_task(triton.infer(ids, engine=engine))
    await triton.until(lambda: link.infer is not held, every=0)
    (task,) = engine._calls._out
    leaver.cancel()
    with suppress(asyncio.CancelledError):
        await leaver
    return task, answer


def test_what_runs_for_nobody_takes_up_room_until_it_is_done(triton):
    async def scenario():
        engine = triton.make(queue_tokens=8)
        await engine.start([triton.model])
        try:
            task, answer = await left_alone(triton, engine, [4] * 7)
            with pytest.raises(Overloaded) as refusal:
                await triton.infer([4, 5], engine=engine)
            assert refusal.value.retry_after > 0
            answer.set()
            await triton.until(task.done)
            return (await triton.infer([4] * 8, engine=engine)).tolist(), engine._calls._left
        finally:
            await engine.close()

    assert triton.run(scenario()) == (tiny_models.expected([[4] * 8]).tolist(), 0)


def test_who_would_be_late_behind_what_runs_for_nobody_is_refused(triton):
    async def scenario():
        engine = triton.make(queue_tokens=64)
        await engine.start([triton.model])
        try:
            engine._joiner.took(100.0)  # calls have become slow
            task, answer = await left_alone(triton, engine, [4] * 9)
            with pytest.raises(Overloaded):
                await triton.infer([4], engine=engine, timeout=1.0)
            logits = await triton.infer([5], engine=engine, timeout=20.0)
            answer.set()
            await triton.until(task.done)
            assert (await triton.infer([6], engine=engine, timeout=1.0)).tolist() == [[6, 6]]
            return logits.tolist()
        finally:
            await engine.close()

    assert triton.run(scenario()) == [[5, 5]]


def test_triton_gets_a_deadline_long_after_the_callers(triton):
    """Only a model that hangs meets it."""

    async def scenario():
        engine = triton.make()
        await engine.start([triton.model])
        link, given = engine._calls.link, []
        infer = link.infer

        async def noted(request, seconds):
            given.append(seconds)
            return await infer(request, seconds)

        link.infer = noted
        await triton.infer([4], engine=engine, timeout=20.0)
        await engine.close()
        return given

    (seconds,) = triton.run(scenario())
    assert OVERDUE_SECONDS < seconds <= 20.0 + OVERDUE_SECONDS


def test_closing_lets_a_call_that_is_out_run_to_its_end(triton):
    async def scenario():
        engine = triton.make()
        await engine.start([triton.model])
        caller = asyncio.create_task(triton.infer([SLOW_ID], engine=engine))
        await triton.until(lambda: engine._calls._out, every=0)
        (task,) = engine._calls._out
        await engine.close()
        with pytest.raises(EngineUnavailable):
            await caller
        return task.done(), task.cancelled()

    assert triton.run(scenario()) == (True, False)


def test_a_row_that_is_not_finite_fails_its_caller_alone(triton):
    async def scenario():
        wrong = asyncio.create_task(triton.infer([4], [NAN_ID]))
        right = asyncio.create_task(triton.infer([6]))
        with pytest.raises(ModelOutputInvalid):
            await wrong
        return (await right).tolist()

    assert triton.run(scenario()) == [[6, 6]]
