"""Readiness is a state kept in the background; probes read it and start nothing."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest
from tests.conftest import ORIGIN, problem_of

from wardgate.errors import AuditUnavailable
from wardgate.telemetry import READY
from wardgate.types import CheckState
from wardgate.web.health import Health, Readiness
from wardgate.web.middleware import Door


class Check:
    """A check that can be told what to say."""

    name = "part"

    def __init__(self, *, ok: bool = True) -> None:
        self.made = 0
        self.ok = ok
        self.error: Exception | None = None
        self.seen = asyncio.Event()

    async def __call__(self) -> CheckState:
        self.made += 1
        self.seen.set()
        if self.error is not None:
            raise self.error
        return CheckState(self.name, self.ok, "" if self.ok else "is missing")


async def test_nothing_is_ready_before_it_was_checked() -> None:
    assert not Readiness([Check()]).ready
    assert not Readiness([]).ready


async def test_ready_when_every_check_holds() -> None:
    good, bad = Check(), Check(ok=False)
    readiness = Readiness([good, bad])
    await readiness.refresh()
    assert not readiness.ready
    assert readiness.missing == "part is missing"
    bad.ok = True
    assert not readiness.ready
    await readiness.refresh()
    assert readiness.ready
    assert readiness.missing == ""


async def test_the_gauge_follows() -> None:
    check = Check()
    readiness = Readiness([check])
    await readiness.refresh()
    assert READY.labels("part")._value.get() == 1
    check.ok = False
    await readiness.refresh()
    assert READY.labels("part")._value.get() == 0


async def test_what_a_check_raises_is_a_failure_and_is_not_told() -> None:
    check = Check()
    readiness = Readiness([check])
    check.error = ValueError("Jane Roe")
    await readiness.refresh()
    assert not readiness.ready
    assert readiness.missing == "part failed with ValueError"
    check.error = AuditUnavailable()
    await readiness.refresh()
    assert readiness.missing == f"part {AuditUnavailable.sentence}"


async def test_a_check_that_hangs_is_a_failure() -> None:
    async def hangs() -> CheckState:
        await asyncio.Event().wait()
        raise AssertionError

    readiness = Readiness([hangs], timeout=0.01)
    await readiness.refresh()
    assert not readiness.ready
    assert readiness.missing == "hangs gave no answer in time"


async def test_a_fault_makes_the_checks_run_at_once(caplog) -> None:
    check = Check()
    readiness = Readiness([check], every=1000)
    watch = asyncio.create_task(readiness.run())
    try:
        await asyncio.wait_for(readiness.first.wait(), 5)
        assert check.made == 1
        check.ok = False
        check.seen.clear()
        readiness.poke()
        await asyncio.wait_for(check.seen.wait(), 5)
        await asyncio.sleep(0)
        assert not readiness.ready
        assert readiness.first.is_set()
        assert "not ready: part is missing" in caplog.text
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def test_the_checks_are_made_again_and_again() -> None:
    check = Check()
    watch = asyncio.create_task(Readiness([check], every=0.001).run())
    for _ in range(3):
        await asyncio.wait_for(check.seen.wait(), 5)
        check.seen.clear()
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch


@pytest.fixture
def probe():
    """Return a way to ask a route of the health module, through the door."""

    async def ask(readiness: Readiness, path: str) -> httpx.Response:
        handlers = {each.path: each.handler for each in Health(readiness).endpoints()}
        door = Door(handlers[path], unavailable=lambda: None)
        transport = httpx.ASGITransport(app=door)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            return await client.get(path)

    return ask


async def test_a_probe_reads_the_state_and_makes_no_check(probe) -> None:
    check = Check()
    readiness = Readiness([check])
    await readiness.refresh()
    for _ in range(10):
        assert (await probe(readiness, "/readyz")).json() == {
            "ready": True,
            "checks": {"part": "ok"},
        }
    assert check.made == 1


async def test_a_check_that_holds_may_have_something_to_say(probe) -> None:
    async def part() -> CheckState:
        return CheckState("part", ok=True, detail="the newest files are refused")

    readiness = Readiness([part])
    await readiness.refresh()
    reply = await probe(readiness, "/readyz")
    assert reply.status_code == 200
    assert reply.json()["checks"] == {"part": "the newest files are refused"}


async def test_a_gateway_that_is_not_ready_says_why_and_lives(probe) -> None:
    readiness = Readiness([Check(ok=False)])
    await readiness.refresh()
    reply = await probe(readiness, "/readyz")
    assert reply.status_code == 503
    problem = problem_of(reply)
    assert problem["ready"] is False
    assert problem["checks"] == {"part": "is missing"}
    assert reply.headers["retry-after"] == "2"
    assert (await probe(readiness, "/livez")).json() == {"live": True}


async def test_a_draining_gateway_is_not_ready(probe) -> None:
    readiness = Readiness([Check()])
    await readiness.refresh()
    readiness.draining = True
    reply = await probe(readiness, "/readyz")
    assert reply.status_code == 503
    assert problem_of(reply)["checks"] == {"part": "ok", "gateway": "is shutting down"}
