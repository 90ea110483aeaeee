"""The REST shell of the flow: `POST /v1/predict` and `POST /v1/deidentify`.

Each handler enters the flow by the headers, reads one bounded body, parses it once, and shapes the
reply. Everything in between is `flow.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson

from wardgate.errors import (
    AuditUnavailable,
    BodyIncomplete,
    BodyInvalid,
    BodyNotJson,
    BodyNotUtf8,
    BodyTimeout,
    BodyTooDeep,
    BodyTooLarge,
    ContentTypeUnsupported,
    DeadlineExceeded,
    DetectorFailed,
    EngineUnavailable,
    Forbidden,
    KeysUnavailable,
    ModelOutputInvalid,
    ModelUnknown,
    NoteExceedsModel,
    Overloaded,
    PeerRefused,
    PolicyUnknown,
    ProxyRefused,
    QuotaUsedUp,
    RateLimited,
    RequestMalformed,
    TextTooLong,
    TokenInvalid,
    TokenMissing,
    TooManyInFlight,
    WardgateError,
)
from wardgate.flow import CLIENT_LEFT, Admitted, Ask, Flow, Head, Reply
from wardgate.setting_groups import Limits
from wardgate.types import Permission
from wardgate.web.body import CallerLeft, take, watched
from wardgate.web.middleware import Call, Receive, Scope, Send, is_proxied, send_reply
from wardgate.web.routes import Endpoint
from wardgate.web.schemas import (
    EXAMPLE_CLEAN,
    EXAMPLE_NOTE,
    DeidentifyBody,
    DeidentifyReply,
    PredictBody,
    PredictReply,
    parse,
)

DOOR_ERRORS: tuple[type[WardgateError], ...] = (
    TokenMissing,
    TokenInvalid,
    KeysUnavailable,
    Forbidden,
    ProxyRefused,
    PeerRefused,
    RateLimited,
    QuotaUsedUp,
    TooManyInFlight,
    Overloaded,
)
BODY_ERRORS: tuple[type[WardgateError], ...] = (
    BodyIncomplete,
    BodyInvalid,
    BodyNotJson,
    BodyNotUtf8,
    BodyTimeout,
    BodyTooDeep,
    BodyTooLarge,
    ContentTypeUnsupported,
    RequestMalformed,
    TextTooLong,
)
WORK_ERRORS: tuple[type[WardgateError], ...] = (
    PolicyUnknown,
    DetectorFailed,
    DeadlineExceeded,
    AuditUnavailable,
)
MODEL_ERRORS: tuple[type[WardgateError], ...] = (
    ModelUnknown,
    NoteExceedsModel,
    EngineUnavailable,
    ModelOutputInvalid,
)

_Body = TypeVar("_Body", PredictBody, DeidentifyBody)
_JSON = (b"content-type", b"application/json")


@dataclass(frozen=True, slots=True)
class _Way(Generic[_Body]):
    """What tells one route from the other."""

    permission: Permission
    body: type[_Body]
    work: Callable[[Flow, Admitted, Ask], Awaitable[Reply]]
    shape: Callable[[Reply, _Body, Call], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Rest:
    """The two routes, with what they need."""

    flow: Flow
    limits: Limits
    digest: Callable[[bytes], str]
    """Keyed digest of a body for the audit record, hex."""

    def endpoints(self) -> list[Endpoint]:
        """Return the declarations of the routes."""
        return [
            Endpoint(
                method="POST",
                path="/v1/predict",
                permission=Permission.INFER,
                handler=self.predict,
                tag="Clinical text",
                summary="Predict on a clinical note",
                description=(
                    "De-identifies the text, runs the model on what is left, and returns the "
                    "prediction with the de-identified text. With `texts`, several notes in one "
                    "request: the reply then holds a list of `rows` in their order, each with "
                    "`label`, `score`, `scores`, `text` and `windows`. Scope `infer:<model>`."
                ),
                errors=(*DOOR_ERRORS, *BODY_ERRORS, *WORK_ERRORS, *MODEL_ERRORS),
                body=PredictBody,
                body_example={"model": "sentiment", "text": EXAMPLE_NOTE},
                reply=PredictReply,
                reply_example={
                    "label": "positive",
                    "score": 0.9978,
                    "scores": {"negative": 0.0022, "positive": 0.9978},
                    "text": EXAMPLE_CLEAN,
                    "model": "sentiment",
                    "version": "1",
                    "policy": "safe_harbor",
                    "policy_hash": "9f2c" + "0" * 60,
                    "windows": 1,
                    "request_id": "6b0f3a52-5a1b-4a3e-9a53-2f4a4c3a9d10",
                },
            ),
            Endpoint(
                method="POST",
                path="/v1/deidentify",
                permission=Permission.DEID,
                handler=self.deidentify,
                tag="Clinical text",
                summary="De-identify a clinical note",
                description=(
                    "Returns the text with its PHI replaced, and where it was. Scope `deid`, or "
                    "`deid:<policy>` for a policy weaker than the default."
                ),
                errors=(*DOOR_ERRORS, *BODY_ERRORS, *WORK_ERRORS),
                body=DeidentifyBody,
                body_example={"text": EXAMPLE_NOTE},
                reply=DeidentifyReply,
                reply_example={
                    "text": EXAMPLE_CLEAN,
                    "spans": [
                        {"start": 3, "end": 13, "label": "NAME", "score": 0.95},
                        {"start": 20, "end": 30, "label": "DATE", "score": 1.0},
                        {"start": 38, "end": 45, "label": "NAME", "score": 0.95},
                    ],
                    "policy": "safe_harbor",
                    "policy_hash": "9f2c" + "0" * 60,
                    "request_id": "6b0f3a52-5a1b-4a3e-9a53-2f4a4c3a9d10",
                },
            ),
        ]

    def predict(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer `POST /v1/predict`."""
        return self._answer(_PREDICT, scope, receive, send)

    def deidentify(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer `POST /v1/deidentify`."""
        return self._answer(_DEIDENTIFY, scope, receive, send)

    async def _answer(self, way: _Way[_Body], scope: Scope, receive: Receive, send: Send) -> None:
        """Enter the flow, read the body, do the work and send the reply in its shape."""
        call: Call = scope["wardgate"]
        admitted = await self.flow.enter(head(scope, way.permission), call.hops)
        try:
            body, ask = await self._read(way.body, admitted, scope, receive)
            reply = await watched(way.work(self.flow, admitted, ask), scope)
        except CallerLeft:
            call.status = CLIENT_LEFT
            return
        finally:
            admitted.leave()
        await send_reply(send, 200, [_JSON], orjson.dumps(way.shape(reply, body, call)))

    async def _read(
        self,
        kind: type[_Body],
        admitted: Admitted,
        scope: Scope,
        receive: Receive,
    ) -> tuple[_Body, Ask]:
        """Read and parse the body; a refusal is recorded."""
        with self.flow.refusing(admitted):
            raw = await take(scope, receive, self.limits)
            body = parse(kind, raw, nesting=self.limits.nesting)
            ask = body.ask(self.limits, digest=self.digest(raw))
        admitted.hops.mark("read")
        return body, ask


def head(scope: Scope, permission: Permission) -> Head:
    """Return what is known of a request before its body."""
    call: Call = scope["wardgate"]
    client = scope.get("client")
    return Head(
        request_id=call.request_id,
        trace_id=call.trace_id,
        route=call.route,
        permission=permission,
        authorization=[value for name, value in scope["headers"] if name == b"authorization"],
        peer=client[0] if client else None,
        proxied=is_proxied(scope["headers"]),
    )


def _prediction(reply: Reply, body: PredictBody, call: Call) -> dict[str, Any]:
    """Return the body of a prediction: `PredictReply`, or `BulkReply` for `texts`."""
    assert reply.model is not None
    rows: list[dict[str, Any]] = []
    for row in reply.rows:
        assert row.prediction is not None
        rows.append(
            {
                "label": row.prediction.label,
                "score": row.prediction.score,
                "scores": row.prediction.scores,
                "text": row.deidentified.text,
                "windows": row.windows,
            }
        )
    about = {"model": reply.model.id.name, "version": reply.model.id.version, **_about(reply, call)}
    return {"rows": rows, **about} if body.texts is not None else {**rows[0], **about}


def _deidentified(reply: Reply, _: DeidentifyBody, call: Call) -> dict[str, Any]:
    """Return the body of a de-identification, as `DeidentifyReply` describes it."""
    clean = reply.rows[0].deidentified
    spans = [
        {"start": s.start, "end": s.end, "label": s.label, "score": s.score} for s in clean.spans
    ]
    return {"text": clean.text, "spans": spans, **_about(reply, call)}


def _about(reply: Reply, call: Call) -> dict[str, Any]:
    clean = reply.rows[0].deidentified
    return {
        "policy": clean.policy,
        "policy_hash": clean.policy_hash,
        "request_id": call.request_id,
    }


_PREDICT = _Way(Permission.INFER, PredictBody, Flow.predict, _prediction)
_DEIDENTIFY = _Way(Permission.DEID, DeidentifyBody, Flow.deidentify, _deidentified)
