"""The channel of the supervisor: JSON lines, and the end of the stream as the end of the peer."""

from __future__ import annotations

import asyncio
import socket

import pytest

from wardgate.web.channel import _LINE_LIMIT, Channel, unless


async def pair() -> tuple[Channel, Channel]:
    ours, theirs = socket.socketpair()
    return await Channel.of(ours), await Channel.of(theirs)


async def end(*channels: Channel) -> None:
    for channel in channels:
        channel.close()
        await channel.writer.wait_closed()


async def test_messages_arrive_whole_and_in_order() -> None:
    here, there = await pair()
    sent = [{"ready": True}, {"metrics": [["a" * 100_000, "line\nbreak", 1.5]]}, {"drain": True}]
    for message in sent:
        here.send(message)
    assert [await there.receive() for _ in sent] == sent
    there.send({"back": 1})
    assert await here.receive() == {"back": 1}
    await end(here, there)


async def test_a_peer_that_is_gone_is_none_for_ever() -> None:
    here, there = await pair()
    here.send({"last": True})
    await end(here)
    assert await there.receive() == {"last": True}
    assert await there.receive() is None
    assert await there.receive() is None
    await end(there)


async def test_a_line_cut_short_is_no_message() -> None:
    here, there = await pair()
    here.writer.write(b'{"ready": true}')
    await end(here)
    assert await there.receive() is None
    await end(there)


async def test_a_line_beyond_the_limit_counts_as_a_broken_peer() -> None:
    here, there = await pair()
    here.writer.write(b"x" * (_LINE_LIMIT + 2))
    assert await there.receive() is None
    here.writer.transport.abort()
    await end(there)


async def test_a_message_to_a_closed_channel_is_dropped() -> None:
    here, there = await pair()
    here.close()
    here.send({"lost": True})
    assert await there.receive() is None
    await end(here, there)


async def test_a_start_that_comes_first() -> None:
    async def start() -> None:
        pass

    assert await unless(asyncio.Event(), start())


async def test_a_stop_that_comes_first_cancels_the_start() -> None:
    stop, begun, cancelled = asyncio.Event(), asyncio.Event(), False

    async def start() -> None:
        nonlocal cancelled
        begun.set()
        stop.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled = True

    assert not await unless(stop, start())
    assert begun.is_set()
    assert cancelled


async def test_what_a_start_raises_is_raised() -> None:
    async def start() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await unless(asyncio.Event(), start())
