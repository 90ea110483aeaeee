from __future__ import annotations

from wardgate.audit import findings
from wardgate.audit.findings import ChainResult, Intents


def row(seq, kind, request_id="", tenant="t"):
    return (seq, tenant, kind, request_id, seq * 10, b"", b"")


def seen(*rows):
    result = ChainResult()
    intents = Intents(result)
    for one in rows:
        intents.see(one)
    intents.close()
    return result


def test_an_outcome_closes_its_intent():
    result = seen(row(1, "intent", "a"), row(2, "intent", "b"), row(3, "outcome", "a"))
    assert (result.in_flight, result.interrupted) == (1, 0)
    (left,) = result.without_outcome
    assert (left.seq, left.request_id, left.time) == (2, "b", 20)


def test_a_new_start_ends_what_was_under_way():
    result = seen(row(1, "intent", "a"), row(2, "start"), row(3, "intent", "b"))
    assert (result.in_flight, result.interrupted) == (1, 1)
    assert [left.seq for left in result.without_outcome] == [1, 3]


def test_a_request_id_may_come_twice():
    twice = [row(1, "intent", "a"), row(2, "intent", "a")]
    assert seen(*twice, row(3, "outcome", "a"), row(4, "outcome", "a")).in_flight == 0
    assert [left.seq for left in seen(*twice, row(3, "outcome", "a")).without_outcome] == [2]


def test_another_tenants_outcome_closes_nothing():
    assert seen(row(1, "intent", "a", "t"), row(2, "outcome", "a", "u")).in_flight == 1


def test_memory_is_bounded_and_all_are_counted(monkeypatch):
    monkeypatch.setattr(findings, "MAX_OPEN", 50)
    result = seen(*(row(n, "intent", str(n)) for n in range(1, 301)))
    assert result.in_flight + result.interrupted == 300
    assert result.in_flight == 50
    assert len(result.without_outcome) == findings.MAX_LISTED
