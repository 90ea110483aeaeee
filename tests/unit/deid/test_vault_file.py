"""The vault's file: durable, ours alone, and every fault a refusal."""

from __future__ import annotations

import sqlite3
import stat

import pytest

from wardgate.deid.vault_file import VaultFile
from wardgate.errors import StateInvalid, VaultUnavailable


@pytest.fixture
def file(tmp_path):
    found = VaultFile(tmp_path, wrapped_by="a" * 16)
    yield found
    found.close()


def fail(file, fault) -> None:
    """Fail in the middle of a transaction."""
    with file.guarded():
        file.run("BEGIN IMMEDIATE")
        file.run("INSERT INTO tenants VALUES ('t', 'k', 0)")
        raise fault


def test_what_a_commit_returned_survives_a_power_cut(file) -> None:
    assert file.run("PRAGMA journal_mode").fetchone() == ("wal",)
    assert file.run("PRAGMA synchronous").fetchone() == (2,)
    assert file.run("PRAGMA secure_delete").fetchone() == (1,)
    assert file.run("PRAGMA temp_store").fetchone() == (2,)


def test_every_table_has_a_tenant(file) -> None:
    tables = [name for (name,) in file.run("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert set(tables) == {"vault", "tenants", "destroyed", "codes"}
    for table in tables:
        columns = file.run(f"PRAGMA table_info({table})").fetchall()
        assert any((column[1] == "tenant" and column[3]) or column[5] for column in columns)


def test_files_are_ours_alone(file, tmp_path) -> None:
    file.run("INSERT INTO tenants VALUES ('t', 'k', 0)")
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.glob("vault.db*")}
    assert set(modes) == {"vault.db", "vault.db-wal", "vault.db-shm"}
    assert set(modes.values()) == {0o600}


def test_another_wrapping_key_is_refused(file, tmp_path) -> None:
    with pytest.raises(StateInvalid, match="another key-encryption key"):
        VaultFile(tmp_path, wrapped_by="b" * 16)
    VaultFile(tmp_path, wrapped_by="a" * 16).close()


@pytest.mark.parametrize("content", [b"no database " * 100])
def test_a_damaged_file_is_refused(tmp_path, content) -> None:
    (tmp_path / "vault.db").write_bytes(content)
    with pytest.raises(StateInvalid, match="cannot be opened"):
        VaultFile(tmp_path, wrapped_by="a" * 16)


def test_a_link_is_not_followed(tmp_path) -> None:
    (tmp_path / "vault.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(StateInvalid):
        VaultFile(tmp_path, wrapped_by="a" * 16)
    assert not (tmp_path / "elsewhere.db").exists()


@pytest.mark.parametrize("fault", [sqlite3.OperationalError("value 'John'"), OSError("John")])
def test_a_fault_is_a_refusal_that_quotes_nothing(file, fault) -> None:
    with pytest.raises(VaultUnavailable) as refused:
        fail(file, fault)
    assert refused.value.status == 503
    assert "John" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    assert file.run("SELECT * FROM tenants").fetchall() == []


def test_any_other_exception_leaves_no_transaction_open(file) -> None:
    with pytest.raises(KeyError):
        fail(file, KeyError())
    assert not file._connection.in_transaction


def test_a_file_that_is_gone_takes_no_write_and_one_that_is_back_does(file, tmp_path) -> None:
    file.empty_log()
    (tmp_path / "vault.db").rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(VaultUnavailable), file.guarded():
            file.run("INSERT INTO tenants VALUES ('t', 'k', 0)")
    for leftover in tmp_path.glob("vault.db-*"):
        leftover.unlink()
    (tmp_path / "away").rename(tmp_path / "vault.db")
    with file.guarded():
        file.run("INSERT INTO tenants VALUES ('t', 'k', 0)")
    assert file.run("SELECT tenant FROM tenants").fetchall() == [("t",)]


def test_the_log_is_cut(file, tmp_path) -> None:
    file.run("INSERT INTO tenants VALUES ('t', 'k', 0)")
    assert (tmp_path / "vault.db-wal").stat().st_size > 0
    file.empty_log()
    assert (tmp_path / "vault.db-wal").stat().st_size == 0
    assert file.run("PRAGMA busy_timeout").fetchone() == (2000,)


def test_the_log_is_left_where_another_reads_it(file, tmp_path) -> None:
    other = VaultFile(tmp_path, wrapped_by="a" * 16)
    other.run("BEGIN")
    other.run("SELECT * FROM tenants").fetchall()
    file.run("INSERT INTO tenants VALUES ('t', 'k', 0)")
    file.empty_log()
    assert other.run("SELECT * FROM tenants").fetchall() == []
    other.close()


def test_many_rows_go_in_and_come_out_in_a_few_statements(file) -> None:
    rows = [(f"t{n}", "k", n) for n in range(200)]
    statements: list[str] = []
    file._connection.set_trace_callback(statements.append)
    assert file.change("INSERT INTO tenants VALUES {} ON CONFLICT DO NOTHING", rows) == 200
    assert file.change("INSERT INTO tenants VALUES {} ON CONFLICT DO NOTHING", rows) == 0
    query = (
        "SELECT json_group_array(json_array(t.tenant, t.codes)) "
        "FROM (VALUES {}) v CROSS JOIN tenants t ON t.tenant = v.column1"
    )
    found = file.select(query, [(f"t{n}",) for n in range(5, 205)])
    assert found == [[f"t{n}", n] for n in range(5, 200)]
    assert len(statements) == 12
    assert file.select(query, []) == []
    assert file.change("INSERT INTO tenants VALUES {}", []) == 0
