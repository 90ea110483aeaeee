"""The control store: generations, documents, followers, and several processes at once."""

from __future__ import annotations

import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from wardgate.control.store import LIVE_SECONDS, ControlStore, Follower, Superseded, live
from wardgate.errors import ControlUnavailable, StateInvalid


@pytest.fixture
def store(tmp_path):
    found = ControlStore(tmp_path)
    yield found
    found.close()


def test_each_write_is_a_generation_and_is_seen_by_others(store, tmp_path):
    assert store.generation() == 0
    assert store.put("model", "a", {"n": 1}, expected=0) == 1
    assert store.put("model", "b", {"n": 2}, expected=0) == 2
    assert store.put("model", "a", {"n": 3}, expected=1) == 3
    other = ControlStore(tmp_path)
    generation, found = other.documents("model")
    assert generation == other.generation() == 3
    assert {name: (d.generation, d.body) for name, d in found.items()} == {
        "a": (3, {"n": 3}),
        "b": (2, {"n": 2}),
    }
    assert other.documents("policy") == (3, {})
    other.close()


def test_a_write_over_what_was_not_read_is_refused(store):
    store.put("model", "a", {"n": 1}, expected=0)
    for expected in (0, 2):
        with pytest.raises(Superseded):
            store.put("model", "a", {"n": 2}, expected=expected)
    assert store.documents("model")[1]["a"].body == {"n": 1}
    assert store.generation() == 1


def test_of_many_writers_at_once_one_wins_each_time(tmp_path):
    stores = [ControlStore(tmp_path) for _ in range(4)]

    def write(store: ControlStore) -> int:
        done = 0
        while done < 10:
            found = store.documents("model")[1].get("a")
            body = {"n": found.body["n"] + 1 if found else 1}
            try:
                store.put("model", "a", body, expected=found.generation if found else 0)
            except Superseded:
                continue
            done += 1
        return done

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, stores)) == [10] * 4
    assert stores[0].documents("model")[1]["a"].body == {"n": 40}
    assert stores[0].generation() == 40
    for store in stores:
        store.close()


def test_followers_report_leave_and_die(store):
    row = Follower("worker-0", 7, 100.0, 3, 2, {"refusals": {}})
    store.report(row)
    store.report(Follower("worker-1", 8, 100.0 - LIVE_SECONDS - 1, 3, 3))
    assert store.followers()[0] == row
    assert [each.process for each in live(store.followers(), 100.0)] == ["worker-0"]
    store.report(Follower("worker-0", 7, 101.0, 4, 4))
    assert [each.generation for each in store.followers()] == [4, 3]
    store.leave("worker-0")
    assert [each.process for each in store.followers()] == ["worker-1"]
    assert store.generation() == 0, "a report changes nothing that others follow"


def test_nobody_else_can_read_it_and_every_row_has_its_tenant(store, tmp_path):
    store.put("model", "a", {}, expected=0)
    store.report(Follower("worker-0", 7, 100.0, 3, 2))
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    found = sqlite3.connect(tmp_path / "control.db")
    tables = [row[0] for row in found.execute("SELECT name FROM sqlite_master WHERE type='table'")]
    assert tables
    for table in tables:
        assert found.execute(f"SELECT DISTINCT tenant FROM {table}").fetchall() == [("-",)]
    found.close()


@pytest.mark.parametrize("content", [b"this is no database" * 100, None])
def test_a_store_that_cannot_be_opened_stops_the_start(tmp_path, content):
    if content is None:
        (tmp_path / "control.db").symlink_to("/dev/null")
    else:
        (tmp_path / "control.db").write_bytes(content)
    with pytest.raises(StateInvalid):
        ControlStore(tmp_path)


def test_a_store_that_breaks_is_told_and_stands_as_before(store, tmp_path):
    store.put("model", "a", {"n": 1}, expected=0)
    other = sqlite3.connect(tmp_path / "control.db", isolation_level=None)
    other.execute("DROP TABLE documents")
    with pytest.raises(ControlUnavailable):
        store.documents("model")
    with pytest.raises(ControlUnavailable):
        store.put("model", "a", {"n": 1}, expected=1)
    assert store.generation() == 1
    other.close()
