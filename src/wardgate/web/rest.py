"""The REST shell of the flow: `POST /v1/predict` and `POST /v1/deidentify`.

Each handler enters the flow by the headers, reads one bounded body, parses it once, and shapes the
reply. Everything in between is `flow.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

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
    TextTooLong,
    TokenInvalid,
    TokenMissing,
    TooManyInFlight,
    WardgateError,
)
from wardgate.flow import CLIENT_LEFT, Admitted, Ask, Flow, Head, Reply
from wardgate.settings import Limits
from wardgate.types import PHI, Permission
from wardgate.web.body import CallerLeft, check_headers, read, watched
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

_JSON = (b"content-type", b"application/json")
_Body = TypeVar("_Body", PredictBody, DeidentifyBody)


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
                    "prediction with the de-identified text. Scope `infer:<model>`."
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

    async def predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `POST /v1/predict`."""
        call: Call = scope["wardgate"]
        admitted = await self.flow.enter(_head(scope, Permission.INFER), call.hops)
        try:
            body, raw = await self._read(PredictBody, admitted, scope, receive)
            ask = self._ask(body, raw, model=body.model)
            reply = await watched(self.flow.predict(admitted, ask), receive)
        except CallerLeft:
            call.status = CLIENT_LEFT
            return
        finally:
            admitted.leave()
        await send_reply(send, 200, [_JSON], orjson.dumps(_prediction(reply, call)))

    async def deidentify(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `POST /v1/deidentify`."""
        call: Call = scope["wardgate"]
        admitted = await self.flow.enter(_head(scope, Permission.DEID), call.hops)
        try:
            body, raw = await self._read(DeidentifyBody, admitted, scope, receive)
            reply = await watched(self.flow.deidentify(admitted, self._ask(body, raw)), receive)
        except CallerLeft:
            call.status = CLIENT_LEFT
            return
        finally:
            admitted.leave()
        await send_reply(send, 200, [_JSON], orjson.dumps(_deidentified(reply, call)))

    async def _read(
        self, kind: type[_Body], admitted: Admitted, scope: Scope, receive: Receive
    ) -> tuple[_Body, bytes]:
        """Read and parse the body; a refusal is recorded."""
        limits = self.limits
        try:
            check_headers(scope, media_type=b"application/json", limit=limits.body_bytes)
            raw = await read(receive, limit=limits.body_bytes, seconds=limits.body_seconds)
            body = parse(kind, raw, nesting=limits.nesting)
            if len(body.text) > limits.text_chars:
                raise TextTooLong(f"The text has more than {limits.text_chars} characters.")
        except WardgateError as error:
            self.flow.refuse(admitted.head, error, admitted.principal)
            raise
        admitted.hops.mark("read")
        return body, raw

    def _ask(
        self, body: PredictBody | DeidentifyBody, raw: bytes, *, model: str | None = None
    ) -> Ask:
        return Ask(
            text=PHI(body.text),
            context=body.context(timeout_cap_ms=self.limits.timeout_ms),
            body_digest=self.digest(raw),
            model=model,
        )


def _head(scope: Scope, permission: Permission) -> Head:
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
        proxied=is_proxied(scope),
    )


def _prediction(reply: Reply, call: Call) -> dict[str, Any]:
    """Return the body of a prediction, as `PredictReply` describes it."""
    assert reply.prediction is not None
    assert reply.model is not None
    return {
        "label": reply.prediction.label,
        "score": reply.prediction.score,
        "scores": reply.prediction.scores,
        "text": reply.deidentified.text,
        "model": reply.model.name,
        "version": reply.model.version,
        "policy": reply.deidentified.policy,
        "policy_hash": reply.deidentified.policy_hash,
        "windows": reply.windows,
        "request_id": call.request_id,
    }


def _deidentified(reply: Reply, call: Call) -> dict[str, Any]:
    """Return the body of a de-identification, as `DeidentifyReply` describes it."""
    clean = reply.deidentified
    return {
        "text": clean.text,
        "spans": [
            {"start": s.start, "end": s.end, "label": s.label, "score": s.score}
            for s in clean.spans
        ],
        "policy": clean.policy,
        "policy_hash": clean.policy_hash,
        "request_id": call.request_id,
    }
