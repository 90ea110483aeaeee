from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys

import pytest

from wardgate.audit.chain import parse_end, parse_head
from wardgate.audit.event import denial_entry
from wardgate.audit.keys import load_public_keys
from wardgate.audit.sink import SqliteSink
from wardgate.audit.verify import verify
from wardgate.errors import AuditUnavailable, StateInvalid
from wardgate.types import Refusal


def result(store):
    (chain,) = verify(store.folder, load_public_keys(store.state)).chains
    return chain.result


@pytest.fixture
def sink(store):
    opened = store.open()
    yield opened
    opened.close()


@pytest.fixture
def file_limit():
    """Let files grow to a size and no further, as a full disk does; needs no root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size=None):
        soft = before[0] if size is None else size
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_records_are_stored_by_column_and_as_bytes(store, make, sink):
    sink.append(make.group(0, 3))
    rows = store.sql("SELECT seq, tenant, kind, request_id, time FROM records")
    assert rows == [
        (1, "-", "start", "", make.now),
        (2, "north", "intent", "r-0", make.now),
        (3, "north", "outcome", "r-0", make.now + 1),
        (4, "north", "intent", "r-1", make.now + 2),
    ]
    assert b'"event":{"body_digest":' in store.record(2)


def test_the_store_is_durable_at_each_commit_and_open_to_nobody_else(store, sink):
    execute = sink._connection.execute
    assert execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()}
    assert {"w0.db", "w0.db-wal", "w0.heads", "w0.end"} <= set(files)
    assert set(files.values()) == {0o600}


def test_each_group_ends_with_a_head_and_the_end_mark_is_the_last(store):
    store.fill(groups=3, size=5)
    heads = [parse_head(line) for line in store.heads.read_bytes().splitlines()]
    assert [head.seq for head in heads] == [0, 1, 6, 11, 16]
    end = parse_end(store.end.read_bytes())
    assert end.head == heads[-1]
    assert end.valid(load_public_keys(store.state))


@pytest.mark.parametrize("size", [1, 63, 64, 65, 128, 300])
def test_groups_of_any_size_are_one_commit(store, make, sink, size):
    sink.append(make.group(0, size))
    sink.seal()
    assert sink.seq == size + 1
    assert result(store).records == size + 1
    assert result(store).finding is None


def test_a_chain_is_continued(store, make):
    store.fill(groups=2)
    again = store.open()
    again.append(make.group(10, 4))
    again.close()
    assert result(store).finding is None
    assert result(store).records == 1 + 10 + 1 + 4
    kinds = [row[0] for row in store.sql("SELECT seq FROM records WHERE kind = 'start'")]
    assert kinds == [1, 12]


def test_a_store_ahead_of_its_heads_is_continued(store, make):
    """As after a kill between a commit and its head."""
    sink = store.open()
    sink.append(make.group(0, 4))
    sink._files.close()
    assert result(store).ahead == 4
    again = store.open()
    assert again.seq == 6
    again.close()
    assert result(store).finding is None
    assert result(store).ahead == 0


def test_a_torn_head_is_written_anew(store):
    store.fill(groups=1)
    with store.heads.open("ab") as file:
        file.write(b'{"alg":"sha2')
    assert result(store).finding is None
    store.open().close()
    assert result(store).finding is None
    assert [parse_head(line).seq for line in store.heads.read_bytes().splitlines()] == [
        0,
        1,
        6,
        6,
        7,
    ]
    assert store.heads.read_bytes().endswith(b"\n")


def test_a_chain_whose_making_was_cut_short_is_made(store):
    store.folder.mkdir(mode=0o700)
    store.path.touch(0o600)
    store.open().close()
    assert result(store).finding is None


TAMPER = {
    "cut": "DELETE FROM records WHERE seq > 8",
    "emptied": "DELETE FROM records",
    "changed end": "UPDATE records SET record = CAST(replace(record, 'deid', 'died') AS BLOB) WHERE seq = 11",
    "other chain": "UPDATE chain SET id = 'w0-00000000'",
    "no chain": "DELETE FROM chain",
}


@pytest.mark.parametrize("statement", TAMPER.values(), ids=TAMPER)
def test_a_store_that_is_not_what_was_signed_is_refused(store, statement):
    store.fill(groups=2)
    store.sql(statement)
    with pytest.raises(StateInvalid, match="changed from outside"):
        store.open()


@pytest.mark.parametrize("name", ["w0.db", "w0.end"])
def test_a_file_taken_away_is_refused(store, name):
    store.fill(groups=2)
    (store.folder / name).unlink()
    with pytest.raises(StateInvalid, match="changed from outside"):
        store.open()


def test_records_after_the_last_head_are_checked_before_they_are_signed(store, make):
    sink = store.open()
    sink.append(make.group(0, 4))
    sink._files.close()
    store.sql(
        "UPDATE records SET record = CAST(replace(record, 'TREAT', 'OTHER') AS BLOB) WHERE seq = 4"
    )
    with pytest.raises(StateInvalid, match="record 4 does not follow"):
        store.open()


def test_a_second_writer_is_refused(store, sink):
    program = (
        "import pathlib, sys; from wardgate.audit.keys import open_signing_key;"
        "from wardgate.audit.sink import SqliteSink; from wardgate.errors import StateInvalid\n"
        "try: SqliteSink(pathlib.Path(sys.argv[1]), 'w0', version='t',"
        " key=open_signing_key(pathlib.Path(sys.argv[2])))\n"
        "except StateInvalid as error: print(error.detail)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(store.folder), str(store.state)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Another process writes" in done.stdout


@pytest.mark.parametrize("name", ["", "../w0", "w 0", "w" * 17, "w0\n"])
def test_a_name_that_is_no_plain_file_name_is_refused(store, name):
    with pytest.raises(StateInvalid, match="named by letters"):
        store.open(name)


def test_a_full_disk_fails_closed_and_the_chain_goes_on_when_there_is_room(
    store, make, sink, file_limit
):
    sink.append(make.group(0, 4))
    sink.seal()
    file_limit(store.path.with_name("w0.db-wal").stat().st_size + 1_000)
    for _ in range(3):
        with pytest.raises(AuditUnavailable):
            sink.append(make.group(4, 200))
    assert sink.seq == 5
    file_limit()
    sink.probe()
    sink.append(make.group(4, 200))
    sink.seal()
    assert sink.seq == 205
    assert result(store).finding is None
    assert result(store).records == 205


def test_a_full_file_system_fails_closed_and_comes_back(store, make):
    """A real one of 1 MiB, where the system lets us mount it."""
    store.folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(store.folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("mounting needs root")
    try:
        sink = store.open()
        filler = store.folder / "filler"
        room = os.statvfs(store.folder)
        filler.write_bytes(bytes(room.f_bavail * room.f_bsize - 40_000))
        number = 0
        with pytest.raises(AuditUnavailable, match="full"):  # noqa: PT012 -- which one is unknown
            while number < 1_000:
                number += 1
                sink.append(make.group(number * 10, 10))
                sink.seal()
        durable = sink.seq
        with pytest.raises(AuditUnavailable, match="full"):
            sink.append(make.group(0, 100))
        with pytest.raises(AuditUnavailable, match="full"):
            sink.probe()
        assert sink.seq == durable
        filler.unlink()
        sink.append(make.group(0, 100))
        sink.close()
        assert result(store).finding is None
        assert result(store).records == durable + 100
    finally:
        subprocess.run(["umount", str(store.folder)], check=True)


def test_a_head_that_finds_no_room_is_due_before_the_next_commit(store, make, sink, file_limit):
    sink.append(make.group(0, 2))
    file_limit(store.heads.stat().st_size + 10)
    with pytest.raises(AuditUnavailable, match="full"):
        sink.seal()
    with pytest.raises(AuditUnavailable):
        sink.append(make.group(2, 2))
    file_limit()
    sink.append(make.group(2, 2))
    sink.seal()
    assert sink.seq == 5
    assert result(store).finding is None


def test_a_folder_that_is_gone_fails_closed_until_it_is_back(store, make, sink, tmp_path):
    store.folder.rename(tmp_path / "elsewhere")
    for call in (lambda: sink.append(make.group(0, 2)), sink.probe):
        with pytest.raises(AuditUnavailable, match="gone"):
            call()
    (tmp_path / "elsewhere").rename(store.folder)
    sink.append(make.group(0, 2))
    sink.seal()
    assert result(store).finding is None
    assert result(store).records == 3


def test_files_that_were_deleted_are_not_written_to(store, make, sink):
    shutil.rmtree(store.folder)
    with pytest.raises(AuditUnavailable, match="gone"):
        sink.append(make.group(0, 2))
    store.folder.mkdir()
    with pytest.raises(AuditUnavailable, match="gone"):
        sink.append(make.group(0, 2))
    assert not store.path.exists()


def test_an_older_copy_put_in_its_place_is_noticed_while_it_runs(store, make, sink, tmp_path):
    sink.append(make.group(0, 2))
    sink.seal()
    with sqlite3.connect(tmp_path / "older.db") as older:
        sink._connection.backup(older)
    older.close()
    saved = store.heads.read_bytes(), store.end.read_bytes()
    sink.append(make.group(2, 2))
    sink.seal()
    for path, content in zip((store.heads, store.end), saved, strict=True):
        path.unlink()
        path.write_bytes(content)
    for suffix in ("", "-wal", "-shm"):
        (store.folder / f"w0.db{suffix}").unlink()
    shutil.copy(tmp_path / "older.db", store.path)
    with pytest.raises(AuditUnavailable, match="changed from outside"):
        sink.append(make.group(4, 2))


def test_a_read_only_store_fails_closed_until_it_can_be_written(store, make, sink):
    sink._connection.execute("PRAGMA query_only=ON")
    with pytest.raises(AuditUnavailable, match="read-only"):
        sink.append(make.group(0, 2))
    sink.append(make.group(0, 2))  # it opens its files anew, now for writing
    assert sink.seq == 3


def test_a_folder_that_is_none_is_refused_at_the_start(store):
    store.folder.write_bytes(b"")
    with pytest.raises(StateInvalid, match="cannot be opened"):
        store.open()


def test_a_file_that_is_no_store_is_refused_at_the_start(store):
    store.folder.mkdir()
    store.path.write_bytes(b"no database" * 100)
    with pytest.raises(StateInvalid, match="cannot be opened"):
        store.open()
    store.path.unlink()
    store.open().close()  # nothing is left locked


def test_a_long_log_is_moved_into_the_store(store, make, sink, monkeypatch):
    monkeypatch.setattr("wardgate.audit.sink._CHECKPOINT_PAGES", 20)
    for number in range(60):
        sink.append(make.group(number * 50, 50))
        sink.seal()
    assert store.path.with_name("w0.db-wal").stat().st_size < 1_000_000
    assert store.path.stat().st_size > 1_000_000
    assert result(store).finding is None


def test_a_new_key_continues_a_chain_whose_old_key_is_known(store, make):
    store.fill(groups=1)
    (store.state / "audit-signing.key").unlink()
    from wardgate.audit.keys import open_signing_key

    key = open_signing_key(store.state)
    with pytest.raises(StateInvalid, match="known key"):
        SqliteSink(store.folder, "w0", key=key, version="t")
    known = load_public_keys(store.state)
    SqliteSink(store.folder, "w0", key=key, version="t", public_keys=known).close()
    assert result(store).finding is None


def test_values_are_bound_and_never_run(store, make, sink):
    who = make.principal("'); DROP TABLE records; --", "'\"")
    sink.append([denial_entry(Refusal("/r", 403, "x", None, None), who, make.now)])
    assert store.sql("SELECT tenant FROM records WHERE seq = 2") == [("'\"",)]
