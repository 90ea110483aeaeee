"""The door: what every reply carries, and what becomes of an exception."""

from __future__ import annotations

import logging
import re
import uuid

import httpx
import pytest
from tests.conftest import ORIGIN, problem_of

from wardgate.errors import MethodNotAllowed, Overloaded, TokenInvalid
from wardgate.telemetry import REQUESTS
from wardgate.web.middleware import _PROXY_HEADERS, Door, is_proxied, send_reply

SECRET = "Jane Roe 4471"


async def fine(scope, receive, send) -> None:
    await send_reply(send, 200, [(b"content-type", b"text/plain")], b"fine")


def raises(error: Exception):
    async def app(scope, receive, send) -> None:
        raise error

    return app


class Caller:
    """A door around an application, and what it told of unavailability."""

    def __init__(self, app) -> None:
        self.poked = 0
        self.door = Door(app, unavailable=self._poke)

    def _poke(self) -> None:
        self.poked += 1

    async def get(self, path: str = "/", **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.door)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            return await client.get(
                path, headers={k.replace("_", "-"): v for k, v in headers.items()}
            )


async def test_every_reply_carries_the_standing_headers() -> None:
    for app in (fine, raises(TokenInvalid()), raises(KeyError(SECRET))):
        reply = await Caller(app).get()
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert uuid.UUID(reply.headers["x-request-id"])
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", reply.headers["traceparent"])


async def test_a_header_that_a_call_asked_for_is_added_to_its_refusal() -> None:
    async def app(scope, receive, send) -> None:
        scope["wardgate"].headers.append((b"allow", b"GET"))
        raise MethodNotAllowed

    assert (await Caller(app).get()).headers["allow"] == "GET"


async def test_ids_are_new_for_every_request() -> None:
    replies = [await Caller(fine).get() for _ in range(20)]
    for name in ("x-request-id", "traceparent"):
        assert len({reply.headers[name] for reply in replies}) == 20
    for reply in replies:
        assert uuid.UUID(reply.headers["x-request-id"]).version == 4


async def test_a_refusal_becomes_a_problem_with_the_id_of_the_request() -> None:
    given = str(uuid.uuid4())
    reply = await Caller(raises(TokenInvalid())).get(x_request_id=given.upper())
    assert reply.status_code == 401
    assert problem_of(reply)["instance"] == f"urn:uuid:{given}"


async def test_a_fault_is_told_to_nobody_and_logged_by_type_and_place(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    reply = await Caller(raises(ValueError(SECRET))).get()
    assert reply.status_code == 500
    assert problem_of(reply)["type"] == "urn:wardgate:problem:internal"
    assert "Jane" not in reply.text
    (record,) = [r for r in caplog.records if r.name == "wardgate"]
    assert re.search(r"ValueError at test_middleware\.py:\d+ request [0-9a-f-]{36}", record.message)
    assert "Jane" not in caplog.text
    assert record.exc_info is None


async def test_a_reply_that_had_begun_is_broken_off_and_not_begun_anew() -> None:
    sent = []

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError(SECRET)

    async def send(message) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/", "method": "GET", "headers": []}
    with pytest.raises(RuntimeError) as broken:
        await Caller(app).door(scope, None, send)  # type: ignore[arg-type]
    assert "Jane" not in str(broken.value)
    assert [message["type"] for message in sent] == ["http.response.start"]


async def test_readiness_is_looked_at_after_a_503_alone() -> None:
    busy, refused = Caller(raises(Overloaded())), Caller(raises(TokenInvalid()))
    assert (await busy.get()).status_code == 503
    await refused.get()
    assert (busy.poked, refused.poked) == (1, 0)


async def test_what_is_no_http_is_not_answered() -> None:
    async def never(*_: object) -> None:
        raise AssertionError

    for kind in ("lifespan", "websocket"):
        await Caller(never).door({"type": kind}, never, never)  # type: ignore[arg-type]


async def test_a_path_that_a_caller_typed_is_no_label() -> None:
    await Caller(raises(TokenInvalid())).get("/Jane-Roe")
    labels = [sample.labels for family in REQUESTS.collect() for sample in family.samples]
    assert {"route": "other", "status": "401"} in labels
    assert "Jane" not in str(labels)


USUAL = {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"}


@pytest.mark.parametrize("name", sorted(USUAL | _PROXY_HEADERS))
def test_a_proxy_is_known_by_its_headers(name) -> None:
    assert is_proxied([(b"host", b"a"), (name, b"")])


def test_a_direct_caller_is_no_proxy() -> None:
    assert not is_proxied([(b"host", b"a"), (b"x-request-id", b"via")])
