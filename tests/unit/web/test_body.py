"""Reading a body: bounded in size and time; and the watch on a caller that leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from wardgate.errors import (
    BodyIncomplete,
    BodyTimeout,
    BodyTooLarge,
    ContentTypeUnsupported,
    RequestMalformed,
)
from wardgate.setting_groups import Limits
from wardgate.web.body import CallerLeft, check_headers, read, take, watched

JSON = b"application/json"


def scope(*headers: tuple[bytes, bytes]) -> dict[str, object]:
    return {"headers": headers}


@pytest.mark.parametrize(
    "value",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json ; charset=utf-8",
        b'application/json; charset="UTF-8"',
        b"application/json;charset=utf8",
    ],
)
def test_json_in_utf8_is_taken(value) -> None:
    check_headers(scope((b"content-type", value)), media_type=JSON, limit=10)


@pytest.mark.parametrize(
    "value",
    [
        b"text/plain",
        b"",
        b"application/jsonp",
        b"application/problem+json",
        b"application/json; charset=latin-1",
        b"application/json; charset=utf-8; boundary=x",
        b"multipart/form-data; boundary=application/json",
        b"\xff",
    ],
)
def test_any_other_type_is_refused(value) -> None:
    with pytest.raises(ContentTypeUnsupported):
        check_headers(scope((b"content-type", value)), media_type=JSON, limit=10)


@pytest.mark.parametrize("other", [JSON, b"text/plain", b""])
def test_two_types_are_refused_since_another_server_may_take_the_other(other) -> None:
    for pair in ((JSON, other), (other, JSON)):
        given = scope(*((b"content-type", each) for each in pair))
        with pytest.raises(RequestMalformed, match="Content-Type stands there twice"):
            check_headers(given, media_type=JSON, limit=10, or_else=frozenset({b""}))


def test_a_body_without_a_type_is_refused() -> None:
    with pytest.raises(ContentTypeUnsupported):
        check_headers(scope(), media_type=JSON, limit=10)


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"GZIP", b"gzip, identity"])
def test_a_compressed_body_is_refused(coding) -> None:
    given = scope((b"content-type", JSON), (b"content-encoding", coding))
    with pytest.raises(ContentTypeUnsupported):
        check_headers(given, media_type=JSON, limit=10)


def test_identity_is_no_compression() -> None:
    check_headers(
        scope((b"content-encoding", b"Identity"), (b"content-type", JSON)), media_type=JSON, limit=1
    )


@pytest.mark.parametrize(("length", "fits"), [(b"10", True), (b"11", False), (b"9" * 40, False)])
def test_a_declared_length_beyond_the_limit_is_refused(length, fits) -> None:
    given = scope((b"content-type", JSON), (b"content-length", length))
    if fits:
        check_headers(given, media_type=JSON, limit=10)
    else:
        with pytest.raises(BodyTooLarge, match="10 bytes"):
            check_headers(given, media_type=JSON, limit=10)


class Sender:
    """The messages of one request; then nothing comes until `leave`."""

    def __init__(self, *chunks: bytes | None, more: bool = False) -> None:
        last = len(chunks) - 1
        self.messages = [
            {"type": "http.disconnect"}
            if chunk is None
            else {"type": "http.request", "body": chunk, "more_body": more or place < last}
            for place, chunk in enumerate(chunks)
        ]
        self.asked = 0
        self.left = asyncio.Event()

    async def __call__(self) -> dict[str, object]:
        self.asked += 1
        if self.messages:
            return self.messages.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}


@pytest.mark.parametrize("chunks", [[b"abc"], [b"a", b"bc"], [b"", b"abc", b""], [b"abc", b""]])
async def test_a_body_is_read_whole(chunks) -> None:
    assert await read(Sender(*chunks), limit=3, seconds=5) == b"abc"


async def test_a_body_past_the_limit_is_refused_without_reading_on() -> None:
    sender = Sender(b"ab", b"cd", b"ef")
    with pytest.raises(BodyTooLarge):
        await read(sender, limit=3, seconds=5)
    assert sender.asked == 2


async def test_a_body_that_breaks_off_is_refused() -> None:
    with pytest.raises(BodyIncomplete):
        await read(Sender(b"ab", None), limit=3, seconds=5)


async def test_a_body_that_does_not_come_is_refused() -> None:
    with pytest.raises(BodyTimeout):
        await read(Sender(b"ab", more=True), limit=3, seconds=0.01)


class Line:
    """What a server tells of one request besides its messages."""

    ended = True

    def __init__(self) -> None:
        self.scope = {"wardgate.exchange": self}
        self.leave: Callable[[], None] | None = None

    def on_leave(self, tell: Callable[[], None] | None) -> None:
        self.leave = tell


async def test_a_caller_that_leaves_ends_the_work() -> None:
    line = Line()
    ended = False

    async def work() -> None:
        nonlocal ended
        assert line.leave is not None
        line.leave()
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    with pytest.raises(CallerLeft):
        await watched(work(), line.scope)
    assert ended
    assert line.leave is None
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("own", [True, False])
async def test_a_caller_that_stays_gets_the_result(own) -> None:
    line = Line()

    async def work() -> str:
        return "done"

    assert await watched(work(), line.scope if own else {}) == "done"
    assert line.leave is None


async def test_an_error_of_the_work_passes_through() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await watched(work(), Line().scope)


async def test_a_cancellation_from_elsewhere_is_no_caller_that_left() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(watched(work(), Line().scope))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_route_may_take_other_types_besides() -> None:
    other = frozenset({b"", b"application/octet-stream"})
    for given in (scope(), scope((b"content-type", b"Application/Octet-Stream"))):
        check_headers(given, media_type=JSON, limit=10, or_else=other)
    with pytest.raises(ContentTypeUnsupported):
        check_headers(
            scope((b"content-type", b"text/plain")), media_type=JSON, limit=10, or_else=other
        )


async def test_take_goes_by_the_headers_before_it_reads() -> None:
    async def receive() -> None:
        raise AssertionError("the body was read")

    with pytest.raises(ContentTypeUnsupported):
        await take(scope(), receive, Limits())

    async def body() -> dict[str, object]:
        return {"type": "http.request", "body": b"x" * 1025}

    assert await take(scope((b"content-type", JSON)), body, Limits()) == b"x" * 1025
    with pytest.raises(BodyTooLarge):
        await take(scope((b"content-type", JSON)), body, Limits(body_bytes=1024))


async def test_a_body_that_is_there_needs_no_deadline() -> None:
    line = Line()
    given = {**scope((b"content-type", JSON)), **line.scope}
    limits = Limits(body_seconds=1e-9)
    assert await take(given, Sender(b"{}"), limits) == b"{}"
    line.ended = False
    with pytest.raises(BodyTimeout):
        await take(given, Sender(b"{", more=True), limits)
