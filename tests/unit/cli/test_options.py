"""What the commands find through the state folder."""

from __future__ import annotations

import base64
import json

import click
import pytest

from wardgate.auth.issuer import DEFAULT_SCOPES, DevelopmentIssuer
from wardgate.cli.options import access_token, development_issuer, gateway_url, state_option
from wardgate.errors import StateInvalid
from wardgate.web.process import GATEWAY_FILE


def test_an_address_that_is_given_wins(tmp_path) -> None:
    (tmp_path / GATEWAY_FILE).write_text(json.dumps({"url": "http://127.0.0.1:1"}))
    assert gateway_url(tmp_path, "http://other/") == "http://other"
    assert gateway_url(tmp_path, None) == "http://127.0.0.1:1"


@pytest.mark.parametrize("content", [None, "", "{}", "no JSON"])
def test_without_a_running_gateway_there_is_no_address(tmp_path, content) -> None:
    if content is not None:
        (tmp_path / GATEWAY_FILE).write_text(content)
    with pytest.raises(StateInvalid, match="wardgate serve"):
        gateway_url(tmp_path, None)


def test_a_token_of_ones_own_wins(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WARDGATE_TOKEN", "mine")
    assert access_token(tmp_path) == "mine"


def test_without_a_token_the_development_issuer_makes_one(tmp_path) -> None:
    issuer = DevelopmentIssuer.open(tmp_path)
    assert access_token(tmp_path).count(".") == 2
    assert development_issuer(tmp_path).jwks() == issuer.jwks()


@pytest.mark.parametrize(("model", "more"), [("triage", ["infer:triage"]), ("no model!", [])])
def test_the_issuers_token_is_for_the_model_that_is_asked_for(tmp_path, model, more) -> None:
    DevelopmentIssuer.open(tmp_path)
    claims = access_token(tmp_path, model).split(".")[1]
    scopes = json.loads(base64.urlsafe_b64decode(claims + "=="))["scope"].split()
    assert scopes == [*DEFAULT_SCOPES, *more]


def test_no_issuer_is_made_by_asking_for_one(tmp_path) -> None:
    for find in (access_token, development_issuer):
        with pytest.raises(StateInvalid, match="WARDGATE_TOKEN"):
            find(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_state_folder_comes_from_option_variable_or_default(monkeypatch) -> None:
    seen = []

    @click.command()
    @state_option
    def command(state) -> None:
        seen.append(str(state))

    command.main([], standalone_mode=False)
    monkeypatch.setenv("WARDGATE_STATE", "/from/variable")
    command.main([], standalone_mode=False)
    command.main(["--state", "/from/option"], standalone_mode=False)
    assert seen == [".wardgate", "/from/variable", "/from/option"]
