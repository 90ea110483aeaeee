"""The order of one request: what comes before what, what is recorded, and what never happens.

The collaborators here write down that they were called; permissions, authorization and admission
are the real ones. Whole requests against the real parts are in `web/test_rest.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wardgate.audit.record import Recorder
from wardgate.auth.admit import Admission
from wardgate.auth.authorize import authorize
from wardgate.auth.permissions import permit
from wardgate.errors import (
    AuditUnavailable,
    DeadlineExceeded,
    DetectorFailed,
    EngineUnavailable,
    Forbidden,
    KeysUnavailable,
    ModelOutputInvalid,
    ModelUnknown,
    NoteExceedsModel,
    NotFound,
    Overloaded,
    PolicyUnknown,
    ProxyRefused,
    TokenInvalid,
    TokenMissing,
    TooManyInFlight,
)
from wardgate.flow import CLIENT_LEFT, Ask, Flow, Head, ServedModel
from wardgate.registry.standing import Goal
from wardgate.telemetry import Hops
from wardgate.types import (
    PHI,
    CleanText,
    Deidentified,
    Encoding,
    EntityType,
    ModelId,
    Permission,
    Prediction,
    Principal,
    Refusal,
    RequestContext,
    Span,
)
from wardgate.web.served import Prepared, Rule, Served

CALLER = Principal(
    issuer="https://id.example",
    subject="subject",
    client="client",
    tenant="north",
    scopes=frozenset({"infer:sentiment", "infer:unserved", "deid"}),
    token_id="jti",
    expires_at=2e9,
)
CLEAN = Deidentified(
    CleanText("[NAME] is well"), (Span(0, 8, EntityType.NAME, 1.0),), (), "safe_harbor", "a" * 64
)
MODEL = ModelId("sentiment", "1", "b" * 64)
LABELS = ("negative", "positive")


def serving(model: ServedModel, mirror=lambda *_: None, **rule) -> Served:
    """Return what serves one model; `rule` adds a candidate."""
    return Served({model.id.name: Rule(Prepared(model, ()), **rule)}, mirror=mirror)


class Stage:
    """All collaborators; `said` is what was called, in order. `fail` maps a call to its error."""

    def __init__(self, *, local: bool = True, cached: bool = True, **admission: int) -> None:
        self.said: list[str] = []
        self.fail: dict[str, Exception] = {}
        self.hold: dict[str, asyncio.Event] = {}
        self.reached: dict[str, asyncio.Event] = {}
        self.local = local
        self.known = cached
        self.intents: list = []
        self.outcomes: list = []
        self.refusals: list = []
        self.deadlines: list[float] = []
        self.handed: list[tuple[object, ...]] = []
        limits = {"rate": 1e6, "burst": 1000, "concurrency": 10, "in_flight": 10, **admission}
        self.admission = Admission(**limits)
        self.flow = Flow(
            aside=ThreadPoolExecutor(1),
            authenticator=self,
            permit=self._permit,
            admission=self,
            authorize=self._authorize,
            detector=self,
            engine=self,
            recorder=self,
            models=serving(ServedModel(MODEL, LABELS, self._tokenize, self._postprocess)),
        )

    def step(self, name: str) -> None:
        self.said.append(name)
        if name in self.fail:
            raise self.fail[name]

    async def pause(self, name: str) -> None:
        self.reached.setdefault(name, asyncio.Event()).set()
        if name in self.hold:
            await self.hold[name].wait()

    # authenticator
    def cached(self, authorization, *, now):
        return CALLER if self.known else None

    async def authenticate(self, authorization, *, now):
        self.step("authenticate")
        return CALLER

    # permissions, the real ones
    def _permit(self, principal, permission) -> None:
        self.step("permit")
        permit(principal, permission)

    def admit(self, principal, now):
        self.step("admit")
        self.slot = Slot(self, self.admission.admit(principal, now))
        return self.slot

    def _authorize(self, principal, **asked):
        self.step("authorize")
        bound = functools.partial(
            authorize, default_policy="safe_harbor", policies={"safe_harbor": 0, "weak": -1}
        )
        return bound(principal, **asked)

    # detector
    def policy_hash(self, policy):
        return "a" * 64

    def pseudonym(self, patient, *, tenant):
        return f"pseudonym-{tenant}"

    async def deidentify(self, text, *, policy, policy_hash, tenant, context, deadline):
        self.step("deidentify")
        self.handed.append((policy, policy_hash, tenant, context.patient))
        self.deadlines.append(deadline)
        await self.pause("deidentify")
        return CLEAN

    # model and engine
    def _tokenize(self, text):
        self.step("tokenize")
        return Encoding(([1, 2, 3],))

    def _postprocess(self, logits):
        self.step("postprocess")
        return Prediction("positive", 0.9, {"positive": 0.9, "negative": 0.1})

    async def infer(self, model, encoding, *, deadline, priority):
        self.step("infer")
        await self.pause("infer")
        return np.zeros((encoding.windows, 2), np.float32)

    # recorder
    def intent(self, intent):
        self.step("intent")
        self.intents.append(intent)
        return Ticket(self, "intent durable")

    def outcome(self, outcome, intent):
        self.step("outcome")
        self.outcomes.append(outcome)
        return Ticket(self, "outcome durable")

    def refusal(self, refusal) -> None:
        self.refusals.append(refusal)

    # the request
    async def enter(self, permission=Permission.INFER, **head):
        made = Head("id", "trace", "/v1/predict", permission, (b"Bearer x",), "10.0.0.9", **head)
        return await self.flow.enter(made, Hops())

    async def predict(self, *, model="sentiment", **context):
        admitted = await self.enter()
        try:
            return await self.flow.predict(admitted, self.ask(model, **context))
        finally:
            admitted.leave()

    async def deidentification(self, **context):
        admitted = await self.enter(Permission.DEID)
        try:
            return await self.flow.deidentify(admitted, self.ask(None, **context))
        finally:
            admitted.leave()

    @staticmethod
    def ask(model, **context):
        return Ask([PHI("Jane Roe is well")], RequestContext(**context), "c" * 64, model)


class Ticket:
    """A record that becomes durable when it is awaited, or never."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage, self.name = stage, name

    def __await__(self) -> Generator[object, None, None]:
        self.stage.step(self.name)
        yield from self.stage.pause(self.name).__await__()


class Slot:
    """Counts how often the room of a request is given back."""

    def __init__(self, stage: Stage, permit) -> None:
        self.stage, self.permit, self.released = stage, permit, 0

    def release(self) -> None:
        self.released += 1
        self.permit.release()


DOOR = ["permit", "admit"]
WORK = ["authorize", "intent", "deidentify", "tokenize"]


async def test_a_prediction_in_order_with_an_engine_in_this_process() -> None:
    stage = Stage(local=True)
    reply = await stage.predict()
    assert stage.said == [
        *DOOR, *WORK, "infer", "postprocess", "outcome", "outcome durable",
    ]  # fmt: skip
    (row,) = reply.rows
    assert row.deidentified is CLEAN
    assert row.prediction.label == "positive"
    assert reply.model.id == MODEL
    assert row.windows == 1


async def test_the_intent_is_durable_before_anything_leaves_this_process() -> None:
    stage = Stage(local=False)
    stage.hold["intent durable"] = asyncio.Event()
    running = asyncio.create_task(stage.predict())
    await stage.reached.setdefault("intent durable", asyncio.Event()).wait()
    assert stage.said == [*DOOR, *WORK, "intent durable"]
    stage.hold["intent durable"].set()
    await running
    assert stage.said[-5:] == [
        "intent durable",
        "infer",
        "postprocess",
        "outcome",
        "outcome durable",
    ]


async def test_an_intent_that_never_becomes_durable_keeps_the_rows_here() -> None:
    stage = Stage(local=False)
    stage.fail["intent durable"] = AuditUnavailable()
    with pytest.raises(AuditUnavailable):
        await stage.predict()
    assert "infer" not in stage.said


async def test_a_deidentification_in_order() -> None:
    stage = Stage()
    reply = await stage.deidentification()
    assert stage.said == [
        *DOOR, "authorize", "intent", "deidentify", "outcome", "outcome durable",
    ]  # fmt: skip
    (row,) = reply.rows
    assert row.deidentified is CLEAN
    assert row.prediction is None
    assert reply.model is None


async def test_a_token_seen_before_is_not_verified_again() -> None:
    stage = Stage(cached=False)
    await stage.predict()
    assert stage.said[:3] == ["authenticate", *DOOR]


async def test_the_intent_says_who_does_what() -> None:
    stage = Stage()
    await stage.predict(purpose="TREAT", patient=PHI("patient-7"))
    (intent,) = stage.intents
    assert intent.principal is CALLER
    assert (intent.request_id, intent.trace_id, intent.route) == ("id", "trace", "/v1/predict")
    assert (intent.purpose, intent.policy, intent.policy_hash) == ("TREAT", "safe_harbor", "a" * 64)
    ((policy, policy_hash, tenant, patient),) = stage.handed
    assert (policy, policy_hash, tenant) == ("safe_harbor", "a" * 64, "north")
    assert patient.reveal() == "patient-7"
    assert intent.model == MODEL
    assert intent.patient_pseudonym == "pseudonym-north"
    assert intent.body_digest == "c" * 64
    assert "patient-7" not in repr(intent)
    assert "Jane" not in repr(intent)


async def test_the_outcome_of_a_success() -> None:
    stage = Stage()
    await stage.predict()
    (outcome,) = stage.outcomes
    assert (outcome.request_id, outcome.tenant) == ("id", "north")
    assert (outcome.status, outcome.reason) == (200, "ok")
    assert outcome.phi_counts == {"NAME": 1}
    assert set(outcome.hops_us) == {
        "auth", "admit", "authorize", "intent", "deid", "tokenize", "infer", "post",
    }  # fmt: skip
    assert not stage.refusals


# -- turned away before an intent -----------------------------------------------------------------

AT_THE_DOOR = {
    "no token": ("authenticate", TokenMissing(), []),
    "a bad token": ("authenticate", TokenInvalid(reason="expired"), []),
    "no keys": ("authenticate", KeysUnavailable(), []),
    "no permission": ("permit", Forbidden(reason="scope-route"), ["authenticate"]),
    "no room": ("admit", Overloaded(reason="in-flight-full"), ["authenticate", "permit"]),
}


@pytest.mark.parametrize(("step", "error", "before"), AT_THE_DOOR.values(), ids=AT_THE_DOOR)
async def test_a_refusal_at_the_door_is_recorded_once_and_nothing_follows(
    step, error, before
) -> None:
    stage = Stage(cached=False)
    stage.fail[step] = error
    with pytest.raises(type(error)):
        await stage.predict()
    assert stage.said == [*before, step]
    (refusal,) = stage.refusals
    assert (refusal.route, refusal.status, refusal.reason, refusal.peer) == (
        "/v1/predict", error.status, error.reason, "10.0.0.9",
    )  # fmt: skip
    assert refusal.principal is (None if step == "authenticate" else CALLER)
    assert not stage.intents
    assert stage.admission.in_flight == 0


async def test_a_call_that_reaches_no_route_is_recorded_by_its_address() -> None:
    stage = Stage()
    stage.flow.turn_away("other", NotFound(), "10.0.0.9")
    assert stage.refusals == [Refusal("other", 404, "not-found", None, "10.0.0.9")]
    assert stage.said == []


async def test_the_development_issuer_serves_no_proxy() -> None:
    stage = Stage()
    stage.flow.direct_only = True
    with pytest.raises(ProxyRefused):
        await stage.enter(proxied=True)
    assert stage.said == []
    assert [refusal.reason for refusal in stage.refusals] == ["proxy-refused"]
    await stage.enter(proxied=False)


async def test_a_proxy_passes_where_issuers_are_configured() -> None:
    assert (await Stage().enter(proxied=True)).principal is CALLER


AFTER_THE_BODY = {
    "a policy without its scope": ({"policy": "weak"}, "sentiment", Forbidden),
    "a policy that is none": ({"policy": "none"}, "sentiment", PolicyUnknown),
    "a model without its scope": ({}, "other", Forbidden),
    "a model that is not served": ({}, "unserved", ModelUnknown),
}


@pytest.mark.parametrize(("context", "model", "error"), AFTER_THE_BODY.values(), ids=AFTER_THE_BODY)
async def test_a_refusal_by_the_body_is_recorded_once_and_nothing_follows(
    context, model, error
) -> None:
    stage = Stage()
    with pytest.raises(error):
        await stage.predict(model=model, **context)
    assert stage.said == [*DOOR, "authorize"]
    assert [(r.status, r.principal) for r in stage.refusals] == [(error.status, CALLER)]
    assert not stage.intents
    assert not stage.outcomes
    assert stage.slot.released == 1


async def test_a_full_audit_queue_refuses_before_the_text_is_touched() -> None:
    stage = Stage()
    stage.fail["intent"] = Overloaded(reason="audit-queue-full")
    with pytest.raises(Overloaded):
        await stage.predict()
    assert stage.said == [*DOOR, "authorize", "intent"]
    assert [refusal.reason for refusal in stage.refusals] == ["audit-queue-full"]
    assert not stage.outcomes


# -- after an intent ------------------------------------------------------------------------------

IN_THE_WORK = {
    "detector": ("deidentify", DetectorFailed()),
    "tokenizer": ("tokenize", NoteExceedsModel()),
    "engine": ("infer", EngineUnavailable(reason="engine-gone")),
    "result": ("postprocess", ModelOutputInvalid()),
}


@pytest.mark.parametrize(("step", "error"), IN_THE_WORK.values(), ids=IN_THE_WORK)
async def test_a_refusal_in_the_work_ends_it_with_one_outcome(step, error) -> None:
    stage = Stage()
    stage.fail[step] = error
    with pytest.raises(type(error)):
        await stage.predict()
    assert stage.said[-3:] == [step, "outcome", "outcome durable"]
    (outcome,) = stage.outcomes
    assert (outcome.status, outcome.reason) == (error.status, error.reason)
    assert outcome.phi_counts == {}
    assert not stage.refusals
    assert stage.slot.released == 1


@pytest.mark.parametrize("step", ["deidentify", "tokenize", "infer", "postprocess"])
async def test_a_fault_in_the_work_ends_it_with_one_outcome(step) -> None:
    stage = Stage()
    stage.fail[step] = ZeroDivisionError("Jane Roe")
    with pytest.raises(ZeroDivisionError):
        await stage.predict()
    assert [(o.status, o.reason) for o in stage.outcomes] == [(500, "internal")]
    assert "Jane" not in repr(stage.outcomes)
    assert stage.said[stage.said.index(step) + 1] == "outcome"


@pytest.mark.parametrize("step", ["deidentify", "infer"])
async def test_a_caller_that_leaves_has_an_outcome_too(step) -> None:
    stage = Stage()
    stage.hold[step] = asyncio.Event()
    running = asyncio.create_task(stage.predict())
    await stage.reached.setdefault(step, asyncio.Event()).wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [(o.status, o.reason) for o in stage.outcomes] == [(CLIENT_LEFT, "client-left")]
    assert stage.said[-1] == "outcome"
    assert stage.slot.released == 1
    assert stage.admission.in_flight == 0


async def test_a_caller_that_leaves_while_its_outcome_is_written_has_one_outcome() -> None:
    stage = Stage()
    stage.hold["outcome durable"] = asyncio.Event()
    running = asyncio.create_task(stage.predict())
    await stage.reached.setdefault("outcome durable", asyncio.Event()).wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [outcome.reason for outcome in stage.outcomes] == ["ok"]


@pytest.mark.parametrize("step", ["deidentify", "infer", "intent durable"])
async def test_a_deadline_ends_every_wait(step) -> None:
    stage = Stage(local=False)
    stage.hold[step] = asyncio.Event()
    with pytest.raises(DeadlineExceeded):
        await asyncio.wait_for(stage.predict(timeout_ms=10), 10)
    assert [(o.status, o.reason) for o in stage.outcomes] == [(504, "deadline-exceeded")]
    assert stage.said[-1] == "outcome durable"


async def test_the_deadline_that_the_steps_get_is_the_callers() -> None:
    stage = Stage()
    before = time.monotonic()
    await stage.predict(timeout_ms=5_000)
    assert before + 5 <= stage.deadlines[0] <= time.monotonic() + 5


# -- the record decides ---------------------------------------------------------------------------


async def test_a_reply_whose_outcome_does_not_become_durable_is_withheld() -> None:
    stage = Stage()
    stage.fail["outcome durable"] = AuditUnavailable()
    with pytest.raises(AuditUnavailable):
        await stage.predict()
    assert stage.slot.released == 1


async def test_a_refusal_whose_outcome_does_not_become_durable_is_told_as_such() -> None:
    stage = Stage()
    stage.fail["infer"] = EngineUnavailable()
    stage.fail["outcome durable"] = AuditUnavailable()
    with pytest.raises(AuditUnavailable):
        await stage.predict()


class Broken:
    """A sink whose disk takes so many commits and no more."""

    def __init__(self, commits: int) -> None:
        self.left = commits

    def append(self, entries) -> None:
        if self.left < len(entries):
            raise AuditUnavailable(reason="disk-full")
        self.left -= len(entries)

    def seal(self) -> None:
        pass

    probe = close = seal


@pytest.mark.parametrize("commits", [0, 1])
async def test_with_the_real_recorder_a_broken_disk_withholds_the_reply(commits) -> None:
    stage = Stage()
    recorder = Recorder(Broken(commits), queue=100)
    recorder.start()
    stage.flow.recorder = recorder
    try:
        with pytest.raises(AuditUnavailable):
            await stage.predict()
    finally:
        await recorder.close()


# -- room -----------------------------------------------------------------------------------------


async def test_room_is_held_while_the_request_runs_and_given_back_once() -> None:
    stage = Stage(concurrency=1)
    stage.hold["infer"] = asyncio.Event()
    running = asyncio.create_task(stage.predict())
    await stage.reached.setdefault("infer", asyncio.Event()).wait()
    assert stage.admission.in_flight == 1
    slot = stage.slot
    with pytest.raises(TooManyInFlight):
        await stage.predict()
    stage.hold["infer"].set()
    await running
    assert slot.released == 1
    assert stage.admission.in_flight == 0
    await stage.predict()


async def test_long_texts_are_tokenized_off_the_event_loop(monkeypatch) -> None:
    stage = Stage()
    threads: list[int] = []
    long = Deidentified(CleanText("word " * 1000), (), (), "safe_harbor", "a" * 64)
    served = ServedModel(
        MODEL,
        LABELS,
        lambda text: threads.append(threading.get_ident()) or Encoding(([1],)),
        stage._postprocess,
    )
    stage.flow.models = serving(served)
    await stage.predict()

    async def deidentify(text, *, policy, policy_hash, tenant, context, deadline):
        return long

    monkeypatch.setattr(stage, "deidentify", deidentify)
    await stage.predict()
    assert threads[0] == threading.get_ident()
    assert threads[1] != threading.get_ident()


async def test_several_notes_make_one_intent_one_call_and_a_row_each(monkeypatch) -> None:
    stage = Stage()
    names = {"[NAME] is well": 0.1, "well again": 0.2, "and long": 0.3}
    clean = iter(
        [
            CLEAN,
            Deidentified(CleanText("well again"), (), (), "safe_harbor", "a" * 64),
            dataclasses.replace(CLEAN, text=CleanText("and long")),
        ]
    )
    calls: list[Encoding] = []

    async def deidentify(text, *, policy, policy_hash, tenant, context, deadline):
        return next(clean)

    async def infer(model, encoding, *, deadline, priority):
        calls.append(encoding)
        return np.array([[row[0] / 10, len(row)] for row in encoding.rows], np.float32)

    def tokenize(text):
        first = round(names[text] * 10)
        return Encoding(([first], [first, 0]) if text == "and long" else ([first],))

    def postprocess(logits):
        assert len(logits) == (2 if logits[0, 0] > 0.25 else 1)
        return Prediction("positive", float(logits[0, 0]), {})

    monkeypatch.setattr(stage, "deidentify", deidentify)
    monkeypatch.setattr(stage, "infer", infer)
    stage.flow.models = serving(ServedModel(MODEL, LABELS, tokenize, postprocess))
    admitted = await stage.enter()
    ask = Ask([PHI("a"), PHI("b"), PHI("c")], RequestContext(), "c" * 64, "sentiment")
    reply = await stage.flow.predict(admitted, ask)
    admitted.leave()
    assert len(calls) == 1
    assert [row.deidentified.text for row in reply.rows] == list(names)
    assert [row.prediction.score for row in reply.rows] == pytest.approx([0.1, 0.2, 0.3])
    assert [row.windows for row in reply.rows] == [1, 1, 2]
    assert [intent.rows for intent in stage.intents] == [3]
    assert [outcome.phi_counts for outcome in stage.outcomes] == [{"NAME": 2}]


async def test_another_version_than_the_one_that_serves_is_unknown() -> None:
    stage = Stage()
    admitted = await stage.enter()
    ask = Ask([PHI("a")], RequestContext(), "c" * 64, "sentiment", "2")
    with pytest.raises(ModelUnknown):
        await stage.flow.predict(admitted, ask)
    admitted.leave()
    assert [refusal.reason for refusal in stage.refusals] == ["model-unknown"]


# -- a candidate beside the model that serves -----------------------------------------------------

CANDIDATE = ModelId("sentiment", "2", "d" * 64)


class Beside(Stage):
    """A stage with a candidate that gets every request; `broken` is what it raises."""

    def __init__(self, goal=Goal.CANARY, broken=None, *, tokenize=None, **options) -> None:
        super().__init__(**options)
        self.mirrored: list = []
        self.asked: list[tuple[str, float]] = []
        self.broken = broken
        second = ServedModel(CANDIDATE, LABELS, tokenize or self._tokenize, self._postprocess)
        self.flow.models = serving(
            ServedModel(MODEL, LABELS, self._tokenize, self._postprocess),
            lambda *shown: self.mirrored.append(shown[1:]),
            candidate=Prepared(second, ()),
            goal=goal,
            percent=100,
        )
        self.score = self.flow.models.rules["sentiment"].score

    async def infer(self, model, encoding, *, deadline, priority):
        self.asked.append((model, deadline))
        if model == CANDIDATE.digest and self.broken is not None:
            raise self.broken
        return await super().infer(model, encoding, deadline=deadline, priority=priority)


async def test_a_canary_answers_and_is_what_the_intent_names() -> None:
    stage = Beside()
    reply = await stage.predict()
    assert reply.model.id == CANDIDATE
    assert [intent.model for intent in stage.intents] == [CANDIDATE]
    assert [outcome.model for outcome in stage.outcomes] == [None]
    tally = stage.score.tally()
    assert (tally.candidate.requests, tally.candidate.errors, tally.stable.requests) == (1, 0, 0)


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (ModelOutputInvalid(), "model-output-invalid"),
        (EngineUnavailable(reason="run-failed"), "run-failed"),
        (DeadlineExceeded(), "deadline-exceeded"),
        (ModelUnknown(), "model-gone"),
        (RuntimeError("a fault"), "internal"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_a_request_that_a_canary_fails_is_answered_by_the_model_that_serves(
    broken, reason, local
) -> None:
    stage = Beside(broken=broken, local=local)
    reply = await stage.predict()
    assert reply.model.id == MODEL
    assert [model for model, _ in stage.asked] == [CANDIDATE.digest, MODEL.digest]
    assert stage.asked[0][1] < stage.asked[1][1], "there is time left for the second"
    (outcome,) = stage.outcomes
    assert (outcome.status, outcome.reason) == (200, "ok")
    assert (outcome.model, outcome.fallback) == (MODEL, reason)
    tally = stage.score.tally()
    assert (tally.candidate.requests, tally.candidate.errors) == (1, 1)
    assert stage.flow.models.drained == 0
    assert not stage.flow.models._leases._held


async def test_a_note_that_a_canary_cannot_tokenize_is_answered_all_the_same() -> None:
    def tokenize(text):
        raise NoteExceedsModel

    stage = Beside(tokenize=tokenize)
    assert (await stage.predict()).model.id == MODEL
    assert [model for model, _ in stage.asked] == [MODEL.digest]
    assert stage.outcomes[0].fallback == "note-exceeds-model"


async def test_what_fails_both_is_not_counted_against_the_canary() -> None:
    stage = Beside()
    stage.fail["infer"] = EngineUnavailable()
    with pytest.raises(EngineUnavailable):
        await stage.predict()
    assert stage.score.tally().candidate.requests == 0
    assert not stage.flow.models._leases._held


async def test_a_record_that_cannot_be_written_asks_no_second_model() -> None:
    stage = Beside(local=False)
    stage.fail["intent durable"] = AuditUnavailable()
    with pytest.raises(AuditUnavailable):
        await stage.predict()
    assert stage.score.tally().candidate.requests == 0


async def test_a_shadow_sees_clean_text_alone_and_the_record_says_so() -> None:
    stage = Beside(Goal.SHADOW)
    reply = await stage.predict()
    assert reply.model.id == MODEL
    assert stage.mirrored == [([CLEAN.text], [reply.rows[0].prediction.label])]
    assert [intent.obligations for intent in stage.intents] == [{"shadow:2"}]
    assert [intent.model for intent in stage.intents] == [MODEL]


async def test_a_model_that_is_gone_from_the_engine_is_told_as_unavailable() -> None:
    stage = Stage()
    stage.fail["infer"] = ModelUnknown()
    with pytest.raises(EngineUnavailable) as told:
        await stage.predict()
    assert told.value.retry_after == 1.0
