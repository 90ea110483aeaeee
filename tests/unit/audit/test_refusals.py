from __future__ import annotations

import random
import tracemalloc

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.audit.refusals import MAX_DENIALS, MAX_ROWS, MAX_TENANTS, Refusals, network
from wardgate.types import Refusal


def refusal(principal=None, peer=None, route="/v1/predict", status=401, reason="token-missing"):
    return Refusal(route, status, reason, principal, peer)


@pytest.mark.parametrize(
    ("peer", "shown"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_address_is_known_by_its_network(peer, shown):
    assert network(peer) == shown


@given(st.ip_addresses())
def test_no_address_is_recorded_whole(address):
    shown = network(str(address))
    assert shown.endswith(("/24", "/64"))


def test_refusals_are_counted_by_source_and_reason(make):
    refusals = Refusals()
    assert not refusals
    for last in (1, 2, 3):
        assert refusals.add(refusal(peer=f"192.0.2.{last}"), make.now) is None
    refusals.add(refusal(peer="198.51.100.1", reason="token-invalid"), make.now + 5)
    assert refusals
    (entry,) = refusals.flush(make.now + 10)
    event = orjson.loads(entry.event)
    assert entry[:4] == ("-", "refusals", "", make.now + 10)
    assert event["since"] == make.now
    assert event["others"] == 0
    assert event["counts"] == [
        {
            "count": 3,
            "network": "192.0.2.0/24",
            "reason": "token-missing",
            "route": "/v1/predict",
            "status": 401,
        },
        {
            "count": 1,
            "network": "198.51.100.0/24",
            "reason": "token-invalid",
            "route": "/v1/predict",
            "status": 401,
        },
    ]
    assert not refusals
    assert refusals.flush(make.now) == []


def test_a_principal_is_counted_by_name_in_its_tenant(make):
    refusals = Refusals()
    for _ in range(2):
        refusals.add(refusal(make.principal("s", "south"), "192.0.2.1", status=403), make.now)
    refusals.add(refusal(), make.now)
    south, nobody = refusals.flush(make.now)
    assert (south.tenant, nobody.tenant) == ("south", "-")
    (row,) = orjson.loads(south.event)["counts"]
    assert row["sub"] == "s"
    assert row["count"] == 2
    assert "network" not in row


def test_the_first_denial_in_a_minute_has_its_own_record(make):
    refusals, minute = Refusals(), 60_000_000
    start = make.now - make.now % minute
    denied = refusal(make.principal(), status=403, reason="scope")
    first = refusals.add(denied, start)
    assert first is not None
    assert first.kind == "denial"
    assert orjson.loads(first.event)["sub"] == "subject-1"
    assert refusals.add(denied, start + minute - 1) is None
    assert refusals.add(refusal(make.principal(), route="/v2"), start) is not None
    assert refusals.add(refusal(make.principal("other")), start) is not None
    assert refusals.add(denied, start + minute) is not None


def test_an_anonymous_flood_is_bounded_in_records_and_memory(make):
    rng, refusals = random.Random(7), Refusals()

    def flood(calls):
        for _ in range(calls):
            peer = ".".join(str(rng.randrange(256)) for _ in range(4))
            assert refusals.add(refusal(peer=peer), make.now) is None

    flood(90_000)
    tracemalloc.start()
    try:
        flood(10_000)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    written = refusals.flush(make.now + 10_000_000)
    (entry,) = written
    event = orjson.loads(entry.event)
    assert len(event["counts"]) == MAX_ROWS
    assert sum(row["count"] for row in event["counts"]) + event["others"] == 100_000
    assert grown < 100_000
    assert len(entry.event) < 64_000


def test_a_flood_of_principals_is_bounded_and_counts_all(make):
    refusals, denials = Refusals(), 0
    start = make.now - make.now % 60_000_000
    for n in range(5_000):
        who = make.principal(f"s{n}" + "x" * 5_000, f"t{n % 100}")
        denials += refusals.add(refusal(who, reason="r" * 999), start) is not None
    entries = refusals.flush(start)
    events = [orjson.loads(entry.event) for entry in entries]
    assert denials == MAX_DENIALS
    assert len(entries) <= MAX_TENANTS + 1
    counted = sum(row["count"] for event in events for row in event["counts"])
    assert counted + sum(event["others"] for event in events) == 5_000
    assert max(len(entry.event) for entry in entries) < 256 * 2_000


def test_an_anonymous_flood_does_not_hide_a_principal(make):
    refusals = Refusals()
    for n in range(20_000):
        refusals.add(refusal(peer=f"10.{n >> 8 & 255}.{n & 255}.1"), make.now)
    refusals.add(refusal(make.principal("quiet")), make.now)
    entry = next(entry for entry in refusals.flush(make.now) if entry.tenant == "north")
    assert orjson.loads(entry.event)["counts"][0]["sub"] == "quiet"


@given(st.lists(st.text(max_size=300), min_size=4, max_size=4))
def test_any_text_is_recorded_without_fault(make, texts):
    refusals = Refusals()
    odd = [text + "\ud800" for text in texts]
    refusals.add(refusal(make.principal(odd[0], odd[1]), odd[2], odd[3], reason=odd[0]), make.now)
    refusals.add(refusal(None, odd[2], odd[3], reason=odd[0]), make.now)
    events = [orjson.loads(entry.event) for entry in refusals.flush(make.now)]
    assert sum(row["count"] for event in events for row in event["counts"]) == 2
