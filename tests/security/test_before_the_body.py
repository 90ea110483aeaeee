"""Nothing of a body is read before the caller is known, permitted and admitted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.conftest import problem_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

BODIES = {
    "a good one": b'{"model":"sentiment","text":"fine"}',
    "no JSON": b"\xff\xfe{{{{",
    "deep": b"[" * 100_000,
    "large": b"x" * 10_000_000,
}


class Body:
    """A body that counts what is taken of it."""

    def __init__(self, content: bytes) -> None:
        self.content, self.taken = content, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.content), 65_536):
            chunk = self.content[start : start + 65_536]
            self.taken += len(chunk)
            yield chunk


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("route", ["/v1/predict", "/v1/deidentify"])
async def test_no_byte_is_taken_without_a_token(running, route, content) -> None:
    body = Body(content)
    async with running.client() as client:
        reply = await client.post(route, content=body)
    assert reply.status_code == 401
    assert problem_of(reply)["type"] == "urn:wardgate:problem:token-missing"
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert body.taken == 0


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(
    ("route", "scope"), [("/v1/predict", "deid"), ("/v1/deidentify", "infer:sentiment")]
)
async def test_no_byte_is_taken_with_a_wrong_scope(running, route, scope, content) -> None:
    body = Body(content)
    async with running.client() as client:
        reply = await client.post(route, content=body, headers=running.bearer(scope))
    assert reply.status_code == 403
    assert problem_of(reply)["type"] == "urn:wardgate:problem:scope-insufficient"
    assert body.taken == 0


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES)
async def test_no_byte_is_taken_with_a_used_up_quota(open_gateway, content) -> None:
    async with open_gateway(admission={"quota": 1}) as running, running.client() as client:
        headers = running.bearer()
        good = await client.post("/v1/deidentify", json={"text": "fine"}, headers=headers)
        assert good.status_code == 200
        body = Body(content)
        reply = await client.post("/v1/deidentify", content=body, headers=headers)
        assert reply.status_code == 429
        assert problem_of(reply)["type"] == "urn:wardgate:problem:quota-used-up"
        assert 0 < int(reply.headers["retry-after"]) <= 86_400
        assert body.taken == 0


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES)
async def test_no_byte_is_taken_at_the_token_endpoint_from_an_unknown_client(
    running, content
) -> None:
    body = Body(content)
    async with running.client() as client:
        reply = await client.post("/oauth2/token", content=body, auth=("development", "wrong"))
    assert reply.status_code == 401
    assert problem_of(reply)["error"] == "invalid_client"
    assert body.taken == 0


async def test_no_byte_is_taken_that_the_headers_already_refuse(running) -> None:
    body = Body(BODIES["large"])
    headers = {**running.bearer(), "content-length": "10000000", "content-type": "application/json"}
    async with running.client() as client:
        reply = await client.post("/v1/predict", content=body, headers=headers)
    assert reply.status_code == 413
    assert body.taken == 0
