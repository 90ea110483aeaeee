"""A request's values: room is given back, and what may hold text does not show it."""

from __future__ import annotations

from wardgate.request import Admitted, Ask, Head
from wardgate.telemetry import IN_FLIGHT, Hops
from wardgate.types import PHI, Permission, RequestContext


class Slot:
    released = 0

    def release(self) -> None:
        self.released += 1


def test_leaving_gives_the_room_back():
    head = Head("id", "trace", "/v1/predict", Permission.INFER, (b"Bearer x",), None)
    slot = Slot()
    IN_FLIGHT.inc()
    before = IN_FLIGHT._value.get()
    Admitted(head, None, slot, Hops()).leave()
    assert slot.released == 1
    assert IN_FLIGHT._value.get() == before - 1


def test_a_request_shows_no_text():
    ask = Ask([PHI("Jane Roe")], RequestContext(patient=PHI("MRN 7")), "digest", "tiny")
    assert "Roe" not in repr(ask)
    assert "MRN" not in repr(ask)
