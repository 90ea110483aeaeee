"""The development issuer's routes, as an OAuth client sees them."""

from __future__ import annotations

import base64
import json
import uuid

import pytest
from tests.conftest import problem_of

from wardgate.audit.read import search
from wardgate.auth.issuer import CLIENT, DEFAULT_SCOPES

pytestmark = pytest.mark.asyncio(loop_scope="session")

FORM = {"content-type": "application/x-www-form-urlencoded"}
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
def secret(running) -> tuple[str, str]:
    return CLIENT, running.issuer.client_secret


async def test_a_client_gets_a_token_that_works(running, secret) -> None:
    async with running.client() as client:
        reply = await client.post("/oauth2/token", data=GRANT, auth=secret)
        assert reply.status_code == 200
        granted = reply.json()
        assert list(granted) == ["access_token", "token_type", "expires_in", "scope"]
        assert granted["token_type"] == "Bearer"
        assert granted["scope"] == " ".join(DEFAULT_SCOPES)
        assert reply.headers["cache-control"] == "no-store"  # RFC 6749 §5.1
        bearer = {"authorization": f"Bearer {granted['access_token']}"}
        served = await client.post("/v1/deidentify", json={"text": "fine"}, headers=bearer)
    assert served.status_code == 200


async def test_a_token_has_the_scopes_that_were_asked_for_and_no_others(running, secret) -> None:
    async with running.client() as client:
        form = {**GRANT, "scope": "infer:sentiment audit:read"}
        granted = (await client.post("/oauth2/token", data=form, auth=secret)).json()
        assert granted["scope"] == "infer:sentiment audit:read"
        bearer = {"authorization": f"Bearer {granted['access_token']}"}
        refused = await client.post("/v1/deidentify", json={"text": "fine"}, headers=bearer)
    assert refused.status_code == 403


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


async def test_id_and_secret_may_be_form_encoded(running, secret) -> None:
    """RFC 6749 §2.3.1: both go through the form encoding before they go into the header."""
    encoded = ":".join("".join(f"%{ord(c):02X}" for c in part) for part in secret)
    async with running.client() as client:
        reply = await client.post(
            "/oauth2/token", data=GRANT, headers={"authorization": basic(encoded)}
        )
    assert reply.status_code == 200


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer abc", "Basic", "Basic !!!", "Basic " + base64.b64encode(b"\xff:x").decode(),
     basic("development"), basic("development:wrong"), basic("other:wrong"), basic(":")],
)  # fmt: skip
async def test_a_client_that_does_not_prove_itself_is_refused(running, header) -> None:
    headers = {} if header is None else {"authorization": header}
    async with running.client() as client:
        reply = await client.post("/oauth2/token", data=GRANT, headers=headers)
    assert reply.status_code == 401
    assert problem_of(reply)["error"] == "invalid_client"
    assert reply.headers["www-authenticate"] == 'Basic realm="wardgate"'


async def test_two_authorization_headers_are_refused(running, secret) -> None:
    header = ("authorization", basic(":".join(secret)))
    async with running.client() as client:
        reply = await client.post("/oauth2/token", data=GRANT, headers=[header, header])
    assert reply.status_code == 401


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ("grant_type=password", "unsupported_grant_type"),
        ("", "unsupported_grant_type"),
        ("grant_type=client_credentials&scope=Jane", "invalid_scope"),
        ("grant_type=client_credentials&grant_type=client_credentials", "invalid_request"),
        ("grant_type", "invalid_request"),
        ("a=1&b=2&c=3&d=4&e=5&f=6&g=7&h=8&i=9", "invalid_request"),
        (b"grant_type=\xff", "invalid_request"),
    ],
)
async def test_a_bad_form_has_the_code_of_the_standard(running, secret, form, code) -> None:
    """RFC 6749 §5.2."""
    async with running.client() as client:
        reply = await client.post("/oauth2/token", content=form, headers=FORM, auth=secret)
    assert reply.status_code == 400
    problem = problem_of(reply)
    assert problem["error"] == code
    assert problem["type"] == "urn:wardgate:problem:grant-invalid"
    assert "Jane" not in reply.text


async def test_a_form_of_another_type_or_size_is_refused(running, secret) -> None:
    async with running.client() as client:
        as_json = await client.post("/oauth2/token", json=GRANT, auth=secret)
        large = await client.post("/oauth2/token", content=b"a" * 4097, headers=FORM, auth=secret)
    assert as_json.status_code == 415
    assert large.status_code == 413


async def test_nothing_comes_through_a_proxy(running, secret) -> None:
    async with running.client() as client:
        reply = await client.post(
            "/oauth2/token", data=GRANT, auth=secret, headers={"forwarded": "for=10.0.0.9"}
        )
    assert reply.status_code == 403
    assert problem_of(reply)["type"] == "urn:wardgate:problem:proxy-refused"


async def test_the_key_set_is_public_and_holds_no_private_part(running) -> None:
    async with running.client() as client:
        reply = await client.get("/.well-known/jwks.json")
    (key,) = reply.json()["keys"]
    assert reply.json() == running.issuer.jwks()
    assert not {"d", "p", "q", "k"} & key.keys()


async def test_a_grant_is_in_the_record_before_the_token_leaves(running, secret) -> None:
    request_id = str(uuid.uuid4())
    async with running.client() as client:
        reply = await client.post(
            "/oauth2/token", data=GRANT, auth=secret, headers={"x-request-id": request_id}
        )
    token = reply.json()["access_token"]
    intent, outcome = search(running.settings.state / "audit", request_id=request_id)
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert intent["event"]["jti"] == claims["jti"]
    assert intent["event"]["route"] == "/oauth2/token"
    assert outcome["event"]["reason"] == "token-granted"
    assert token not in str([intent, outcome])
