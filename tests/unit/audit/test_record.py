from __future__ import annotations

import asyncio
import contextlib
import threading

import orjson
import pytest
from prometheus_client import REGISTRY

from wardgate.audit import record
from wardgate.audit.keys import load_public_keys
from wardgate.audit.record import Recorder
from wardgate.audit.verify import verify
from wardgate.errors import AuditUnavailable, Overloaded
from wardgate.types import ModelChange, ModelId, Refusal


class GatedSink:
    """Holds each commit until the test lets it go, and fails those that the test names."""

    def __init__(self):
        self.gate = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.groups = []
        self.probes = 0
        self.failing = None
        self.closed = False

    def append(self, entries):
        self.entered.release()
        assert self.gate.acquire(timeout=30)
        if self.failing is not None:
            raise self.failing
        self.groups.append(list(entries))

    def seal(self):
        if self.failing is not None:
            raise self.failing

    def probe(self):
        if self.failing is not None:
            raise self.failing
        self.probes += 1

    def close(self):
        self.closed = True

    @property
    def names(self):
        return [[(e.kind, e.request_id) for e in group] for group in self.groups]


@pytest.fixture
async def gated(make):
    sink = GatedSink()
    recorder = Recorder(sink, queue=100, clock=lambda: make.now)
    recorder.start()
    yield sink, recorder
    sink.gate.release(1_000)
    await recorder.close()


@pytest.fixture
async def real(store, make):
    recorder = Recorder(store.open(), clock=lambda: make.now)
    recorder.start()
    yield recorder
    await recorder.close()


async def entered(sink):
    assert await asyncio.to_thread(sink.entered.acquire, timeout=30)


def check(store):
    (chain,) = verify(store.folder, load_public_keys(store.state)).chains
    assert chain.result.finding is None
    return chain.result


async def test_an_awaited_outcome_is_on_disk_after_its_intent(real, store, make):
    ticket = real.intent(make.intent("r-1"))
    await real.outcome(make.outcome("r-1"), ticket)
    rows = store.sql("SELECT kind, request_id FROM records ORDER BY seq")
    assert rows == [("start", ""), ("intent", "r-1"), ("outcome", "r-1")]
    assert ticket.done


async def test_many_at_once_keep_their_order_and_verify(real, store, make):
    async def one(number):
        ticket = real.intent(make.intent(f"r-{number}"))
        if number % 2:
            await ticket
        await real.outcome(make.outcome(f"r-{number}"), ticket)

    await asyncio.gather(*(one(number) for number in range(500)))
    result = check(store)
    assert result.records == 1_001
    assert result.in_flight == 0
    seqs = {}
    for seq, kind, name in store.sql("SELECT seq, kind, request_id FROM records WHERE seq > 1"):
        seqs.setdefault(name, {})[kind] = seq
    assert len(seqs) == 500
    assert all(pair["intent"] < pair["outcome"] for pair in seqs.values())


async def test_a_group_takes_what_is_queued_when_the_last_commit_returned(gated, make):
    sink, recorder = gated
    first = recorder.intent(make.intent("a"))
    await entered(sink)
    rest = [recorder.intent(make.intent(name)) for name in "bcd"]
    sink.gate.release(2)
    for ticket in (first, *rest):
        await ticket
    assert sink.names == [[("intent", "a")], [("intent", name) for name in "bcd"]]


async def test_nothing_is_durable_before_its_commit_has_returned(gated, make):
    sink, recorder = gated
    ticket = recorder.intent(make.intent())
    await entered(sink)
    assert not ticket.done
    sink.gate.release()
    await ticket
    assert ticket.done
    await ticket  # again, at no cost


async def test_a_full_queue_refuses_at_once_and_keeps_room_for_outcomes(gated, make):
    sink, recorder = gated
    tickets = [recorder.intent(make.intent(str(n))) for n in range(50)]
    with pytest.raises(Overloaded) as caught:
        recorder.intent(make.intent("late"))
    assert caught.value.reason == "audit-queue-full"
    outcomes = [recorder.outcome(make.outcome(str(n)), t) for n, t in enumerate(tickets)]
    sink.gate.release(200)
    for ticket in outcomes:
        await ticket
    assert len([name for group in sink.names for name in group]) == 100
    await recorder.outcome(make.outcome("again"), recorder.intent(make.intent("again")))


async def test_a_failed_commit_fails_its_waiters_and_the_next_may_succeed(gated, make):
    sink, recorder = gated
    sink.failing = AuditUnavailable("The audit disk is full.")
    sink.gate.release(100)
    ticket = recorder.intent(make.intent("a"))
    with pytest.raises(AuditUnavailable, match="disk is full") as caught:
        await ticket
    assert caught.value.status == 503
    assert caught.value.retry_after == 1.0
    sink.failing = None
    await recorder.outcome(make.outcome("b"), recorder.intent(make.intent("b")))


async def test_an_outcome_is_not_durable_where_its_intent_is_not(gated, make):
    sink, recorder = gated
    sink.failing = AuditUnavailable("The audit disk is full.")
    intent = recorder.intent(make.intent("a"))
    await entered(sink)
    outcome = recorder.outcome(make.outcome("a"), intent)
    sink.gate.release()
    with pytest.raises(AuditUnavailable):
        await intent
    sink.failing = None
    sink.gate.release(10)
    with pytest.raises(AuditUnavailable, match="disk is full"):
        await outcome
    assert sink.groups == []


async def test_a_fault_in_the_sink_is_a_refusal_and_not_the_end(gated, make):
    sink, recorder = gated
    sink.gate.release(100)
    sink.failing = RuntimeError("Jane Roe")
    with pytest.raises(AuditUnavailable, match="RuntimeError") as caught:
        await recorder.intent(make.intent())
    assert "Jane" not in caught.value.detail
    sink.failing = None
    await recorder.intent(make.intent())


async def test_a_disk_that_hangs_fails_its_waiters_in_time(make):
    sink = GatedSink()
    recorder = Recorder(sink, patience=0.0, clock=lambda: make.now)
    recorder.start()
    ticket = recorder.intent(make.intent("a"))
    await entered(sink)
    with pytest.raises(AuditUnavailable, match="in time"):
        await ticket
    late = recorder.outcome(make.outcome("a"), ticket)
    sink.gate.release(100)
    with contextlib.suppress(AuditUnavailable):  # its own wait may be over too
        await late
    await recorder.close()
    # Both became durable in the end: no intent stands without the outcome that was written for it.
    assert [entry.kind for group in sink.groups for entry in group] == ["intent", "outcome"]


async def test_a_hung_disk_holds_no_more_than_the_queue(make):
    sink = GatedSink()
    recorder = Recorder(sink, queue=100, patience=0.0, clock=lambda: make.now)
    recorder.start()
    for n in range(50):  # each is late at once, and still in the writer's hands
        recorder.intent(make.intent(str(n)))
        recorder._expire(float("inf"))
    with pytest.raises(Overloaded):
        recorder.intent(make.intent("one too many"))
    sink.gate.release(1_000)
    await recorder.close()


async def test_a_waiter_that_left_harms_nobody(gated, make):
    sink, recorder = gated
    ticket = recorder.intent(make.intent("a"))
    stays, leaves = (asyncio.ensure_future(_wait(ticket)) for _ in range(2))
    await entered(sink)
    leaves.cancel()
    sink.gate.release()
    await stays
    assert leaves.cancelled() or leaves.cancelling()


async def _wait(ticket):
    await ticket


async def test_check_makes_a_real_write(gated, make):
    sink, recorder = gated
    assert await recorder.check() == record.CheckState("audit", ok=True)
    assert sink.probes == 1
    sink.failing = AuditUnavailable("The audit store is gone.")
    assert await recorder.check() == record.CheckState(
        "audit", ok=False, detail="The audit store is gone."
    )


async def test_check_follows_the_store_away_and_back(real, store, tmp_path):
    assert (await real.check()).ok
    store.folder.rename(tmp_path / "elsewhere")
    state = await real.check()
    assert (state.ok, state.detail) == (False, "The audit store is gone.")
    with pytest.raises(AuditUnavailable):
        await real._put(None)
    (tmp_path / "elsewhere").rename(store.folder)
    assert (await real.check()).ok
    assert check(store).records == 1


async def test_a_flood_of_refusals_makes_a_bounded_number_of_records(real, store, make):
    for n in range(100_000):
        peer = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
        real.refusal(Refusal("/v1/predict", 401, "token-missing", None, peer))
    await real.close()
    rows = store.sql("SELECT kind, record FROM records WHERE seq > 1")
    assert [kind for kind, _ in rows] == ["refusals"]
    event = orjson.loads(rows[0][1])["event"]
    assert sum(row["count"] for row in event["counts"]) + event["others"] == 100_000


async def test_refusals_are_written_after_ten_seconds_without_more_traffic(
    gated, make, monkeypatch
):
    monkeypatch.setattr(record, "REFUSALS_SECONDS", 0.0)
    sink, recorder = gated
    recorder.refusal(Refusal("/v1/predict", 401, "token-missing", None, "192.0.2.1"))
    await entered(sink)
    sink.gate.release()
    assert (await recorder.check()).ok
    assert sink.names == [[("refusals", "")]]


async def test_the_first_denial_is_written_at_once(gated, make):
    sink, recorder = gated
    for _ in range(3):
        recorder.refusal(Refusal("/v1/predict", 403, "scope", make.principal(), None))
    await entered(sink)
    sink.gate.release(10)
    assert (await recorder.check()).ok
    assert sink.names == [[("denial", "")]]


async def test_refusals_outlast_a_disk_that_was_full(gated, make):
    sink, recorder = gated
    sink.failing = AuditUnavailable("The audit disk is full.")
    sink.gate.release(100)
    recorder.refusal(Refusal("/v1/predict", 403, "scope", make.principal(), None))
    assert not (await recorder.check()).ok
    sink.failing = None
    await recorder.close()
    assert sorted(kind for group in sink.names for kind, _ in group) == ["denial", "refusals"]


async def test_close_drains_and_closes(make):
    sink = GatedSink()
    recorder = Recorder(sink, clock=lambda: make.now)
    recorder.start()
    tickets = [recorder.intent(make.intent(str(n))) for n in range(700)]
    sink.gate.release(1_000)
    await recorder.close()
    assert sink.closed
    for ticket in tickets:
        await ticket
    assert sum(map(len, sink.groups)) == 700
    assert max(map(len, sink.groups)) <= 512
    await recorder.close()


async def test_a_closed_recorder_takes_nothing(real, make):
    ticket = real.intent(make.intent())
    await real.close()
    with pytest.raises(AuditUnavailable, match="closed"):
        real.intent(make.intent())
    with pytest.raises(AuditUnavailable, match="closed"):
        real.outcome(make.outcome(), ticket)
    assert not (await real.check()).ok
    real.refusal(Refusal("/v1/predict", 401, "token-missing", None, None))


async def test_a_value_that_cannot_be_written_down_is_refused(real, store, make):
    odd = make.intent(caller=make.principal(subject="Jane\ud800"))
    with pytest.raises(AuditUnavailable) as caught:
        real.intent(odd)
    assert caught.value.reason == "audit-not-encodable"
    await real.intent(make.intent())
    assert check(store).records == 2


async def test_durable_records_are_counted(real, make):
    def count():
        return REGISTRY.get_sample_value("wardgate_audit_records_total", {"kind": "outcome"}) or 0

    before = count()
    await real.outcome(make.outcome(), real.intent(make.intent()))
    await real.close()
    assert count() == before + 1


async def test_a_step_of_a_change_is_on_disk_before_it_is_taken(real, store):
    model = ModelId("sentiment", "1", "a" * 64)
    await real.change(ModelChange("r-1", None, "promote", "loading", "running", "", model, None))
    rows = store.sql("SELECT tenant, kind, request_id FROM records ORDER BY seq")
    assert rows[1:] == [("-", "change", "r-1")]
    assert check(store).records == 2
    with pytest.raises(AuditUnavailable, match="UTF-8"):
        real.change(ModelChange("r-1", None, "\ud800", "b", "c", "", model, None))
    await real.close()
    with pytest.raises(AuditUnavailable, match="closed"):
        real.change(ModelChange("r-1", None, "promote", "loading", "running", "", model, None))
