"""`wardgate audit`: the record read back, and broken chains named."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from wardgate.audit.event import intent_entry, outcome_entry
from wardgate.audit.keys import open_signing_key
from wardgate.audit.sink import SqliteSink
from wardgate.types import Intent, Outcome, Principal

NOW = 1_760_000_000_000_000
"""2025-10-09T08:53:20Z in microseconds."""


def fill(state: Path, chain: str, tenant: str, *, ended: int = 4) -> None:
    """Write a start and four requests, of which the last may have no outcome."""
    sink = SqliteSink(
        state / "audit", chain, key=open_signing_key(state), version="test", clock=lambda: NOW
    )
    caller = Principal("iss", f"user-{tenant}", "client", tenant, frozenset(), "jti", 2e9)
    for number in range(4):
        request_id = f"{chain}-{number}"
        at = NOW + number * 60_000_000
        entries = [
            intent_entry(
                Intent(
                    request_id=request_id,
                    trace_id="0" * 32,
                    principal=caller,
                    route="/v1/predict",
                    purpose="TREAT",
                    policy="safe_harbor",
                    policy_hash="a" * 64,
                    model=None,
                    patient_pseudonym=None,
                    body_digest="b" * 64,
                ),
                at,
            )
        ]
        if number < ended:
            entries.append(outcome_entry(Outcome(request_id, tenant, 200, "ok"), at + 1))
        sink.append(entries)
        sink.seal()
    sink.close()


@pytest.fixture
def state(tmp_path) -> Path:
    fill(tmp_path, "worker-0", "north")
    fill(tmp_path, "worker-1", "south")
    return tmp_path


def change(state: Path, statement: str) -> None:
    with closing(sqlite3.connect(state / "audit" / "worker-1.db")) as store, store:
        store.execute(statement)


def test_a_whole_record_is_verified(wardgate, state) -> None:
    done = wardgate("audit", "verify", "--state", state)
    assert done.code == 0, done.out
    assert "worker-0: 9 records" in done.out
    assert "18 records in 2 chains: verified" in done.out


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        (
            "UPDATE records SET record = CAST(replace(record, 'TREAT', 'HMARKT') AS BLOB) WHERE seq = 4",
            4,
        ),
        ("DELETE FROM records WHERE seq = 6", 6),
        ("DELETE FROM records WHERE seq = (SELECT max(seq) FROM records)", 9),
    ],
    ids=["changed", "removed", "cut off"],
)
def test_a_broken_chain_is_named_with_its_record(wardgate, state, statement, seq) -> None:
    change(state, statement)
    done = wardgate("audit", "verify", "--state", state)
    assert done.code == 1
    assert f"BROKEN at record {seq}" in done.out
    assert "NOT VERIFIED" in done.out
    as_json = wardgate("audit", "verify", "--state", state, "--json")
    assert as_json.code == 1
    whole, broken = json.loads(as_json.out)
    assert (whole["chain"], whole["ok"], whole["finding"]) == ("worker-0", True, None)
    assert (broken["chain"], broken["ok"], broken["finding"]["seq"]) == ("worker-1", False, seq)


def test_intents_without_an_outcome_are_listed(wardgate, tmp_path) -> None:
    fill(tmp_path, "worker-0", "north", ended=3)
    fill(tmp_path, "worker-0", "north")
    done = wardgate("audit", "verify", "--state", tmp_path)
    assert done.code == 0
    assert "1 intents without an outcome" in done.out
    assert "request worker-0-3" in done.out
    (chain,) = json.loads(wardgate("audit", "verify", "--state", tmp_path, "--json").out)
    assert chain["without_outcome"] == ["worker-0-3"]
    assert chain["interrupted"] == 1


def test_without_the_keys_nothing_is_verified(wardgate, state, tmp_path) -> None:
    done = wardgate("audit", "verify", "--state", tmp_path / "other", "--folder", state / "audit")
    assert done.code == 1
    assert "NOT VERIFIED" in done.out


def test_no_record_at_all_is_not_verified(wardgate, tmp_path) -> None:
    absent = wardgate("audit", "verify", "--state", tmp_path)
    assert absent.code == 2
    assert "no audit record" in absent.err
    (tmp_path / "audit").mkdir()
    assert wardgate("audit", "verify", "--state", tmp_path).code == 1


def records(done) -> list[dict]:
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_the_tail_is_the_newest_of_all_chains(wardgate, state) -> None:
    found = records(wardgate("audit", "tail", "--state", state, "-n", "4"))
    assert [record["event"]["time"] for record in found] == sorted(
        record["event"]["time"] for record in found
    )
    assert {record["chain"][:8] for record in found} == {"worker-0", "worker-1"}
    assert {record["event"]["request_id"] for record in found} == {"worker-0-3", "worker-1-3"}
    assert len(records(wardgate("audit", "tail", "--state", state))) == 10
    assert len(records(wardgate("audit", "tail", "--state", state, "-n", "100"))) == 18
    assert wardgate("audit", "tail", "--state", state, "-n", "0").code == 2


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ([], 18),
        (["--tenant", "north"], 8),
        (["--subject", "user-south"], 4),
        (["--request-id", "worker-0-2"], 2),
        (["--kind", "outcome"], 8),
        (["--kind", "outcome", "--tenant", "south"], 4),
        (["--tenant", "absent"], 0),
    ],
)
def test_a_search_finds_what_matches(wardgate, state, arguments, count) -> None:
    assert len(records(wardgate("audit", "search", "--state", state, *arguments))) == count


def test_a_search_takes_times_as_utc(wardgate, state) -> None:
    begin = dt.datetime.fromtimestamp(NOW / 1e6, dt.UTC).replace(tzinfo=None)
    later = (begin + dt.timedelta(seconds=60)).isoformat()
    after = records(wardgate("audit", "search", "--state", state, "--since", later))
    before = records(wardgate("audit", "search", "--state", state, "--until", later))
    assert {record["event"]["request_id"][-1] for record in after} == {"1", "2", "3"}
    assert len(before) == 18 - len(after)
    assert wardgate("audit", "search", "--state", state, "--since", "yesterday").code == 2


@pytest.mark.parametrize("command", ["tail", "search"])
def test_a_store_that_cannot_be_read_is_told_in_one_line(wardgate, state, command) -> None:
    (state / "audit" / "worker-1.db").write_bytes(b"no database " * 1000)
    done = wardgate("audit", command, "--state", state)
    assert done.code == 2
    assert "audit verify" in done.err
    assert wardgate("audit", "verify", "--state", state).code == 1


def test_the_folder_may_lie_elsewhere(wardgate, state, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WARDGATE_AUDIT__FOLDER", str(state / "audit"))
    assert len(records(wardgate("audit", "tail", "--state", tmp_path / "other"))) == 10


def test_the_record_of_a_running_gateway_verifies(wardgate, gateway) -> None:
    before = len(records(wardgate("audit", "search", "--state", gateway.state)))
    assert wardgate("predict", "fine", "--state", gateway.state).code == 0
    found = records(wardgate("audit", "search", "--state", gateway.state))
    assert len(found) >= before + 2
    done = wardgate("audit", "verify", "--state", gateway.state)
    assert done.code == 0, done.out
