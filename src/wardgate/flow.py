"""One request, top to bottom.

    enter        authenticate -> permit -> admit       from the request line and headers alone
    (the shell reads and parses the body)
    predict      authorize -> intent -> de-identify -> tokenize -> infer -> postprocess -> outcome
    deidentify   authorize -> intent -> de-identify -> outcome

HTTP, gRPC, batch jobs and the command line are shells around these three calls. The order is fixed
and every step fails closed: an exception anywhere ends the request with a refusal and an outcome
record, and never with text. The steps are plain calls to the collaborators that the constructor
takes; nothing here knows HTTP, SQLite or ONNX.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from wardgate.audit.record import Recorder, Ticket
from wardgate.auth.admit import Admission
from wardgate.auth.authenticate import Authenticator
from wardgate.deid.detector import Detector
from wardgate.engine.base import Engine
from wardgate.errors import (
    AuditUnavailable,
    EngineUnavailable,
    ModelUnknown,
    PeerRefused,
    ProxyRefused,
    WardgateError,
)
from wardgate.request import (
    CLIENT_LEFT,
    Admitted,
    Ask,
    Codes,
    Head,
    Lease,
    Models,
    Reply,
    Row,
    ServedModel,
    coded,
    conclude,
)
from wardgate.telemetry import PHI_SPANS, REFUSALS, Hops
from wardgate.types import (
    Decision,
    Deidentified,
    Encoding,
    Intent,
    Outcome,
    Permission,
    Principal,
    Priority,
    Refusal,
    RequestContext,
)

__all__ = [
    "CLIENT_LEFT",
    "Admitted",
    "Ask",
    "Flow",
    "Head",
    "Models",
    "Reply",
    "Row",
    "ServedModel",
]

_LONG = 4_096
"""Notes above this many characters in all are tokenized in a thread."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A request with its text de-identified: what any model needs to answer it."""

    admitted: Admitted
    clean: Sequence[Deidentified]
    priority: Priority
    intent: Ticket
    deadline: float


@dataclass(slots=True)
class Flow:
    """The request's path, wired once in `web/app.py`."""

    authenticator: Authenticator
    permit: Callable[[Principal, Permission], None]
    admission: Admission
    authorize: Callable[..., Decision]
    """`auth.authorize.authorize` with the site's policies bound."""
    detector: Detector
    engine: Engine
    recorder: Recorder
    models: Models
    aside: Executor
    """Threads for native work on long texts; they give way to the event loop."""
    codes: Codes | None = None
    """The vault; without one a policy that gives codes leaves tags."""
    direct_only: bool = False
    """Refuse what came through a proxy: the development issuer trusts this machine alone."""
    trusts_peer: Callable[[str | None], bool] = field(default=lambda _: True)
    """Whether a connection from this address may ask for more than health."""
    clock: Callable[[], float] = field(default=time.time)

    async def enter(self, head: Head, hops: Hops) -> Admitted:
        """Authenticate, permit and admit from the headers alone; a refusal is recorded here."""
        principal = None
        try:
            if self.direct_only and head.proxied:
                raise ProxyRefused
            if not self.trusts_peer(head.peer):
                raise PeerRefused
            now = self.clock()
            principal = self.authenticator.cached(head.authorization, now=now)
            if principal is None:
                principal = await self.authenticator.authenticate(head.authorization, now=now)
            hops.mark("auth")
            self.permit(principal, head.permission)
            slot = self.admission.admit(principal, now)
            hops.mark("admit")
        except WardgateError as error:
            self.refuse(head, error, principal)
            raise
        return Admitted(head, principal, slot, hops)

    def refuse(self, head: Head, error: WardgateError, principal: Principal | None) -> None:
        """Record that a call was turned away before an intent."""
        REFUSALS.labels(head.route, error.reason).inc()
        self.recorder.refusal(
            Refusal(
                route=head.route,
                status=error.status,
                reason=error.reason,
                principal=principal,
                peer=head.peer,
            )
        )

    @contextlib.contextmanager
    def refusing(self, admitted: Admitted) -> Iterator[None]:
        """Record what turns an admitted call away within, a fault of our own too; it passes on."""
        try:
            yield
        except WardgateError as error:
            self.refuse(admitted.head, error, admitted.principal)
            raise
        except Exception:
            self.refuse(admitted.head, WardgateError(), admitted.principal)
            raise

    def turn_away(self, route: str, error: WardgateError, peer: str | None) -> None:
        """Record that a call reached no route of ours; nobody asked who the caller is.

        `route` is a word of our own, never what was typed: a path may hold PHI.
        """
        REFUSALS.labels(route, error.reason).inc()
        self.recorder.refusal(Refusal(route, error.status, error.reason, None, peer))

    async def predict(self, admitted: Admitted, ask: Ask) -> Reply:
        """De-identify the notes and run a model on what is left of them."""
        decision = self._authorize(admitted, ask, Permission.INFER)
        with self.refusing(admitted):  # after `authorize`: who may not infer learns no model names
            lease = self.models.lease(ask.model or "", ask.version, admitted.head.request_id)

        async def work(intent: Ticket, deadline: float) -> Reply:
            clean = await self._deidentify(admitted, ask, decision, deadline)
            given = _Work(admitted, clean, ask.context.priority, intent, deadline)
            reply = await self._answer(given, lease)
            lease.mirror([note.text for note in clean], [_label(row) for row in reply.rows])
            return await self._coded(admitted, ask, reply, intent)

        try:
            return await self._record(admitted, ask, decision, work, lease)
        finally:
            lease.leave()

    async def deidentify(self, admitted: Admitted, ask: Ask) -> Reply:
        """De-identify the notes and return them."""
        decision = self._authorize(admitted, ask, Permission.DEID)

        async def work(intent: Ticket, deadline: float) -> Reply:
            clean = await self._deidentify(admitted, ask, decision, deadline)
            return await self._coded(admitted, ask, Reply([Row(note) for note in clean]), intent)

        return await self._record(admitted, ask, decision, work)

    # -- steps ------------------------------------------------------------------------------------

    def _authorize(self, admitted: Admitted, ask: Ask, action: Permission) -> Decision:
        """Decide on model, policy and purpose; a refusal is recorded."""
        with self.refusing(admitted):
            decision = self.authorize(
                admitted.principal,
                action=action,
                model=ask.model,
                policy=ask.context.policy,
                purpose=ask.context.purpose,
            )
        admitted.hops.mark("authorize")
        # from here on this very policy, though another of its name should come into force
        return replace(decision, policy_hash=self.detector.policy_hash(decision.policy))

    async def _deidentify(
        self, admitted: Admitted, ask: Ask, decision: Decision, deadline: float
    ) -> list[Deidentified]:
        """Find PHI and replace it, by the policy that was decided, note by note."""
        found: list[Deidentified] = []
        for text in ask.texts:
            if found:  # a short note is done without a wait; other callers get their turn
                await asyncio.sleep(0)
            clean = await self.detector.deidentify(
                text,
                policy=decision.policy,
                policy_hash=decision.policy_hash,
                tenant=admitted.principal.tenant,
                context=ask.context,
                deadline=deadline,
            )
            found.append(clean)
            for entity, count in clean.counts.items():
                PHI_SPANS.labels(entity).inc(count)
        admitted.hops.mark("deid")
        return found

    async def _coded(self, admitted: Admitted, ask: Ask, reply: Reply, intent: Ticket) -> Reply:
        """Put codes in the reply, where the policy gives them."""
        if self.codes is not None:
            reply = await coded(self.codes, ask, reply, admitted.principal.tenant, intent)
            admitted.hops.mark("deid")
        return reply

    async def _answer(self, work: _Work, lease: Lease) -> Reply:
        """Run the model; where a candidate fails, the one that serves answers in its place."""
        began = time.monotonic()
        try:
            rows = await self._infer(work, lease.model, lease.until(began, work.deadline))
        except AuditUnavailable:
            raise
        except Exception as error:
            if lease.fallback is None:
                raise
            reason = error.reason if isinstance(error, WardgateError) else "internal"
        else:
            lease.answered(time.monotonic() - began)
            return Reply(rows, lease.model)
        rows = await self._infer(work, lease.fallback, work.deadline)
        lease.failed()  # not before: what fails both is not the candidate's fault
        return Reply(rows, lease.fallback, reason)

    async def _infer(self, work: _Work, model: ServedModel, deadline: float) -> list[Row]:
        """Tokenize, run and read one model's answer."""
        hops, clean = work.admitted.hops, work.clean
        encodings = await self._tokenize(model, clean)
        whole = Encoding(tuple([row for encoding in encodings for row in encoding.rows]))
        hops.mark("tokenize")
        if not self.engine.local:
            await work.intent
            hops.mark("intent")
        # one call for all rows: the engine plans them together and takes all or none
        try:
            logits = await self.engine.infer(
                model.id.digest, whole, deadline=deadline, priority=work.priority
            )
        except ModelUnknown:  # it went while this process was cut off from what the others know
            raise EngineUnavailable(reason="model-gone", retry_after=1.0) from None
        hops.mark("infer")
        rows, start = [], 0
        for note, encoding in zip(clean, encodings, strict=True):
            end = start + encoding.windows
            rows.append(Row(note, model.postprocess(logits[start:end]), encoding.windows))
            start = end
        hops.mark("post")
        return rows

    async def _tokenize(self, model: ServedModel, notes: Sequence[Deidentified]) -> list[Encoding]:
        """Tokenize each note: at once where they are short, in a thread where they are not."""
        if sum([len(note.text) for note in notes]) <= _LONG:
            return [model.tokenize(note.text) for note in notes]
        # native and off the interpreter lock, but not instant
        return await asyncio.get_running_loop().run_in_executor(
            self.aside, lambda: [model.tokenize(note.text) for note in notes]
        )

    async def _record(
        self,
        admitted: Admitted,
        ask: Ask,
        decision: Decision,
        work: Callable[[Ticket, float], Awaitable[Reply]],
        lease: Lease | None = None,
    ) -> Reply:
        """Queue the intent, do the work within the caller's deadline, write the outcome.

        Both records are durable before the reply is returned. If they cannot be, the reply is
        withheld: AuditUnavailable is raised in its place.
        """
        intent = self._intend(admitted, ask, decision, lease)
        admitted.hops.mark("intent")

        def outcome(status: int, reason: str, reply: Reply | None) -> Ticket:
            return self._outcome(admitted, intent, status, reason, reply)

        return await conclude(
            admitted.hops,
            ask.context.timeout_ms / 1000,
            lambda deadline: work(intent, deadline),
            outcome,
        )

    def _intend(
        self, admitted: Admitted, ask: Ask, decision: Decision, lease: Lease | None
    ) -> Ticket:
        """Queue the intent; the ticket ends when it is durable. A full queue is a refusal."""
        head, principal, context = admitted.head, admitted.principal, ask.context
        patient = context.patient
        with self.refusing(admitted):
            return self.recorder.intent(
                Intent(
                    request_id=head.request_id,
                    trace_id=head.trace_id,
                    principal=principal,
                    route=head.route,
                    purpose=context.purpose,
                    policy=decision.policy,
                    policy_hash=decision.policy_hash,
                    model=lease.model.id if lease else None,
                    patient_pseudonym=(
                        self.detector.pseudonym(patient, tenant=principal.tenant)
                        if patient
                        else None
                    ),
                    body_digest=ask.body_digest,
                    rows=len(ask.texts),
                    obligations=_obligations(decision, context, lease),
                )
            )

    def _outcome(
        self,
        admitted: Admitted,
        intent: Ticket,
        status: int,
        reason: str,
        reply: Reply | None = None,
    ) -> Ticket:
        """Queue the outcome; the ticket ends when intent and outcome are durable."""
        return self.recorder.outcome(
            Outcome(
                request_id=admitted.head.request_id,
                tenant=admitted.principal.tenant,
                status=status,
                reason=reason,
                phi_counts=_counts(reply) if reply else {},
                hops_us=admitted.hops.microseconds(),
                model=reply.model.id if reply and reply.model and reply.fallback else None,
                fallback=reply.fallback if reply else "",
            ),
            intent,
        )


def _counts(reply: Reply) -> dict[str, int]:
    """Return the number of spans by entity type over all rows."""
    total = reply.rows[0].deidentified.counts
    for row in reply.rows[1:]:
        for entity, count in row.deidentified.counts.items():
            total[entity] = total.get(entity, 0) + count
    return total


def _label(row: Row) -> str:
    return row.prediction.label if row.prediction else ""


def _obligations(
    decision: Decision, context: RequestContext, lease: Lease | None
) -> frozenset[str]:
    """Return what the record says besides the policy.

    That the caller's word on the note's date counted (the date itself is PHI and stays out), and
    which version may see the text besides the one that answers.
    """
    found = set(decision.obligations)
    if context.reference_date is not None:
        found.add("reference-date-by-caller")
    if lease is not None and lease.shadow:
        found.add(f"shadow:{lease.shadow}")
    return frozenset(found)
