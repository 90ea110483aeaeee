"""A request's values: room is given back, and what may hold text does not show it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from wardgate.errors import AuditUnavailable
from wardgate.request import Admitted, Ask, Head, Reply, Row, coded
from wardgate.telemetry import Hops
from wardgate.types import PHI, CleanText, Deidentified, Permission, RequestContext


class Slot:
    released = 0

    def release(self) -> None:
        self.released += 1


def test_leaving_gives_the_room_back():
    head = Head("id", "trace", "/v1/predict", Permission.INFER, (b"Bearer x",), None)
    slot = Slot()
    Admitted(head, None, slot, Hops()).leave()
    assert slot.released == 1


def test_a_request_shows_no_text():
    ask = Ask([PHI("Jane Roe")], RequestContext(patient=PHI("MRN 7")), "digest", "tiny")
    assert "Roe" not in repr(ask)
    assert "MRN" not in repr(ask)


# -- codes ----------------------------------------------------------------------------------------


class Codes:
    """A vault that says what it was asked, and when."""

    def __init__(self, intent: asyncio.Future, *, applies: bool) -> None:
        self.asked = []
        self._intent, self._applies = intent, applies

    def applies(self, note):
        return self._applies

    async def fill(self, texts, notes, *, tenant, patient):
        assert self._intent.done()
        self.asked.append((texts, tenant, patient))
        return [replace(note, text=CleanText(note.text + "+")) for note in notes]


def note(text: str) -> Deidentified:
    return Deidentified(CleanText(text), (), (), "p", "0" * 64)


ASK = Ask([PHI("Jane"), PHI("Roe")], RequestContext(patient=PHI("7")), "digest")
REPLY = Reply([Row(note("a"), windows=2), Row(note("b"))], fallback="why")


async def test_codes_are_asked_for_once_and_after_the_intent_is_durable():
    intent = asyncio.get_running_loop().create_future()
    codes = Codes(intent, applies=True)
    work = asyncio.create_task(coded(codes, ASK, REPLY, "north", intent))
    await asyncio.sleep(0)
    assert codes.asked == []
    intent.set_result(None)
    reply = await work
    assert codes.asked == [(ASK.texts, "north", ASK.context.patient)]
    assert [(row.deidentified.text, row.windows) for row in reply.rows] == [("a+", 2), ("b+", 0)]
    assert reply.fallback == "why"
    assert REPLY.rows[0].deidentified.text == "a"


async def test_no_value_is_kept_where_the_intent_is_not_durable():
    intent = asyncio.get_running_loop().create_future()
    intent.set_exception(AuditUnavailable())
    codes = Codes(intent, applies=True)
    with pytest.raises(AuditUnavailable):
        await coded(codes, ASK, REPLY, "north", intent)
    assert codes.asked == []


async def test_a_policy_without_codes_waits_for_nothing():
    intent = asyncio.get_running_loop().create_future()
    assert await coded(Codes(intent, applies=False), ASK, REPLY, "north", intent) is REPLY
