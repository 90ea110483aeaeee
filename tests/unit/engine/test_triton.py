"""The engine over the real server: models come and go, the server dies and comes back."""

from __future__ import annotations

import asyncio

import pytest

import tiny_models
from tiny_models import SLOW_ID
from triton_bench import loaded
from wardgate.engine.triton import TritonEngine
from wardgate.engine.tritonlink import Endpoint
from wardgate.engine.tritonshare import Shared, publish
from wardgate.errors import DeadlineExceeded, EngineUnavailable, ModelUnknown
from wardgate.registry import export


def test_a_model_is_loaded_beside_the_others_and_drained_before_it_goes(triton):
    second = loaded(version="2")
    digest = second.id.digest

    async def scenario():
        with pytest.raises(ModelUnknown):
            await triton.infer([4], model=digest)
        await asyncio.gather(triton.engine.load(second), triton.engine.load(second))
        assert set(await triton.engine.check()) == {triton.model.id, second.id}
        last = asyncio.create_task(triton.infer([SLOW_ID], model=digest))
        await triton.until(lambda: triton.engine._calls._out, every=0)
        going = asyncio.create_task(triton.engine.unload(digest))
        await triton.until(lambda: triton.engine._served[digest].dropped, every=0)
        with pytest.raises(ModelUnknown):
            await triton.infer([4], model=digest)
        assert not going.done()
        assert (await last).tolist() == [[SLOW_ID, SLOW_ID]]
        await going
        await triton.engine.unload(digest)
        assert (await triton.infer([5])).tolist() == [[5, 5]]
        return await triton.engine.check()

    assert triton.run(scenario()) == (triton.model.id,)


def test_workers_follow_the_engine_process_and_cannot_load(triton, tmp_path):
    """Another engine over the shared file: new models without a restart, gone ones refused."""
    path, second = tmp_path / "triton.json", loaded(version="3")
    triton.engine._on_models = lambda endpoint, shapes: publish(path, endpoint, shapes)

    async def scenario():
        triton.engine._tell()
        shared = Shared(path)
        worker = TritonEngine(shared.endpoint, shapes=shared.shapes, lengths=export.buckets)
        await worker.start()
        try:
            assert (await triton.infer([7], engine=worker)).tolist() == [[7, 7]]
            with pytest.raises(EngineUnavailable):
                await worker.load(second)
            await triton.engine.load(second)
            logits = await triton.infer([4, 5], engine=worker, model=second.id.digest)
            assert logits.tolist() == tiny_models.expected([[4, 5]]).tolist()
            await triton.engine.unload(second.id.digest)
            assert await worker.check() == (triton.model.id,)
            with pytest.raises(ModelUnknown):
                await triton.infer([4], engine=worker, model=second.id.digest)
        finally:
            await worker.close()

    triton.run(scenario())


def test_a_killed_server_costs_no_wrong_answer_and_comes_back_with_its_models(triton):
    """kill -9 under load: every caller gets its own rows, or 503 with a time to come back."""

    async def scenario():
        seen = {"right": 0, "refused": 0, "after": 0, "wrong": 0}
        killed = asyncio.Event()

        async def caller(number):
            rows = [[4 + number] * (1 + number % 30)]
            while seen["after"] < 200:
                try:
                    logits = await triton.infer(*rows)
                except EngineUnavailable as refusal:
                    seen["refused" if refusal.retry_after else "wrong"] += 1
                    await asyncio.sleep(0.005)
                else:
                    assert logits.tolist() == tiny_models.expected(rows).tolist()
                    seen["right"] += 1
                    if killed.is_set() and seen["refused"]:
                        seen["after"] += 1

        callers = [asyncio.create_task(caller(number)) for number in range(16)]
        await triton.until(lambda: seen["right"] > 200)
        triton.kill()
        killed.set()
        await asyncio.gather(*callers)
        assert await triton.engine.check() == (triton.model.id,)
        return seen

    seen = triton.run(scenario())
    assert seen["refused"] > 0
    assert not seen["wrong"]


def test_a_run_that_hangs_ends_with_its_callers_deadline_and_opens_no_breaker(triton):
    async def scenario():
        for _ in range(5):
            with pytest.raises(DeadlineExceeded):
                await triton.infer([SLOW_ID], timeout=0.01)
        return (await triton.infer([4])).tolist()

    assert triton.run(scenario()) == [[4, 4]]


def test_a_server_that_cannot_be_reached_is_refused_quickly_after_a_few_calls(triton):
    """The breaker: calls do not queue up for a connection that will not come."""

    async def scenario():
        at = [triton.endpoint]
        engine = TritonEngine(lambda: at[0], triton.managed(), lengths=export.buckets)
        await engine.start([triton.model])
        try:
            at[0] = Endpoint("127.0.0.1:9", triton.endpoint.ca)
            engine._calls.link._channel, gone = engine_link(at[0]), engine._calls.link._channel
            engine._calls.link._stub = stub(engine._calls.link._channel)
            reasons = []
            for _ in range(8):
                with pytest.raises(EngineUnavailable) as refusal:
                    await triton.infer([4], engine=engine)
                assert refusal.value.retry_after
                reasons.append(refusal.value.reason)
            await gone.close()
            return reasons
        finally:
            await engine.close()

    from wardgate.engine.tritonlink import Link

    def engine_link(endpoint):
        return Link(endpoint)._channel

    def stub(channel):
        from tritonclient.grpc import service_pb2_grpc

        return service_pb2_grpc.GRPCInferenceServiceStub(channel)

    reasons = triton.run(scenario())
    assert reasons[0] == "triton-lost"
    assert set(reasons[1:]) <= {"triton-lost", "breaker-open", "triton-not-serving"}
    assert set(reasons[4:]) & {"breaker-open", "triton-not-serving"}


def test_a_start_without_a_server_fails_and_leaves_nothing(triton):
    async def scenario():
        ended = []

        async def end():
            ended.append(True)

        engine = TritonEngine(
            lambda: Endpoint("127.0.0.1:9"), triton.managed(), lengths=export.buckets, on_close=end
        )
        with pytest.raises(EngineUnavailable):
            await engine.start([triton.model])
        with pytest.raises(EngineUnavailable):
            await engine.check()
        with pytest.raises(EngineUnavailable):
            await triton.infer([4], engine=engine)
        return ended

    assert triton.run(scenario()) == [True]
