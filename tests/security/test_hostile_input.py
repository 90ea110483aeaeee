"""What is sent wrongly gets its own clear answer, which says nothing of what was sent."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx
import pytest
from tests.conftest import problem_of
from tests.e2e.processes import Gateway, gateway

from wardgate.flow import Flow
from wardgate.types import Deidentified

MARK = "Zyxqvornamek"
GOOD = '{"model":"sentiment","text":"fine"}'
JSON = {"content-type": "application/json"}


def deep(levels: int) -> bytes:
    return b'{"model":"sentiment","text":' + b"[" * levels + b"]" * levels + b"}"


BODIES = {
    "unknown field": (b'{"model":"sentiment","text":"fine","polcy":"x"}', 422, "body-invalid"),
    "missing field": (b'{"model":"sentiment"}', 422, "body-invalid"),
    "field of another type": (b'{"model":"sentiment","text":7}', 422, "body-invalid"),
    "a field twice": (
        b'{"model":"sentiment","text":"fine","policy":"safe_harbor","policy":"limited_data_set"}',
        422,
        "body-invalid",
    ),
    "a field twice, by an escape": (
        b'{"model":"sentiment","text":"fine","t\\u0065xt":"other"}',
        422,
        "body-invalid",
    ),
    "a field twice, deep inside": (
        b'{"model":"sentiment","text":{"a":[{"b":1,"b":2}]},"text":"fine"}',
        422,
        "body-invalid",
    ),
    "no object": (b'["fine"]', 422, "body-invalid"),
    "10 MB": (b'{"model":"sentiment","text":"' + b"x" * 10_000_000 + b'"}', 413, "body-too-large"),
    "long text": (b'{"model":"sentiment","text":"' + b"x" * 300_000 + b'"}', 413, "text-too-long"),
    "100,000 deep": (deep(100_000), 400, "body-too-deep"),
    "100,000 deep, never closed": (b"[" * 100_000, 400, "body-too-deep"),
    "100,000 deep objects": (b'{"a":' * 100_000, 400, "body-too-deep"),
    "17 deep": (deep(17), 400, "body-too-deep"),
    "no JSON": (b"text=fine", 400, "body-not-json"),
    "half of it": (GOOD.encode()[:-1], 400, "body-not-json"),
    "two of it": (GOOD.encode() * 2, 400, "body-not-json"),
    "empty": (b"", 400, "body-not-json"),
    "NaN": (b'{"model":"sentiment","text":"a","timeout_ms":NaN}', 422, "body-invalid"),
    "huge number": (
        b'{"model":"sentiment","text":"a","timeout_ms":' + b"9" * 5000 + b"}",
        400,
        "body-not-json",
    ),
    "lone surrogate": (b'{"model":"sentiment","text":"\\ud800"}', 400, "body-not-json"),
    "invalid UTF-8": (b'{"model":"sentiment","text":"\xff\xfe"}', 400, "body-not-utf8"),
    "overlong UTF-8": (b'{"model":"sentiment","text":"\xc0\xaf"}', 400, "body-not-utf8"),
    "UTF-16": (GOOD.encode("utf-16"), 400, "body-not-utf8"),
}


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("body", "status", "slug"), BODIES.values(), ids=BODIES)
async def test_a_wrong_body_has_its_own_answer(running, body, status, slug) -> None:
    async with running.client() as client:
        headers = {**running.bearer(), **JSON}
        reply = await client.post("/v1/predict", content=body, headers=headers)
    problem = problem_of(reply)
    assert (reply.status_code, problem["type"]) == (status, f"urn:wardgate:problem:{slug}")
    assert "polcy" not in reply.text


@pytest.mark.asyncio(loop_scope="session")
async def test_a_body_of_no_declared_length_is_read_no_further_than_the_limit(running) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 65_536
            yield b" " * 65_536

    async with running.client() as client:
        headers = {**running.bearer(), **JSON}
        reply = await client.post("/v1/predict", content=endless(), headers=headers)
    assert reply.status_code == 413
    assert taken <= (1 << 20) + 2 * 65_536


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/jsonp"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-type": "application/json", "content-encoding": "br"},
    ],
    ids=lambda headers: " ".join(headers.values()) or "none",
)
async def test_a_wrong_content_type_has_its_own_answer(running, headers) -> None:
    async with running.client() as client:
        given = {**running.bearer(), **headers}
        reply = await client.post("/v1/predict", content=GOOD.encode(), headers=given)
    assert reply.status_code == 415
    assert problem_of(reply)["type"] == "urn:wardgate:problem:content-type-unsupported"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_fault_inside_shows_neither_in_the_reply_nor_in_the_log(
    open_gateway, monkeypatch, capsys
) -> None:
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record) + str(record.exc_info))

    async def fails(_flow: Flow, _model: object, notes: Sequence[Deidentified]) -> Any:
        raise KeyError(notes[0].text)

    kept = Kept()
    logging.getLogger("wardgate").addHandler(kept)
    try:
        async with open_gateway() as found, found.client() as client:
            monkeypatch.setattr(Flow, "_tokenize", fails)
            body = {"model": "sentiment", "text": f"{MARK} is better"}
            reply = await client.post("/v1/predict", json=body, headers=found.bearer())
    finally:
        logging.getLogger("wardgate").removeHandler(kept)
    assert reply.status_code == 500
    assert problem_of(reply)["type"] == "urn:wardgate:problem:internal"
    said = "".join(lines)
    assert "KeyError" in said
    assert MARK not in said + reply.text + str(reply.headers) + "".join(capsys.readouterr())


# -- slow senders, against a real socket ----------------------------------------------------------


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that waits one second for headers and one for a body."""
    settings = {
        "WARDGATE_LIMITS__HEADER_SECONDS": "1",
        "WARDGATE_LIMITS__BODY_SECONDS": "1",
        "WARDGATE_DEID__PROCESSES": "0",
    }
    with gateway(tmp_path_factory.mktemp("hurried"), **settings) as found:
        yield found


def drip(found: Gateway, at_once: bytes, slowly: bytes) -> bytes:
    """Send some at once and the rest byte by byte until the gateway answers."""
    address = httpx.URL(found.url)
    end = time.monotonic() + 15
    with socket.create_connection((address.host, address.port)) as wire:
        wire.sendall(at_once)
        wire.settimeout(0.1)
        received = b""
        for byte in slowly:
            assert time.monotonic() < end, "no answer"
            try:
                received = wire.recv(65_536)
            except TimeoutError:
                wire.sendall(bytes([byte]))
            else:
                break
        return received


def test_slow_headers_are_told_so(hurried: Gateway) -> None:
    received = drip(hurried, b"POST /v1/predict HTTP/1.1\r\nhost: x\r\nx-slow: ", b"a" * 1000)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"headers-timeout" in received


def test_a_slow_body_is_told_so(hurried: Gateway) -> None:
    token = hurried.token().encode()
    head = (
        b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"content-length: 1000\r\nauthorization: Bearer " + token + b"\r\n\r\n"
    )
    received = drip(hurried, head, b" " * 1000)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"body-timeout" in received


def test_a_slow_body_without_a_token_is_not_waited_for(hurried: Gateway) -> None:
    head = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n"
    assert drip(hurried, head, b" " * 1000).startswith(b"HTTP/1.1 401 ")


def test_a_body_that_breaks_off_is_counted_and_holds_no_room(hurried: Gateway) -> None:
    address = httpx.URL(hurried.url)
    token = hurried.token().encode()
    with socket.create_connection((address.host, address.port)) as wire:
        wire.sendall(
            b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"content-length: 1000\r\nauthorization: Bearer " + token + b'\r\n\r\n{"text":'
        )
    end = time.monotonic() + 10
    while hurried.metric("wardgate_refusals_total", 'reason="body-incomplete"') < 1:
        assert time.monotonic() < end
    assert hurried.metric("wardgate_in_flight") == 0
