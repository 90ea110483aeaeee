from __future__ import annotations

import pytest

from wardgate.audit.event import refusals_entry
from wardgate.audit.read import search, tail


@pytest.fixture
def folder(store, make):
    """Two chains whose records interleave in time, and one record of another tenant."""
    for name, offset in (("w0", 0), ("w1", 1)):
        sink = store.open(name)
        for n in range(6):
            sink.append([make.group(0, 1)[0]._replace(time=make.now + 2 * n + offset)])
        if name == "w1":
            counts = [{"sub": "subject-2", "count": 3}]
            sink.append([refusals_entry("south", counts, 0, make.now, make.now + 50)])
        sink.close()
    return store.folder


def names(records):
    return [(record["chain"][:2], record["seq"]) for record in records]


def test_tail_is_the_newest_of_all_chains(folder):
    assert names(tail(folder, 3)) == [("w0", 7), ("w1", 7), ("w1", 8)]
    assert len(list(tail(folder, 100))) == 15
    assert list(tail(folder, 0)) == []


def test_search_merges_chains_by_time(folder, make):
    found = names(search(folder, kind="intent", since=make.now + 2, until=make.now + 5))
    assert found == [("w0", 3), ("w1", 3), ("w0", 4)]


def test_search_by_every_filter(folder):
    assert len(list(search(folder))) == 15
    assert len(list(search(folder, tenant="north"))) == 12
    assert len(list(search(folder, request_id="r-0"))) == 12
    assert len(list(search(folder, subject="subject-1"))) == 12
    assert list(search(folder, tenant="north", subject="subject-2")) == []
    (refused,) = search(folder, subject="subject-2")
    assert refused["event"]["tenant"] == "south"
    assert list(search(folder, tenant="' OR 1 --")) == []


def test_search_of_an_empty_folder_is_empty(tmp_path):
    assert list(search(tmp_path)) == []
    assert list(tail(tmp_path, 5)) == []
