"""Settings: ranked sources, unknown names refused, values never told."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from wardgate import settings
from wardgate.errors import SettingsInvalid
from wardgate.setting_groups import Issuer
from wardgate.settings import NOT_SETTINGS, Settings, load

GROUPS = {
    name: info.annotation
    for name, info in Settings.model_fields.items()
    if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
}
LEAVES = [
    (group, leaf, info)
    for group, kind in GROUPS.items()
    for leaf, info in kind.model_fields.items()
]


def config(monkeypatch, tmp_path: Path, text: str) -> None:
    path = tmp_path / "wardgate.toml"
    path.write_text(text)
    monkeypatch.setenv("WARDGATE_CONFIG", str(path))


def test_the_defaults_are_a_whole_gateway_on_loopback() -> None:
    settings = load()
    assert settings.server.host == "127.0.0.1"
    assert settings.server.port == 8080
    assert settings.development_issuer
    assert settings.deid.policy == "safe_harbor"
    assert settings.registry.models == ("sentiment",)


def test_flags_win_over_variables_and_variables_over_the_file(monkeypatch, tmp_path) -> None:
    config(
        monkeypatch,
        tmp_path,
        "[limits]\nbody_bytes = 2001\ntext_chars = 2002\nnesting = 20\n[server]\nport = 1\n",
    )
    monkeypatch.setenv("WARDGATE_LIMITS__TEXT_CHARS", "3002")
    monkeypatch.setenv("WARDGATE_LIMITS__NESTING", "30")
    settings = load(limits={"nesting": 40})
    assert settings.limits.body_bytes == 2001
    assert settings.limits.text_chars == 3002
    assert settings.limits.nesting == 40
    assert settings.server.port == 1
    assert settings.limits.header_bytes == 16_384


@pytest.mark.parametrize(("group", "leaf", "info"), LEAVES, ids=[f"{g}.{n}" for g, n, _ in LEAVES])
def test_every_setting_is_read_from_its_variable(monkeypatch, group, leaf, info) -> None:
    default = info.default
    if default is None or isinstance(default, tuple):
        return
    monkeypatch.setenv(f"WARDGATE_{group.upper()}__{leaf.upper()}", str(default))
    assert getattr(getattr(load(), group), leaf) == default
    assert leaf in getattr(load(), group).model_fields_set


@pytest.mark.parametrize(("group", "leaf", "info"), LEAVES, ids=[f"{g}.{n}" for g, n, _ in LEAVES])
def test_every_setting_says_what_it_means(group, leaf, info) -> None:
    assert info.description
    assert info.description.endswith(".")


@pytest.mark.parametrize("leaf", Issuer.model_fields)
def test_every_member_of_an_issuer_says_what_it_means(leaf) -> None:
    assert Issuer.model_fields[leaf].description


@pytest.mark.parametrize(
    "name",
    ["WARDGATE_LIMITS__BODYBYTES", "WARDGATE_LIMIT__BODY_BYTES", "WARDGATE_PORT", "WARDGATE_"],
)
def test_an_unknown_variable_is_refused_by_name(monkeypatch, name) -> None:
    monkeypatch.setenv(name, "hunter2")
    with pytest.raises(SettingsInvalid) as refused:
        load()
    assert name in refused.value.detail
    assert "hunter2" not in refused.value.detail


@pytest.mark.parametrize("text", ["[limits]\nbodybytes = 2048\n", "[limit]\n", "port = 8080\n"])
def test_an_unknown_name_in_the_file_is_refused(monkeypatch, tmp_path, text) -> None:
    config(monkeypatch, tmp_path, text)
    with pytest.raises(SettingsInvalid):
        load()


def test_the_variables_of_the_client_commands_are_no_settings(monkeypatch, tmp_path) -> None:
    config(monkeypatch, tmp_path, "")
    monkeypatch.setenv("WARDGATE_TOKEN", "a token")
    monkeypatch.setenv("WARDGATE_URL", "http://127.0.0.1:8080")
    assert {name for name in os.environ if name.startswith("WARDGATE_")} == NOT_SETTINGS
    assert load().server.port == 8080


WRONG = {
    "out of range": ("WARDGATE_SERVER__PORT", "70001", "server.port"),
    "no number": ("WARDGATE_LIMITS__BODY_BYTES", "hunter2", "limits.body_bytes"),
    "none of the choices": ("WARDGATE_ENGINE__KIND", "hunter2", "engine.kind"),
    "no JSON": ("WARDGATE_AUTH__ISSUERS", "{hunter2", ""),
    "JSON of a wrong shape": ("WARDGATE_AUTH__ISSUERS", '[{"issuer": "hunter2"}]', "auth.issuers"),
    "headers too slow": ("WARDGATE_LIMITS__HEADER_SECONDS", "10.5", "limits.header_seconds"),
    "no limit at all": ("WARDGATE_ADMISSION__RATE", "0", "admission.rate"),
}


@pytest.mark.parametrize(("name", "value", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_named_and_never_told(monkeypatch, name, value, told) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid) as refused:
        load()
    assert told in refused.value.detail
    for secret in ("hunter2", "70001"):
        assert secret not in refused.value.detail
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_every_wrong_setting_is_told_at_once(monkeypatch) -> None:
    monkeypatch.setenv("WARDGATE_SERVER__PORT", "-1")
    monkeypatch.setenv("WARDGATE_LIMITS__NESTING", "1")
    with pytest.raises(SettingsInvalid) as refused:
        load()
    assert "server.port" in refused.value.detail
    assert "limits.nesting" in refused.value.detail


def test_a_file_that_does_not_parse_or_is_not_there_is_refused(monkeypatch, tmp_path) -> None:
    config(monkeypatch, tmp_path, "password = hunter2\n")
    with pytest.raises(SettingsInvalid) as refused:
        load()
    assert "hunter2" not in refused.value.detail
    monkeypatch.setenv("WARDGATE_CONFIG", str(tmp_path / "absent.toml"))
    with pytest.raises(SettingsInvalid, match="does not exist"):
        load()


ISSUER = {"issuer": "https://id.example", "audience": "wardgate", "jwks_file": "keys.json"}
REFUSED = {
    "a certificate without its key": {"tls_cert": "c.pem"},
    "a key without its certificate": {"tls_key": "k.pem"},
    "client certificates without TLS": {"client_ca": "ca.pem"},
    "an open address without TLS": {"host": "0.0.0.0"},
    "an open IPv6 address without TLS": {"host": "::"},
    "a name that is not localhost": {"host": "gateway.example"},
}


@pytest.mark.parametrize("server", REFUSED.values(), ids=REFUSED)
def test_an_address_that_others_reach_needs_tls_or_a_named_proxy(server) -> None:
    with pytest.raises(SettingsInvalid):
        load(server=server, auth={"issuers": [ISSUER]})


ALLOWED = {
    "TLS": {"host": "0.0.0.0", "tls_cert": "c.pem", "tls_key": "k.pem"},
    "mutual TLS": {"host": "::", "tls_cert": "c.pem", "tls_key": "k.pem", "client_ca": "ca.pem"},
    "a named proxy": {"host": "10.0.0.1", "trusted_proxy": "10.0.0.2"},
    "loopback": {"host": "::1"},
}


@pytest.mark.parametrize("server", ALLOWED.values(), ids=ALLOWED)
def test_with_an_issuer_of_its_own_there_is_no_development_issuer(server) -> None:
    assert not load(server=server, auth={"issuers": [ISSUER]}).development_issuer


@pytest.mark.parametrize(
    "server",
    [ALLOWED["TLS"], ALLOWED["a named proxy"], {"trusted_proxy": "127.0.0.1"}],
)
def test_without_an_issuer_only_direct_loopback_is_served(server) -> None:
    with pytest.raises(SettingsInvalid, match="issuer"):
        load(server=server)


def test_settings_cannot_be_changed() -> None:
    settings = load()
    with pytest.raises(ValidationError):
        settings.server = settings.server  # type: ignore[misc]
    with pytest.raises(ValidationError):
        settings.server.port = 1  # type: ignore[misc]


def test_what_the_supervisor_sends_is_what_its_processes_get(monkeypatch, tmp_path) -> None:
    """A child inherits the environment; the settings it is sent win over it."""
    sent = load(
        state=tmp_path,
        server={"workers": 3, "port": 0},
        limits={"body_bytes": 4096},
        auth={"issuers": [ISSUER]},
        registry={"folder": tmp_path},
    ).model_dump(mode="json")
    monkeypatch.setenv("WARDGATE_LIMITS__BODY_BYTES", "2048")
    monkeypatch.setenv("WARDGATE_SERVER__TLS_CERT", "other.pem")
    config(monkeypatch, tmp_path, "[server]\nworkers = 9\n")
    got = Settings.model_validate(sent)
    assert got.model_dump(mode="json") == sent
    assert got.limits.body_bytes == 4096
    assert got.server.workers == 3
    assert got.auth.issuers[0].jwks_file == Path("keys.json")


def test_issuers_come_from_the_file_as_tables(monkeypatch, tmp_path) -> None:
    text = '[[auth.issuers]]\nissuer = "a"\naudience = "b"\njwks_file = "c"\n'
    tomllib.loads(text)
    config(monkeypatch, tmp_path, text)
    assert load().auth.issuers == (Issuer(issuer="a", audience="b", jwks_file=Path("c")),)


def test_what_was_read_once_is_not_read_again(monkeypatch, tmp_path) -> None:
    read = load(limits={"text_chars": 5})
    config = tmp_path / "half-edited.toml"
    config.write_text("[limits]\nbody_byts = 1\n")
    monkeypatch.setenv("WARDGATE_CONFIG", str(config))
    monkeypatch.setenv("WARDGATE_LIMITS__TEXT_CHARS", "7")
    again = settings.given(read.model_dump(mode="json"))
    assert again.limits.text_chars == 5
    assert again.model_dump() == read.model_dump()
