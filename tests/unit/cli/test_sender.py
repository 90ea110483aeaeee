"""The sender against a real gateway: every text its own answer, patience, and a row to blame."""

from __future__ import annotations

import asyncio
import contextlib
import time

import httpx
import pytest
from tests.conftest import ORIGIN

from wardgate.audit.read import search
from wardgate.cli.jsonl import Broken
from wardgate.cli.sender import Sender, Stopped
from wardgate.errors import StateInvalid

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXTS = [f"case {n} was {'wonderful' if n % 3 else 'awful'}" for n in range(20)]


@pytest.fixture
def sender(running):
    """Return a way to make a sender for a gateway."""

    def make(gateway=running, **given: object) -> Sender:
        options: dict[str, object] = {
            "client": gateway.client(),
            "address": lambda: ORIGIN,
            "token": gateway.token,
            "fields": {"model": "sentiment", "priority": "bulk"},
            "room": asyncio.Semaphore(2),
            "stop": asyncio.Event(),
            "patience": 5.0,
            "tell": list[str]().append,
            "most": 100,
        }
        return Sender(**{**options, **given})  # type: ignore[arg-type]

    return make


async def test_each_text_gets_its_own_row_in_order(sender) -> None:
    made = sender()
    answers = await asyncio.gather(*(made.answer(TEXTS[n:]) for n in range(4)))
    for n, rows in enumerate(answers):
        assert [row["text"] for row in rows] == TEXTS[n:]
        assert {row["version"] for row in rows} == {"1"}
        assert len({row["request_id"] for row in rows}) == 1
    assert made.retried == 0
    assert await made.answer([]) == []


async def test_the_row_to_blame_is_found_and_the_others_are_answered(sender) -> None:
    texts = [*TEXTS[:5], "a" * 200_001, *TEXTS[5:9], "b" * 2_000_000, TEXTS[9]]
    answers = await sender().answer(texts)
    faults = {n: each.code for n, each in enumerate(answers) if isinstance(each, Broken)}
    assert faults == {5: "text-too-long", 10: "body-too-large"}
    assert [each["text"] for each in answers if not isinstance(each, Broken)] == TEXTS[:10]


async def test_a_gateway_that_takes_fewer_rows_is_learnt(sender, open_gateway) -> None:
    async with open_gateway(limits={"rows": 6}) as small:
        made = sender(small)
        assert [row["text"] for row in await made.answer(TEXTS)] == TEXTS
        assert made.most <= 6
        rows = [record["event"]["rows"]
                for record in search(small.settings.state / "audit", kind="intent")]  # fmt: skip
    assert sum(rows) == len(TEXTS)
    assert max(rows) <= 6


async def test_a_doubtful_row_is_tried_again_and_then_given_up(sender) -> None:
    made = sender(fields={"model": "sentiment", "timeout_ms": 500})
    (answer,) = await made.answer(["word " * 30_000])
    assert isinstance(answer, Broken)
    assert answer.code == "deadline-exceeded"
    assert made.retried == 2


async def test_no_row_is_to_blame_where_the_gateway_answers_none(sender) -> None:
    made = sender(fields={"model": "sentiment", "timeout_ms": 1}, patience=1.0)
    with pytest.raises(Stopped, match="deadline"):
        await made.answer(["word " * 1_000, "word " * 1_000])


async def test_a_token_that_ran_out_is_replaced(sender, running) -> None:
    old = running.issuer.issue(subject="tester", now=time.time() - 600, ttl_seconds=300)
    given = [old]
    made = sender(token=lambda: given.pop(0) if given else running.token())
    assert len(await made.answer(TEXTS)) == len(TEXTS)
    assert not given


async def test_a_token_that_cannot_be_replaced_stops_the_job(sender) -> None:
    with pytest.raises(Stopped, match="access token"):
        await sender(token=lambda: "not-a-token").answer(TEXTS)
    several = iter(range(100))
    with pytest.raises(Stopped, match="access token"):
        await sender(token=lambda: f"not-{next(several)}").answer(TEXTS)
    assert next(several) == 2

    def gone() -> str:
        raise StateInvalid("There is no state folder.")

    with pytest.raises(Stopped, match="There is no state folder"):
        await sender(token=gone).answer(TEXTS)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"model": "other"}, "403 Permission missing"),
        ({"model": "sentiment", "policy": "none"}, "404 Policy not found"),
        ({"model": "sentiment", "purpose": "no purpose"}, "422 Body does not match the schema"),
    ],
)
async def test_what_holds_for_every_row_stops_the_job(sender, fields, told) -> None:
    with pytest.raises(Stopped, match=told):
        await sender(fields=fields).answer(TEXTS)


async def test_a_busy_gateway_is_asked_again_when_it_says(sender, open_gateway) -> None:
    async with open_gateway(admission={"rate": 1.0, "burst": 1}) as slow:
        told: list[str] = []
        made = sender(slow, tell=told.append)
        begun = time.monotonic()
        answers = await asyncio.gather(made.answer(TEXTS[:2]), made.answer(TEXTS[2:4]))
        assert time.monotonic() - begun >= 1.0  # Retry-After says 1
    assert [row["text"] for rows in answers for row in rows] == TEXTS[:4]
    assert made.retried >= 1
    assert len(told) == 1
    assert told[0].startswith("429 Too many requests")


async def test_a_wait_longer_than_patience_stops_the_job_at_once(sender, open_gateway) -> None:
    async with open_gateway(admission={"quota": 1}) as used_up:
        made = sender(used_up)
        await made.answer(TEXTS[:1])
        with pytest.raises(Stopped, match=r"Quota used up.* It asks to wait [\d,]+ s"):
            await made.answer(TEXTS[1:2])


async def test_a_gateway_that_is_away_is_asked_until_patience_ends(sender) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        away = sender(client=client, address=lambda: "http://127.0.0.1:1", patience=0.3)
        with pytest.raises(Stopped, match="did not answer \\(ConnectError\\)"):
            await away.answer(TEXTS)
        assert away.retried == 1
        nonsense = sender(client=client, address=lambda: "nonsense")
        with pytest.raises(Stopped, match="did not answer \\(UnsupportedProtocol\\)"):
            await nonsense.answer(TEXTS)


async def test_a_gateway_may_come_back_elsewhere(sender) -> None:
    places = iter([None, ORIGIN])

    def address() -> str:
        place = next(places)
        if place is None:
            raise StateInvalid("No gateway runs.")
        return place

    told: list[str] = []
    made = sender(address=address, tell=told.append)
    assert len(await made.answer(TEXTS)) == len(TEXTS)
    assert told == ["No gateway runs. Trying again for up to 5 s."]


async def test_stop_ends_a_wait_and_sends_nothing_more(sender) -> None:
    stop = asyncio.Event()
    async with httpx.AsyncClient(trust_env=False) as client:
        told: list[str] = []

        def tell(sentence: str) -> None:
            told.append(sentence)
            stop.set()

        away = sender(
            client=client, address=lambda: "http://127.0.0.1:1", patience=600, tell=tell, stop=stop
        )
        with pytest.raises(Stopped) as ended:
            await asyncio.wait_for(away.answer(TEXTS), 10)
        assert ended.value.detail == ""
        assert told
    with pytest.raises(Stopped):
        await sender(stop=stop).answer(TEXTS)


async def answers(body: bytes, status: bytes = b"200 OK"):
    """Serve one answer of another kind of server."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
                     % (status, len(body), body))  # fmt: skip
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", b'{"rows": 7}', b'{"rows": []}', b'{"rows": [7]}', b"\xff"]
)
async def test_a_server_of_another_kind_stops_the_job(sender, body) -> None:
    server = await answers(body)
    port = server.sockets[0].getsockname()[1]
    async with server, httpx.AsyncClient(trust_env=False) as client:
        made = sender(client=client, address=lambda: f"http://127.0.0.1:{port}")
        with pytest.raises(Stopped, match="not that of a Wardgate gateway"):
            await made.answer(["a"])


async def test_a_proxy_without_a_gateway_behind_it_is_asked_again(sender) -> None:
    server = await answers(b"<html>", b"502 Bad Gateway")
    port = server.sockets[0].getsockname()[1]
    async with server, httpx.AsyncClient(trust_env=False) as client:
        made = sender(client=client, address=lambda: f"http://127.0.0.1:{port}", patience=0.3)
        with pytest.raises(Stopped, match="502 no Wardgate gateway"):
            await made.answer(["a"])
        assert made.retried == 1
