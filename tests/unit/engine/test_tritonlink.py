"""Channels to the real server: what opens what, and what is told of a connection that breaks."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest
from tritonclient.grpc import service_pb2 as pb

from wardgate.engine.join import Joined, Row
from wardgate.engine.tensors import infer_request, served_name
from wardgate.engine.tritonlink import Endpoint, Link, is_lost
from wardgate.errors import DeadlineExceeded, EngineUnavailable, WardgateError
from wardgate.types import Priority


def request(triton, ids, seconds=10.0):
    call = Joined("d", 16, Priority.INTERACTIVE, seconds, (Row(1, 0, ids),))
    return infer_request(served_name(triton.model.id), call, 0.0)


def with_link(triton, use, **changes):
    async def scenario():
        link = Link(replace(triton.endpoint, **changes))
        try:
            return await use(link)
        finally:
            await link.close()

    return triton.run(scenario())


def test_the_header_opens_what_is_restricted_and_inference_needs_none(triton):
    async def use(link):
        reply = await link.infer(request(triton, [4]), 10.0)
        assert len(reply.raw_output_contents) == 1
        return await link.command("RepositoryIndex", pb.RepositoryIndexRequest(), 10.0)

    assert [each.name for each in with_link(triton, use).models] == [served_name(triton.model.id)]
    with pytest.raises(EngineUnavailable):
        with_link(triton, use, header=None, secret=None)
    with pytest.raises(EngineUnavailable):
        with_link(triton, use, secret="0" * 64)


@pytest.mark.parametrize("changes", [{"cert": None, "key": None}, {"ca": None}])
def test_without_the_certificate_there_is_no_connection(triton, changes):
    async def use(link):
        return await link.ready(served_name(triton.model.id), 2.0)

    with pytest.raises(EngineUnavailable) as refusal:
        with_link(triton, use, **changes)
    assert is_lost(refusal.value)


def test_a_model_is_ready_or_it_is_not(triton):
    async def use(link):
        return [await link.ready(name, 5.0) for name in (served_name(triton.model.id), "other")]

    assert with_link(triton, use) == [True, False]


def test_a_refusal_of_tritons_own_is_no_lost_connection_and_says_nothing_of_its_words(triton):
    async def use(link):
        wrong = request(triton, [4])
        wrong.model_name = "Jane-Doe"
        await link.infer(wrong, 10.0)

    with pytest.raises(WardgateError) as refusal:
        with_link(triton, use)
    assert not is_lost(refusal.value)
    assert "Jane" not in f"{refusal.value!r} {refusal.value.reason} {refusal.value.__cause__!r}"
    assert refusal.value.__suppress_context__


def test_a_peer_that_is_silent_ends_with_the_deadline_and_is_not_ready(triton):
    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as silent:
            link = Link(Endpoint(f"127.0.0.1:{silent.getsockname()[1]}"))
            with pytest.raises((DeadlineExceeded, EngineUnavailable)):
                await link.infer(request(triton, [4]), 0.2)
            with pytest.raises(EngineUnavailable) as refusal:
                await link.ready("any", 0.2)
            await link.close()
            return refusal.value

    assert is_lost(triton.run(scenario()))


def test_closing_ends_calls_that_are_out(triton):
    async def scenario():
        from tiny_models import SLOW_ID

        link = Link(triton.endpoint)
        assert await link.ready(served_name(triton.model.id), 5.0)
        call = asyncio.create_task(link.infer(request(triton, [SLOW_ID]), 10.0))
        await asyncio.sleep(0)
        await link.close()
        with pytest.raises(EngineUnavailable) as refusal:
            await call
        with pytest.raises(EngineUnavailable):
            await link.infer(request(triton, [4]), 10.0)
        return refusal.value

    assert is_lost(triton.run(scenario()))


def test_no_secret_shows(triton):
    shown = repr(triton.endpoint)
    assert triton.endpoint.secret not in shown
    assert "PRIVATE KEY" not in shown
