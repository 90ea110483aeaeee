"""What passes through the flow: a request, its reply, who may answer it, and how it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from wardgate.audit.record import Ticket
from wardgate.auth.admit import Permit
from wardgate.errors import DeadlineExceeded, WardgateError
from wardgate.telemetry import Hops
from wardgate.types import (
    PHI,
    CleanText,
    Deidentified,
    Encoding,
    Logits,
    ModelId,
    Permission,
    Prediction,
    Principal,
    RequestContext,
)

_Done = TypeVar("_Done")
CLIENT_LEFT = 499
"""Status in the record of a call whose caller left; nginx's "client closed request"."""

# -- what goes in and comes out -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a request before its body: the request line, headers and connection."""

    request_id: str
    trace_id: str
    route: str
    permission: Permission
    authorization: Sequence[bytes]
    """Every `Authorization` header value as sent."""
    peer: str | None
    proxied: bool = False
    """Whether the headers say that a proxy passed it on."""


@dataclass(slots=True)
class Admitted:
    """A caller that is known, permitted and admitted; holds its room until `leave()`."""

    head: Head
    principal: Principal
    slot: Permit
    hops: Hops

    def leave(self) -> None:
        """Give the room back."""
        self.slot.release()


@dataclass(frozen=True, slots=True)
class Ask:
    """The body of a request, parsed."""

    texts: Sequence[PHI]
    """One or more notes; each gets a row of the reply."""
    context: RequestContext
    body_digest: str
    """Keyed digest of the body as sent, hex."""
    model: str | None = None
    version: str | None = None
    """None for the version that serves."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as the flow uses it: tokenizer in front, labels and join rule behind."""

    id: ModelId
    labels: tuple[str, ...]
    tokenize: Callable[[CleanText], Encoding]
    postprocess: Callable[[Logits], Prediction]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one note."""

    deidentified: Deidentified
    prediction: Prediction | None = None
    windows: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What leaves the gateway: a row for each note, in their order."""

    rows: Sequence[Row]
    model: ServedModel | None = None
    """The model that answered."""
    fallback: str = ""
    """Why it was not the one first asked: the reason of that one's error."""


# -- who answers ----------------------------------------------------------------------------------


class Lease(Protocol):
    """Who answers one request; a version is let go only when nobody holds a lease on it."""

    @property
    def model(self) -> ServedModel:
        """The model that answers."""

    @property
    def fallback(self) -> ServedModel | None:
        """The one that answers where `model` fails: there is one for a canary."""

    @property
    def shadow(self) -> str:
        """Version that sees the text besides, its answer counted and dropped; or empty."""

    def until(self, now: float, deadline: float) -> float:
        """Return when `model` must have answered, so that there is time for `fallback`."""

    def answered(self, seconds: float) -> None:
        """Count an answer of `model`."""

    def failed(self) -> None:
        """Count that `model` failed where `fallback` answered."""

    def mirror(self, texts: Sequence[CleanText], labels: Sequence[str]) -> None:
        """Show the request to the shadow, if there is one; returns at once."""

    def leave(self) -> None:
        """Give the lease back. Call once."""


class Models(Protocol):
    """The models that serve."""

    def route(self, name: str, version: str | None = None) -> ServedModel:
        """Return the model that serves `name`, or that version of it.

        Raises ModelUnknown where none of that name, or of that version, serves.
        """

    def lease(self, name: str, version: str | None, key: str) -> Lease:
        """Return who answers the request of id `key`. Raises ModelUnknown as `route`."""

    def served(self) -> Sequence[ServedModel]:
        """Return every model that serves."""


# -- codes in place of what was found -------------------------------------------------------------


class Codes(Protocol):
    """The vault: random codes that lead back for those who may."""

    def applies(self, note: Deidentified) -> bool:
        """Whether the policy of a note gives codes."""

    async def fill(
        self,
        texts: Sequence[PHI],
        notes: Sequence[Deidentified],
        *,
        tenant: str,
        patient: PHI | None,
    ) -> list[Deidentified]:
        """Return the notes with durable codes in place of their tags."""


async def coded(codes: Codes, ask: Ask, reply: Reply, tenant: str, intent: Ticket) -> Reply:
    """Return the reply with vault codes where the policy gives them.

    A model has seen the tags alone. No value is kept without a durable record of who brought it.
    """
    notes = [row.deidentified for row in reply.rows]
    if not codes.applies(notes[0]):
        return reply
    await intent
    filled = await codes.fill(ask.texts, notes, tenant=tenant, patient=ask.context.patient)
    rows = zip(reply.rows, filled, strict=True)
    return replace(reply, rows=[replace(row, deidentified=note) for row, note in rows])


# -- how a request ends ---------------------------------------------------------------------------


async def conclude(
    hops: Hops,
    seconds: float,
    work: Callable[[float], Awaitable[_Done]],
    outcome: Callable[[int, str, _Done | None], Ticket],
) -> _Done:
    """Do the work within `seconds` and record how it ended, however it did.

    `work` takes its deadline in seconds of `time.monotonic()`; `outcome` queues the record of a
    status, a reason and what was done. Intent and outcome are durable when this returns or raises,
    but where the caller left.
    """
    done: _Done | None = None
    refused: WardgateError | None = None
    try:
        async with asyncio.timeout(seconds):
            done = await work(time.monotonic() + seconds)
    except TimeoutError:
        refused = DeadlineExceeded()
    except WardgateError as error:
        refused = error
    except asyncio.CancelledError:
        outcome(CLIENT_LEFT, "client-left", None)
        raise
    except Exception:
        await outcome(500, "internal", None)
        raise
    if refused is not None:
        durable = outcome(refused.status, refused.reason, None)
    else:
        durable = outcome(200, "ok", done)
    await durable
    hops.mark("outcome")
    hops.observe()
    if refused is not None:
        raise refused
    assert done is not None
    return done
