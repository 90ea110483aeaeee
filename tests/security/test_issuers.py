"""Whose tokens count: the development issuer's on this machine alone, else a configured one's."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from tests.conftest import problem_of
from tests.e2e.processes import Gateway, command, gateway

from wardgate.auth.issuer import DevelopmentIssuer

PROXY_HEADERS = (
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "forwarded",
    "via",
    "true-client-ip",
)
ISSUER, AUDIENCE = "https://login.hospital.example/", "wardgate"


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("name", PROXY_HEADERS)
async def test_the_development_issuer_refuses_what_comes_through_a_proxy(running, name) -> None:
    headers = {**running.bearer(), name: "203.0.113.9"}
    credentials = ("development", running.issuer.client_secret)
    form = {"grant_type": "client_credentials"}
    async with running.client() as client:
        assert (await client.post("/v1/deidentify", json={"text": "a"}, headers=running.bearer())).status_code == 200  # fmt: skip
        for reply in (
            await client.post("/v1/deidentify", json={"text": "a"}, headers=headers),
            await client.post(
                "/v1/predict", json={"model": "sentiment", "text": "a"}, headers=headers
            ),
            await client.post("/oauth2/token", data=form, auth=credentials, headers={name: "x"}),
            await client.get("/.well-known/jwks.json", headers={name: "x"}),
        ):
            assert reply.status_code == 403
            assert problem_of(reply)["type"] == "urn:wardgate:problem:proxy-refused"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gateway.hospital.example"])
def test_an_address_other_than_loopback_without_tls_is_refused(tmp_path: Path, host: str) -> None:
    result = command("serve", "--host", host, "--port", "0", "--state", str(tmp_path / "state"))
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "not loopback" in result.stderr


def test_a_proxy_or_tls_alone_does_not_open_the_development_issuer(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    for flags, env in (
        (("--host", "0.0.0.0"), {"WARDGATE_SERVER__TRUSTED_PROXY": "10.0.0.1"}),
        ((), {"WARDGATE_SERVER__TRUSTED_PROXY": "10.0.0.1"}),
    ):
        result = command("serve", *flags, "--port", "0", "--state", state, **env)
        assert result.returncode == 2
        assert "auth.issuers" in result.stderr
        assert len(result.stderr.splitlines()) == 1


# -- a configured issuer --------------------------------------------------------------------------


def jwk(key: ec.EllipticCurvePrivateKey, kid: str) -> dict[str, Any]:
    public = json.loads(ECAlgorithm.to_jwk(key.public_key()))
    return {**public, "kid": kid, "alg": "ES256", "use": "sig"}


def signed(key: ec.EllipticCurvePrivateKey, kid: str, **claims: Any) -> dict[str, str]:
    now = int(time.time())
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "clinician",
        "client_id": "app",
        "jti": str(uuid.uuid4()),
        "scope": "deid infer:sentiment",
        "exp": now + 300,
        **claims,
    }
    token = jwt.encode(said, key, algorithm="ES256", headers={"typ": "at+jwt", "kid": kid})
    return {"authorization": f"Bearer {token}"}


KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway behind a proxy, whose tokens come from the issuer of a hospital."""
    home = tmp_path_factory.mktemp("configured")
    (home / "jwks.json").write_text(json.dumps({"keys": [jwk(KEY, "a")]}))
    (home / "wardgate.toml").write_text(
        f"""\
[[auth.issuers]]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
jwks_file = "{home / "jwks.json"}"

[server]
trusted_proxy = "127.0.0.1"
"""
    )
    settings = {
        "WARDGATE_CONFIG": str(home / "wardgate.toml"),
        "WARDGATE_DEID__PROCESSES": "0",
        "WARDGATE_LIMITS__BODY_BYTES": "4096",
    }
    with gateway(home, **settings) as found:
        yield found


def test_its_tokens_are_accepted_through_its_proxy(configured: Gateway) -> None:
    headers = {**signed(KEY, "a"), "x-forwarded-for": "203.0.113.9"}
    with configured.client() as client:
        reply = client.post("/v1/deidentify", json={"text": "Dr. Amy Lee called"}, headers=headers)
    assert reply.status_code == 200
    assert "Lee" not in reply.text


def test_no_other_token_is(configured: Gateway) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    development = DevelopmentIssuer.open(configured.home / "elsewhere")
    given = development.issue(subject="x", now=time.time())
    refused = [
        signed(other, "a"),
        signed(KEY, "b"),
        signed(KEY, "a", iss="https://login.hospital.example"),
        signed(KEY, "a", aud="another"),
        signed(KEY, "a", exp=int(time.time()) - 1),
        {"authorization": f"Bearer {given}"},
    ]
    with configured.client() as client:
        for headers in refused:
            reply = client.post("/v1/deidentify", json={"text": "a"}, headers=headers)
            assert reply.status_code == 401


def test_the_development_issuer_is_off(configured: Gateway) -> None:
    with configured.client() as client:
        assert client.post("/oauth2/token", auth=("development", "x")).status_code == 404
        assert client.get("/.well-known/jwks.json").status_code == 404
        assert "/oauth2/token" not in client.get("/openapi.json").json()["paths"]
    assert not (configured.state / "issuer").exists()
    result = command("token", "--state", str(configured.state))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1


def test_a_limit_of_the_settings_file_and_of_a_variable_hold(configured: Gateway) -> None:
    with configured.client(headers=signed(KEY, "a")) as client:
        reply = client.post("/v1/deidentify", json={"text": "a" * 5000})
    assert reply.status_code == 413
    assert "4096" in reply.json()["detail"]
