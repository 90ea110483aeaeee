import asyncio

import pytest

from wardgate.web.server.exchange import Exchange, ReplyInvalid


class Written(Exchange):
    """Records what a protocol would do."""

    __slots__ = ("calls",)

    def __init__(self, method="GET"):
        super().__init__({"method": method})
        self.calls = []

    def want(self):
        self.calls.append("want")

    def head(self, status, headers):
        self.calls.append(("head", status))

    async def write(self, body, *, more):
        self.calls.append(("write", body, more))
        self.complete = not more

    def fail(self):
        self.calls.append("fail")

    def abort(self):
        self.calls.append("abort")


def start(*headers):
    return {"type": "http.response.start", "status": 200, "headers": list(headers)}


def body(data, *, more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


async def test_body_is_wanted_only_once_it_is_asked_for():
    exchange = Written()
    exchange.feed(b"one")
    assert exchange.calls == []
    assert await exchange.receive() == {"type": "http.request", "body": b"one", "more_body": True}
    assert exchange.calls == []
    waiting = asyncio.create_task(exchange.receive())
    await asyncio.sleep(0)
    assert exchange.calls == ["want"]
    assert exchange.wants
    exchange.feed(b"two")
    exchange.end()
    assert await waiting == {"type": "http.request", "body": b"two", "more_body": False}


async def test_empty_body_is_given_once_then_the_end_is_waited_for():
    exchange = Written()
    exchange.end()
    assert await exchange.receive() == {"type": "http.request", "body": b"", "more_body": False}
    both = [asyncio.create_task(exchange.receive()) for _ in range(2)]
    await asyncio.sleep(0)
    exchange.leave()
    assert [await each for each in both] == [{"type": "http.disconnect"}] * 2


async def test_waiting_can_be_given_up_without_harm():
    exchange = Written()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await exchange.receive()
    exchange.feed(b"a")
    assert (await exchange.receive())["body"] == b"a"


async def test_reply_in_order():
    exchange = Written()
    await exchange.send(start((b"content-length", b"3")))
    await exchange.send(body(b"ab", more=True))
    await exchange.send(body(b"c"))
    assert exchange.calls == [("head", 200), ("write", b"ab", True), ("write", b"c", False)]
    assert (await exchange.receive())["type"] == "http.disconnect"


@pytest.mark.parametrize(
    "messages",
    [
        [body(b"")],
        [start(), start()],
        [start(), body(b""), body(b"")],
        [{"type": "websocket.accept"}],
        [start((b"content-length", b"2")), body(b"abc")],
        [start((b"content-length", b"2")), body(b"a")],
        [start((b"x", b"a\nb"))],
        [start((b"x\r", b"a"))],
        [start((b"x", b"\0"))],
    ],
)
async def test_reply_out_of_order_or_of_another_length(messages):
    exchange = Written()
    *good, bad = messages
    for message in good:
        await exchange.send(message)
    with pytest.raises(ReplyInvalid):
        await exchange.send(bad)


async def test_head_request_has_a_length_and_no_body():
    exchange = Written("HEAD")
    await exchange.send(start((b"content-length", b"3")))
    await exchange.send(body(b"abc"))
    assert exchange.calls[-1] == ("write", b"", False)


async def test_sending_to_nobody_costs_nothing():
    exchange = Written()
    exchange.leave()
    await exchange.send(start())
    assert exchange.calls == []


@pytest.mark.parametrize(
    ("messages", "calls"),
    [([], ["fail"]), ([start()], ["fail"]), ([start(), body(b"a", more=True)], ["abort"])],
)
async def test_some_answer_in_every_case(messages, calls):
    async def app(scope, receive, send):
        for message in messages:
            await send(message)
        message = "secret words"
        raise ValueError(message)

    exchange = Written()
    await exchange.run(app)
    assert exchange.calls[-1:] == calls


async def test_cancelled_application_aborts():
    exchange = Written()
    task = asyncio.create_task(exchange.run(lambda scope, receive, send: receive()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert exchange.calls[-1] == "abort"


async def test_application_does_not_run_for_a_caller_who_left():
    exchange = Written()
    exchange.leave()
    await exchange.run(None)
    assert exchange.calls == []


async def test_a_leaving_caller_is_told_of_once_and_an_early_one_in_the_next_turn():
    told = []
    exchange = Written()
    exchange.on_leave(lambda: told.append("never"))
    exchange.on_leave(None)
    exchange.on_leave(lambda: told.append("left"))
    exchange.leave()
    exchange.leave()
    assert told == ["left"]
    exchange.on_leave(lambda: told.append("late"))
    assert told == ["left"]
    await asyncio.sleep(0)
    assert told == ["left", "late"]
    exchange.on_leave(lambda: told.append("taken back"))
    exchange.on_leave(None)
    await asyncio.sleep(0)
    assert told == ["left", "late"]


async def test_the_application_finds_the_exchange_in_its_scope_while_it_runs():
    exchange = Written()

    async def app(scope, receive, send):
        assert scope["wardgate.exchange"] is exchange
        await send(start())
        await send(body(b""))

    await exchange.run(app)
    assert exchange.complete
    assert "wardgate.exchange" not in exchange.scope


async def test_names_of_reply_headers_are_taken_in_any_case():
    exchange = Written()
    await exchange.send(start((b"Content-Length", b"2")))
    assert exchange.sized
