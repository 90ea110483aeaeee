"""`wardgate token`: a JWT of the development issuer, and only of one that is there."""

from __future__ import annotations

import time

import jwt
import pytest

from wardgate.auth.issuer import AUDIENCE, DEFAULT_SCOPES, ISSUER, DevelopmentIssuer


@pytest.fixture
def state(tmp_path):
    DevelopmentIssuer.open(tmp_path)
    return tmp_path


def claims(state, token: str) -> dict[str, object]:
    (key,) = DevelopmentIssuer.open(state).jwks()["keys"]
    return jwt.decode(token, jwt.PyJWK(key), ["ES256"], audience=AUDIENCE, issuer=ISSUER)


def test_a_token_with_the_usual_scopes(wardgate, state) -> None:
    done = wardgate("token", "--state", state)
    assert done.code == 0
    assert done.out.count("\n") == 1
    found = claims(state, done.out.strip())
    assert found["sub"] == "developer"
    assert found["tenant"] == "default"
    assert found["scope"].split() == list(DEFAULT_SCOPES)
    assert found["exp"] - found["iat"] == 3_600
    assert abs(found["iat"] - time.time()) < 60


def test_a_token_as_it_is_asked_for(wardgate, state) -> None:
    done = wardgate(
        "token", "--state", state, "--subject", "amy", "--scope", "infer:sentiment audit:read",
        "--tenant", "north", "--ttl", "60",
    )  # fmt: skip
    found = claims(state, done.out.strip())
    assert (found["sub"], found["tenant"]) == ("amy", "north")
    assert found["scope"] == "infer:sentiment audit:read"
    assert found["exp"] - found["iat"] == 60


def test_no_scope_at_all(wardgate, state) -> None:
    assert (
        claims(state, wardgate("token", "--state", state, "--scope", "").out.strip())["scope"] == ""
    )


@pytest.mark.parametrize(
    "arguments",
    [["--ttl", "0"], ["--ttl", "3601"], ["--ttl", "day"], ["--scope", "everything"],
     ["--tenant", "no tenant"], ["--subject", ""]],
)  # fmt: skip
def test_what_the_issuer_does_not_give(wardgate, state, arguments) -> None:
    done = wardgate("token", "--state", state, *arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err


def test_without_an_issuer_there_is_no_token(wardgate, tmp_path) -> None:
    done = wardgate("token", "--state", tmp_path)
    assert done.code == 2
    assert done.out == ""
    assert "no development issuer" in done.err
    assert list(tmp_path.iterdir()) == []
