"""`wardgate vault`: what it shows, deletes, destroys and writes down."""

from __future__ import annotations

import getpass
import json

import pytest
from click.testing import CliRunner

from wardgate.audit.digest import BodyDigest
from wardgate.audit.keys import load_public_keys
from wardgate.audit.read import search
from wardgate.audit.verify import verify
from wardgate.cli.vault import vault
from wardgate.deid.codes import Value, read
from wardgate.deid.vault_seal import Order
from wardgate.errors import CodeUnknown, StateInvalid, VaultUnavailable
from wardgate.setting_groups import Vault as VaultSettings
from wardgate.types import EntityType
from wardgate.web.reidentify import reason_digest
from wardgate.web.vault import open_store


@pytest.fixture
def run(tmp_path):
    def call(*arguments: str, stdin: str | None = None):
        command = [arguments[0], "--state", str(tmp_path), *arguments[1:]]
        return CliRunner().invoke(vault, command, input=stdin)

    return call


@pytest.fixture
def store(tmp_path):
    found = open_store(tmp_path, VaultSettings())
    yield found
    found.close()


def give(store, name: str, tenant: str) -> str:
    return store.put([Order(tenant, "p", [Value(EntityType.NAME, name)])])[0][0]


def test_status_counts_and_names_nobody(run, store) -> None:
    assert "no codes" in run("status").output
    give(store, "John Quill", "clinic")
    give(store, "Adam Bell", "clinic")
    code = give(store, "John Quill", "other")
    said = run("status").output
    assert "clinic: 2 codes" in said
    assert "other: 1 codes" in said
    rows = json.loads(run("status", "--json").output)
    assert [(r["tenant"], r["codes"], len(r["key"])) for r in rows] == [
        ("clinic", 2, 16),
        ("other", 1, 16),
    ]
    assert not {"Quill", code} & set(said.split())


@pytest.mark.parametrize("command", [("status",), ("expire",), ("destroy", "clinic", "--yes")])
def test_where_there_is_no_vault_none_is_made(run, tmp_path, command) -> None:
    result = run(*command)
    assert isinstance(result.exception, StateInvalid)
    assert not (tmp_path / "vault").exists()


def test_expire_deletes_what_has_expired(run, store) -> None:
    begun = store._clock()
    store._clock = lambda: begun - 400 * 86_400
    give(store, "John Quill", "clinic")
    assert store.standings()[0].codes == 1
    assert run("expire").exit_code == 0
    assert store.standings()[0].codes == 0


def test_destroy_ends_a_tenants_codes_beside_a_running_gateway_and_is_recorded(
    run, store, tmp_path
) -> None:
    code, foreign = give(store, "John Quill", "clinic"), give(store, "Adam Bell", "other")
    key = store.standings()[0].key
    result = run("destroy", "clinic", "--yes")
    assert result.exit_code == 0, result.exception
    with pytest.raises(CodeUnknown):
        store.get("clinic", [read(code)])
    assert store.get("other", [read(foreign)])[0].text == "Adam Bell"
    assert verify(tmp_path / "audit", load_public_keys(tmp_path)).ok
    events = [each["event"] for each in search(tmp_path / "audit", kind="vault")]
    assert [(e["tenant"], e["action"], e["stage"], e["key"], e["by"]) for e in events] == [
        ("clinic", "destroy", "intent", key, getpass.getuser()),
        ("clinic", "destroy", "done", key, getpass.getuser()),
    ]
    assert isinstance(run("destroy", "clinic", "--yes").exception, StateInvalid)
    assert isinstance(run("destroy", "nobody", "--yes").exception, StateInvalid)


def test_destroy_asks_first(run, store) -> None:
    code = give(store, "John Quill", "clinic")
    assert run("destroy", "clinic", stdin="n\n").exit_code == 1
    assert store.get("clinic", [read(code)])[0].text == "John Quill"
    assert run("destroy", "clinic", stdin="y\n").exit_code == 0


def test_nothing_is_destroyed_that_cannot_be_recorded(run, store, tmp_path) -> None:
    code = give(store, "John Quill", "clinic")
    (tmp_path / "audit").write_text("in the way")
    assert isinstance(run("destroy", "clinic", "--yes").exception, StateInvalid)
    assert store.get("clinic", [read(code)])[0].text == "John Quill"


def test_a_destruction_that_fails_half_way_can_be_ended(run, store, tmp_path) -> None:
    give(store, "John Quill", "clinic")
    keys = tmp_path / "vault" / "keys"
    (key,) = keys.iterdir()
    content = key.read_bytes()
    key.unlink()
    key.mkdir()
    assert isinstance(run("destroy", "clinic", "--yes").exception, VaultUnavailable)
    key.rmdir()
    key.write_bytes(content)
    assert run("expire").exit_code == 0
    assert not key.exists()


def test_a_reason_is_checked_by_its_digest(run, tmp_path) -> None:
    digest = reason_digest(BodyDigest(tmp_path), "Recall of John Quill")
    assert run("reason", stdin="Recall of  John Quill\n").output.strip() == digest
    assert run("reason", stdin="Recall").output.strip() != digest
