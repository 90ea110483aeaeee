from __future__ import annotations

import contextlib
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from wardgate.auth.authenticate import Authenticator, TrustedIssuer
from wardgate.auth.issuer import (
    ALGORITHM,
    AUDIENCE,
    CLIENT,
    DEFAULT_SCOPES,
    ISSUER,
    DevelopmentIssuer,
)
from wardgate.auth.keys import StaticKeys
from wardgate.errors import ClientInvalid, GrantInvalid, StateInvalid
from wardgate.types import Principal

NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def issuer(tmp_path_factory) -> DevelopmentIssuer:
    return DevelopmentIssuer.open(tmp_path_factory.mktemp("state"))


async def principal(issuer: DevelopmentIssuer, token: str, now: float = NOW) -> Principal:
    keys = StaticKeys(json.dumps(issuer.jwks()).encode())
    gate = Authenticator([TrustedIssuer(ISSUER, AUDIENCE, keys, frozenset({ALGORITHM}))])
    return await gate.authenticate([b"Bearer " + token.encode()], now=now)


async def test_its_tokens_are_accepted(issuer) -> None:
    token = issuer.issue(
        subject="alice",
        scopes=("deid", "audit:read"),
        tenant="north",
        ttl_seconds=60,
        now=NOW + 0.9,
    )
    found = await principal(issuer, token, NOW + 1)
    assert (found.subject, found.client, found.tenant) == ("alice", CLIENT, "north")
    assert found.scopes == {"deid", "audit:read"}
    assert found.expires_at == NOW + 60


async def test_a_token_without_wishes_has_the_default_scopes(issuer) -> None:
    found = await principal(issuer, issuer.issue(subject="alice", now=NOW))
    assert found.scopes == set(DEFAULT_SCOPES) == {"infer:sentiment", "deid", "models:read"}
    assert found.tenant == "default"


def test_no_two_tokens_are_alike(issuer) -> None:
    assert issuer.issue(subject="a", now=NOW) != issuer.issue(subject="a", now=NOW)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"scopes": ("root",)}, "scope-unknown"),
        ({"scopes": ("deid", "infer:*")}, "scope-unknown"),
        ({"tenant": "../x"}, "tenant"),
        ({"tenant": ""}, "tenant"),
        ({"subject": ""}, "subject"),
        ({"subject": "a\nb"}, "subject"),
        ({"client": "a" * 256}, "subject"),
        ({"ttl_seconds": 0}, "ttl"),
        ({"ttl_seconds": -1}, "ttl"),
        ({"ttl_seconds": 3_601}, "ttl"),
    ],
)
def test_what_it_does_not_sign(issuer, options, reason) -> None:
    with pytest.raises(GrantInvalid) as caught:
        issuer.issue(**{"subject": "alice", "now": NOW} | options)
    assert caught.value.reason == reason


def test_the_key_and_secret_are_kept_and_private(tmp_path: Path) -> None:
    first = DevelopmentIssuer.open(tmp_path)
    second = DevelopmentIssuer.open(tmp_path)
    assert first.jwks() == second.jwks()
    assert first.client_secret == second.client_secret
    files = sorted((tmp_path / "issuer").iterdir())
    assert [file.name for file in files] == ["issuer.json", "lock"]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert stat.S_IMODE((tmp_path / "issuer").stat().st_mode) == 0o700


def test_nothing_secret_is_shown(issuer) -> None:
    assert issuer.client_secret not in repr(issuer)
    assert "EllipticCurve" not in repr(issuer)
    (key,) = issuer.jwks()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "alg", "use"}


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"key":"x","client_secret":"y"}', b"\xff"]
)
def test_a_damaged_file_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    DevelopmentIssuer.open(tmp_path)
    path = tmp_path / "issuer" / "issuer.json"
    path.write_bytes(content)
    with pytest.raises(StateInvalid):
        DevelopmentIssuer.open(tmp_path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    DevelopmentIssuer.open(tmp_path)
    (tmp_path / "issuer" / "issuer.json").chmod(mode)
    with pytest.raises(StateInvalid):
        DevelopmentIssuer.open(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "issuer").write_text("a file stands in the way")
    with pytest.raises(StateInvalid):
        DevelopmentIssuer.open(tmp_path)


def test_a_draft_left_by_a_crash_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "issuer").mkdir(mode=0o700)
    (tmp_path / "issuer" / "issuer.new").write_text("half a file")
    assert DevelopmentIssuer.open(tmp_path).client_secret


OPEN = """
import sys
from pathlib import Path
from wardgate.auth.issuer import DevelopmentIssuer
print("here", flush=True)
sys.stdin.readline()
found = DevelopmentIssuer.open(Path(sys.argv[1]))
print(found.key_id, found.client_secret, flush=True)
"""


def test_eight_processes_at_once_make_one_key(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", OPEN, str(tmp_path / "state")]
    processes = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) for _ in range(8)
    ]
    with contextlib.ExitStack() as owned:
        for process in processes:
            owned.enter_context(process)
            owned.callback(process.kill)
        assert all(process.stdout.readline() == "here\n" for process in processes)
        for process in processes:
            process.stdin.write("go\n")
        found = {process.stdout.readline() for process in processes}
        assert [process.wait(30) for process in processes] == [0] * 8
    assert len(found) == 1
    assert found != {""}


# -- the token endpoint

GRANT = {"grant_type": "client_credentials"}


async def test_the_client_gets_a_token(issuer) -> None:
    reply = issuer.grant(GRANT, now=NOW)
    assert reply["token_type"] == "Bearer"
    assert reply["expires_in"] == 3_600
    assert reply["scope"] == "infer:sentiment deid models:read"
    found = await principal(issuer, str(reply["access_token"]))
    assert found.subject == found.client == CLIENT


async def test_the_client_gets_the_scope_it_asks_for(issuer) -> None:
    reply = issuer.grant({**GRANT, "scope": "audit:read deid:limited_data_set"}, now=NOW)
    assert reply["scope"] == "audit:read deid:limited_data_set"
    assert (await principal(issuer, str(reply["access_token"]))).scopes == {
        "audit:read", "deid:limited_data_set",
    }  # fmt: skip


def test_the_client_proves_itself(issuer) -> None:
    issuer.check_client(CLIENT, issuer.client_secret)


def test_wrong_credentials_are_refused(issuer) -> None:
    secret = issuer.client_secret
    for client, given in (
        (CLIENT, ""),
        (CLIENT, secret[:-1]),
        (CLIENT, secret + "x"),
        (CLIENT, secret.swapcase()),
        (CLIENT, "\ud800"),
        ("\ud800", secret),
        ("other", secret),
        ("", secret),
        ("", ""),
        (secret, CLIENT),
    ):
        with pytest.raises(ClientInvalid):
            issuer.check_client(client, given)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({}, "grant-type"),
        ({"grant_type": "password"}, "grant-type"),
        ({"grant_type": "Client_Credentials"}, "grant-type"),
        ({**GRANT, "scope": "root"}, "scope-unknown"),
        ({**GRANT, "scope": "deid infer:*"}, "scope-unknown"),
    ],
)
def test_other_grants_are_refused(issuer, form, reason) -> None:
    with pytest.raises(GrantInvalid) as caught:
        issuer.grant(form, now=NOW)
    assert caught.value.reason == reason
