"""Every way to tamper with real files, and a kill in mid-load."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from contextlib import closing
from hashlib import sha256

import orjson
import pytest

from wardgate.audit.keys import load_public_keys, open_signing_key
from wardgate.audit.sink import SqliteSink
from wardgate.audit.verify import verify


def report(store):
    return verify(store.folder, load_public_keys(store.state))


def found(store):
    (chain,) = report(store).chains
    finding = chain.result.finding
    return None if finding is None else (finding.what.value, finding.seq)


def test_a_chain_as_written_verifies(store):
    store.fill()
    whole = report(store)
    assert whole.ok
    assert whole.records == 31
    (chain,) = whole.chains
    assert chain.name == "w0"
    assert (chain.result.heads, chain.result.ahead) == (8, 0)


def test_no_chain_is_not_a_good_one(store):
    store.folder.mkdir()
    assert not report(store).ok


@pytest.mark.parametrize("seq", [1, 2, 6, 7, 20, 30, 31])
def test_a_changed_byte_names_its_record(store, seq):
    store.fill()
    store.sql(
        f'UPDATE records SET record = CAST(replace(record, \'"tenant":"\', \'"tenant":"x\') AS BLOB) WHERE seq = {seq}'
    )
    assert found(store) == ("changed", seq)


@pytest.mark.parametrize("seq", [1, 2, 6, 20, 29])
def test_a_changed_record_with_its_hash_mended_names_it(store, seq):
    store.fill()
    changed = store.record(seq).replace(b'"kind":"', b'"hind":"x","kind":"')
    digest = sha256(changed).hexdigest()
    store.sql(
        f"UPDATE records SET record = x'{changed.hex()}', hash = x'{digest}' WHERE seq = {seq}"
    )
    assert found(store) == ("changed", seq)


def test_a_changed_column_names_its_record(store):
    store.fill()
    store.sql("UPDATE records SET tenant = 'south' WHERE seq = 9")
    assert found(store) == ("changed", 9)


@pytest.mark.parametrize("seq", [1, 2, 6, 20, 30])
def test_a_removed_record_is_named(store, seq):
    store.fill()
    store.sql(f"DELETE FROM records WHERE seq = {seq}")
    assert found(store) == ("removed", seq)


@pytest.mark.parametrize("seq", [1, 2, 6, 20, 30])
def test_a_removed_and_closed_up_record_is_named(store, seq):
    store.fill()
    store.sql(
        f"DELETE FROM records WHERE seq = {seq}",
        f"UPDATE records SET seq = -seq WHERE seq > {seq}",
        "UPDATE records SET seq = -seq - 1 WHERE seq < 0",
    )
    assert found(store) == ("removed", seq)


@pytest.mark.parametrize(("first", "second"), [(1, 2), (5, 6), (6, 7), (4, 19), (30, 31)])
def test_swapped_records_name_the_first(store, first, second):
    store.fill()
    store.sql(
        f"UPDATE records SET seq = -1 WHERE seq = {first}",
        f"UPDATE records SET seq = {first} WHERE seq = {second}",
        f"UPDATE records SET seq = {second} WHERE seq = -1",
    )
    assert found(store) == ("reordered", first)


@pytest.mark.parametrize("last", [0, 1, 11, 13, 30])
def test_an_end_cut_off_names_the_first_record_missing(store, last):
    store.fill()
    store.sql(f"DELETE FROM records WHERE seq > {last}")
    assert found(store) == ("cut-off", last + 1)


@pytest.mark.parametrize("groups", [0, 1, 4])
def test_an_end_cut_off_together_with_its_heads_is_found(store, groups):
    """Whoever cuts store and heads at the same group is given away by the end mark."""
    store.fill()
    last = 1 + 5 * groups
    store.sql(f"DELETE FROM records WHERE seq > {last}")
    lines = store.heads.read_bytes().splitlines(keepends=True)
    store.heads.write_bytes(b"".join(lines[: 2 + groups]))
    assert found(store) == ("cut-off", last + 1)
    older = {"head": orjson.loads(lines[1 + groups])}
    secret = orjson.loads(store.end.read_bytes())["secret"]
    store.end.write_bytes(orjson.dumps(older | {"secret": secret}))
    assert found(store) == ("head-invalid", last + 1)
    store.end.unlink()
    assert found(store) == ("head-missing", last + 1)


def forge(store, first, thief):
    """Rewrite the real chain from record `first` on, all links and hashes agreeing."""
    rows = store.sql("SELECT seq, record FROM records ORDER BY seq")
    prev = b"" if first == 1 else sha256(rows[first - 2][1]).digest()
    with closing(sqlite3.connect(store.path)) as db, db:
        for seq, stored in rows[first - 1 :]:
            value = orjson.loads(stored)
            if seq > 1:
                value["prev"] = prev.hex()
            value["event"]["forged"] = True
            record = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
            prev = sha256(record).digest()
            db.execute("UPDATE records SET record = ?, hash = ? WHERE seq = ?", (record, prev, seq))
    if thief:
        from wardgate.audit.chain import GENESIS, parse_head, sign_head

        heads = [parse_head(line) for line in store.heads.read_bytes().splitlines()]
        with store.heads.open("wb") as file:
            for head in heads:
                digest = GENESIS if head.seq == 0 else sha256(store.record(head.seq)).digest()
                secret = os.urandom(32)
                mark = sign_head(
                    thief.private,
                    thief.key_id,
                    chain=head.chain,
                    seq=head.seq,
                    digest=digest,
                    time=head.time,
                    secret=secret,
                )
                file.write(mark.head.line())
        store.end.write_bytes(mark.line())


@pytest.mark.parametrize(("first", "named"), [(1, 1), (2, 2), (9, 7), (28, 27)])
def test_a_chain_rewritten_from_a_record_on_names_its_group(store, first, named):
    store.fill()
    forge(store, first, None)
    assert found(store) == ("rewritten", named)


def test_a_chain_rewritten_and_signed_with_another_key_is_found(store, tmp_path):
    store.fill()
    forge(store, 1, open_signing_key(tmp_path / "thief"))
    assert found(store) == ("rewritten", 1)


def test_a_long_chain_rewritten_and_signed_with_another_key_is_found(store, tmp_path):
    store.fill(groups=30, size=10)
    forge(store, 1, open_signing_key(tmp_path / "thief"))
    assert found(store) == ("rewritten", 1)


def test_a_store_deleted_whole_is_noticed(store):
    store.fill()
    store.fill(name="w1")
    store.path.unlink()
    chains = {chain.name: chain for chain in report(store).chains}
    assert chains["w1"].ok
    assert not chains["w0"].ok
    assert chains["w0"].result.finding.what == "cut-off"
    assert not report(store).ok


def test_heads_deleted_whole_are_noticed(store):
    store.fill()
    store.heads.unlink()
    assert found(store) == ("head-missing", 1)
    store.end.unlink()
    assert found(store) == ("head-missing", 1)


def test_a_damaged_store_is_a_finding(store):
    store.fill()
    store.path.write_bytes(b"no database" * 1000)
    assert found(store) == ("changed", 1)


def test_a_store_damaged_in_the_middle_names_where(store):
    store.fill(groups=40, size=50)
    page = store.path.stat().st_size // 8_192 * 4_096
    with store.path.open("r+b") as file:
        file.seek(page)
        file.write(b"\xff" * 4_096)
    what, seq = found(store)
    assert what == "changed"
    assert 1 < seq <= 2_001


def test_a_table_made_anew_without_types_is_a_finding(store):
    store.fill()
    store.sql(
        "CREATE TABLE loose AS SELECT * FROM records",
        "DROP TABLE records",
        "ALTER TABLE loose RENAME TO records",
        "UPDATE records SET record = 'text' WHERE seq = 4",
    )
    assert found(store) == ("changed", 4)
    store.sql("UPDATE records SET seq = 'x' WHERE seq = 1")
    assert found(store)[1] in {1, 2}
    store.sql("DROP TABLE records")
    assert found(store) == ("changed", 1)


def test_verifying_needs_the_public_key_alone(store):
    store.fill()
    keys = load_public_keys(store.state)
    shutil.rmtree(store.state)
    assert verify(store.folder, keys).ok
    assert not verify(store.folder, {}).ok


def test_a_copy_in_an_archive_verifies(store, tmp_path):
    store.fill()
    archive = tmp_path / "archive"
    shutil.copytree(store.folder, archive)
    archive.chmod(0o500)
    try:
        assert verify(archive, load_public_keys(store.state)).ok
    finally:
        archive.chmod(0o700)


def test_verifying_streams(store):
    store.fill(groups=40, size=200)
    tracemalloc.start()
    try:
        assert report(store).records == 8_001
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_no_false_alarm_while_a_gateway_writes(store, make):
    sink, stop = store.open(), threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            sink.append(make.group(number * 6, 6))
            sink.seal()
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [report(store) for _ in range(25)]
    finally:
        stop.set()
        writer.join()
        sink.close()
    assert [one.chains[0].result.finding for one in seen] == [None] * 25
    assert seen[-1].records > seen[0].records


LOAD = """
import asyncio, os, pathlib, sys
from wardgate.audit.keys import open_signing_key
from wardgate.audit.record import Recorder
from wardgate.audit.sink import SqliteSink
from wardgate.types import Intent, Outcome, Principal

WHO = Principal("i", "s", "c", "t", frozenset(), "j", 2e9)

def intent(name):
    return Intent(name, "0" * 32, WHO, "/v1/predict", None, "p", "h", None, None, "d")

async def caller(recorder, number):
    for turn in range(10**9):
        name = f"{number}-{turn}"
        ticket = recorder.intent(intent(name))
        await recorder.outcome(Outcome(name, "t", 200, "ok"), ticket)
        os.write(1, f'"{name}"\\n'.encode())

async def main():
    folder, state = map(pathlib.Path, sys.argv[1:])
    recorder = Recorder(SqliteSink(folder, "w0", key=open_signing_key(state), version="t"))
    recorder.start()
    for number in range(3):
        await recorder.intent(intent(f"hangs-{number}"))
    await asyncio.gather(*(caller(recorder, number) for number in range(16)))

asyncio.run(main())
"""


@pytest.mark.parametrize("answers", [1, 400])
def test_a_kill_in_mid_load_leaves_a_chain_that_verifies(store, answers):
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD, str(store.folder), str(store.state)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout as lines:
        answered = [json.loads(lines.readline()) for _ in range(answers)]
        process.send_signal(signal.SIGKILL)
        answered += [json.loads(line) for line in lines if line.endswith(b"\n")]
    process.wait(30)
    (chain,) = report(store).chains
    assert chain.result.finding is None
    durable = {row[0] for row in store.sql("SELECT request_id FROM records WHERE kind='outcome'")}
    assert set(answered) <= durable
    left = {intent.request_id for intent in chain.result.without_outcome}
    assert {"hangs-0", "hangs-1", "hangs-2"} <= left
    assert chain.result.in_flight == len(left) <= 3 + 16
    assert not left & durable

    SqliteSink(store.folder, "w0", key=store.key, version="t").close()
    (chain,) = report(store).chains
    assert chain.result.finding is None
    assert (chain.result.ahead, chain.result.in_flight) == (0, 0)
    assert chain.result.interrupted == len(left)
