"""The vault as the gateway uses it: codes for a whole request, durable before its reply, and back.

One thread of each process owns the store. It takes what all requests have asked for since the last
transaction and writes it in one; there is no timer. The queue is bounded and a full one refuses.
Values stay in the gateway process: those that find PHI in long texts return offsets, and never
open the vault. A fault of any kind refuses the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from wardgate.deid import codes
from wardgate.deid.codes import Place
from wardgate.deid.policy import Policy
from wardgate.deid.vault_seal import Kept, Order
from wardgate.errors import (
    BodyInvalid,
    CodeUnknown,
    Overloaded,
    TextTooLong,
    VaultUnavailable,
    WardgateError,
)
from wardgate.telemetry import VAULT_CODES, VAULT_RELEASED
from wardgate.types import PHI, Deidentified, EntityType

MOST_VALUES: Final = 4_096
"""Different values of one request."""
_GROUP: Final = 8_192
"""Values in one transaction, so that those who wait for it are not held up for long."""
_SWEEP_SECONDS: Final = 60.0
_CLOSE_SECONDS: Final = 10.0


class Store(Protocol):
    """Where codes are kept; called from one thread, may block."""

    def put(self, orders: Sequence[Order]) -> list[list[str] | WardgateError]:
        """Return durable codes for each order, or why it has none."""

    def get(self, tenant: str, codes: Sequence[tuple[EntityType, bytes]]) -> list[Kept]:
        """Return what the codes stand for."""

    def sweep(self) -> bool:
        """Delete some of what has expired; return whether there is more."""

    def close(self) -> None:
        """Let go of the files."""


@dataclass(frozen=True, slots=True)
class Release:
    """What codes stood for; leaves the gateway by `POST /v1/reidentify` alone."""

    text: str | None = field(repr=False)
    """The text with its codes replaced, where a text was given."""
    values: Mapping[str, str] = field(repr=False)
    """Each code with its value."""
    counts: Mapping[str, int]
    """Number of codes by type."""
    patients: tuple[str, ...]
    """Keyed pseudonyms of the patients whom the values are about, sorted."""


@dataclass(frozen=True, slots=True)
class _Get:
    tenant: str
    codes: Sequence[tuple[EntityType, bytes]]


@dataclass(frozen=True, slots=True)
class _Job:
    """What one request asks of the thread; None is a sweep."""

    ask: Order | _Get | None
    answer: asyncio.Future[Any] = field(repr=False)


class Vault:
    """The vault of one gateway process; `start` it, `close` it."""

    def __init__(
        self,
        store: Store,
        *,
        policy: Callable[[str, str], Policy],
        pseudonym: Callable[..., str],
        queue: int = 1_000,
        most_released: int = 256,
    ) -> None:
        """Take over an open store.

        `policy` returns a policy by name and hash, `pseudonym` the keyed pseudonym of a patient
        within a `tenant`. `queue` bounds the requests that wait, `most_released` the codes of one
        release.
        """
        self._store = store
        self._policy = policy
        self._pseudonym = pseudonym
        self._room = queue
        self._most_released = most_released
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._inside = 0
        self._thread: threading.Thread | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Start the thread and the sweeps; call once, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="vault", daemon=True)
        self._thread.start()
        self._sweeper = self._loop.create_task(self._sweep(), name="vault-sweep")

    async def close(self) -> None:
        """End the sweeps, do what is queued, and close the store. May be called again."""
        if self._closing or self._thread is None or self._sweeper is None:
            return
        self._closing = True
        self._sweeper.cancel()
        await asyncio.gather(self._sweeper, return_exceptions=True)
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join, _CLOSE_SECONDS)

    def applies(self, note: Deidentified) -> bool:
        """Whether the policy of a note gives codes. Raises PolicyUnknown."""
        return bool(self._policy(note.policy, note.policy_hash).vaulted)

    async def fill(
        self,
        texts: Sequence[PHI],
        notes: Sequence[Deidentified],
        *,
        tenant: str,
        patient: PHI | None,
    ) -> list[Deidentified]:
        """Return the notes with codes in place of the tags that their policy wants codes for.

        `notes[i]` is what `texts[i]` became. The codes are durable. The same patient's same value
        has the same code; without a patient a code is of this request alone.
        Raises VaultUnavailable, Overloaded, or TextTooLong where there are too many values.
        """
        found = [self._places(text, note) for text, note in zip(texts, notes, strict=True)]
        wanted = {(p.value.label, p.value.normal): p.value for places in found for p in places}
        if not wanted:
            return list(notes)
        if len(wanted) > MOST_VALUES:
            raise TextTooLong(f"The request holds more than {MOST_VALUES} values to keep.")
        who = self._pseudonym(patient, tenant=tenant) if patient is not None else ""
        own = b"" if patient is not None else os.urandom(16)
        given: list[str] = await self._do(Order(tenant, who, list(wanted.values()), own))
        by_value = dict(zip(wanted, given, strict=True))
        VAULT_CODES.inc(len(given))
        return [
            codes.filled(
                text.reveal(),
                note,
                {p.row: by_value[p.value.label, p.value.normal] for p in places},
            )
            for text, note, places in zip(texts, notes, found, strict=True)
        ]

    async def release(
        self, tenant: str, *, given: Sequence[str] = (), text: str | None = None
    ) -> Release:
        """Return what codes stand for, each `given` and each in `text`; all of them or none.

        Raises CodeUnknown where one of them stands for nothing that this tenant may see,
        BodyInvalid where there is none at all or there are too many, VaultUnavailable, Overloaded.
        """
        asked = list(dict.fromkeys([*given, *(codes.standing(text) if text is not None else ())]))
        if not asked:
            raise BodyInvalid("The request holds no code.", reason="no-code")
        if len(asked) > self._most_released:
            raise BodyInvalid(
                f"The request holds more than {self._most_released} codes.", reason="codes-many"
            )
        read = [found for each in asked if (found := codes.read(each)) is not None]
        kept: list[Kept] = await self._do(_Get(tenant, read))
        if len(read) != len(asked):  # not before: what is no code at all takes as long
            raise CodeUnknown
        values = {code: each.text for code, each in zip(asked, kept, strict=True)}
        counts: dict[str, int] = {}
        for each in kept:
            counts[each.label.value] = counts.get(each.label.value, 0) + 1
            VAULT_RELEASED.labels(each.label.value).inc()
        return Release(
            text=codes.restored(text, values) if text is not None else None,
            values=values,
            counts=counts,
            patients=tuple(sorted({each.patient for each in kept} - {""})),
        )

    # -- on the event loop ------------------------------------------------------------------------

    def _places(self, text: PHI, note: Deidentified) -> list[Place]:
        policy = self._policy(note.policy, note.policy_hash)
        return codes.places(text.reveal(), note, policy.vaulted)

    async def _do(self, ask: Order | _Get | None) -> Any:
        """Have the thread do something, and return its answer or raise its refusal."""
        if self._closing or self._thread is None:
            raise VaultUnavailable(reason="vault-closed")
        if self._inside >= self._room:
            raise Overloaded(reason="vault-queue-full", retry_after=1.0)
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._inside += 1
        self._queue.put(_Job(ask, answer))
        return await answer

    async def _sweep(self) -> None:
        """Delete what has expired, by and by; a fault is met again by the next request."""
        while True:
            with contextlib.suppress(VaultUnavailable, Overloaded):
                while await self._do(None):
                    pass
            await asyncio.sleep(_SWEEP_SECONDS)

    def _settle(self, group: Sequence[tuple[_Job, object]]) -> None:
        """Wake those who wait."""
        self._inside -= len(group)
        for job, result in group:
            if job.answer.done():  # who waited has left
                continue
            if isinstance(result, WardgateError):
                # one of its own for each who waits: raising adds to it
                job.answer.set_exception(
                    type(result)(
                        result.detail, reason=result.reason, retry_after=result.retry_after
                    )
                )
            else:
                job.answer.set_result(result)

    # -- in the thread ----------------------------------------------------------------------------

    def _work(self) -> None:
        closing = False
        while not closing:
            jobs: list[_Job] = []
            size = 0
            job = self._queue.get()
            with contextlib.suppress(Empty):
                while job is not None:
                    jobs.append(job)
                    size += len(job.ask.values) if isinstance(job.ask, Order) else 1
                    if size >= _GROUP:
                        break
                    job = self._queue.get_nowait()
                closing = job is None
            if jobs:
                results = self._results(jobs)
                with contextlib.suppress(RuntimeError):  # the event loop is closed
                    self._loop.call_soon_threadsafe(self._settle, results)
        self._store.close()

    def _results(self, jobs: Sequence[_Job]) -> list[tuple[_Job, object]]:
        """Answer a group of jobs: one transaction for all that give codes."""
        results: list[tuple[_Job, object]] = []
        giving: list[_Job] = []
        orders: list[Order] = []
        for job in jobs:
            if job.answer.cancelled():  # who asked has left
                results.append((job, None))
            elif isinstance(job.ask, Order):
                giving.append(job)
                orders.append(job.ask)
            elif job.ask is None:
                results.append((job, _attempt(self._store.sweep)))
            else:
                results.append((job, _attempt(self._store.get, job.ask.tenant, job.ask.codes)))
        if giving:
            done = _attempt(self._store.put, orders)
            each = done if isinstance(done, list) else [done] * len(giving)
            results += zip(giving, each, strict=True)
        return results


def _attempt(call: Callable[..., object], *arguments: object) -> object:
    """Call the store; return its result or its refusal. The thread must outlive any fault."""
    try:
        return call(*arguments)
    except WardgateError as error:
        return error
    except Exception:  # noqa: BLE001 -- whatever it was, it must not quote a value
        return VaultUnavailable(reason="vault-fault")
