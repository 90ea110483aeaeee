"""The route that turns vault codes back: `POST /v1/reidentify`.

Known, permitted and admitted; then the intent is durable before the vault is asked, and the
outcome before the reply: who, for which purpose of use, how many codes of which types, and about
whom (keyed pseudonyms of patients). The reason is recorded as a keyed digest alone, since people
write names into it. Codes are released all or none; unknown, expired, destroyed and other tenants'
codes are refused alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from wardgate.audit.record import Ticket
from wardgate.auth.authorize import PURPOSES
from wardgate.deid.vault import Release
from wardgate.errors import (
    AuditUnavailable,
    BodyInvalid,
    CodeUnknown,
    DeadlineExceeded,
    TextTooLong,
    VaultUnavailable,
)
from wardgate.flow import CLIENT_LEFT, Admitted, Flow
from wardgate.request import conclude
from wardgate.setting_groups import Limits
from wardgate.types import Intent, Outcome, Permission
from wardgate.web.body import CallerLeft, check_headers, read, watched
from wardgate.web.middleware import Call, Receive, Scope, Send, send_reply
from wardgate.web.reidentify_schemas import ReidentifyBody, ReidentifyReply
from wardgate.web.rest import BODY_ERRORS, DOOR_ERRORS, head
from wardgate.web.routes import Endpoint
from wardgate.web.schemas import parse

POLICY: Final = "none"
OBLIGATION: Final = "release-of-phi"
_JSON = (b"content-type", b"application/json")
_EXAMPLE = "[NAME:mfrggzdfmztwq2lknnwg23tpob]"


class Vault(Protocol):
    """Where codes lead back."""

    async def release(self, tenant: str, *, given: list[str], text: str | None) -> Release:
        """Return what codes stand for: all of them, or CodeUnknown."""


def reason_digest(digest: Callable[[bytes], str], reason: str) -> str:
    """Return what the record holds of a reason; `digest` is the keyed one, in hex."""
    return digest(b"reason\0" + " ".join(reason.split()).encode())


@dataclass(frozen=True, slots=True)
class Reidentify:
    """The route, with what it needs."""

    flow: Flow
    vault: Vault
    limits: Limits
    digest: Callable[[bytes], str]
    """Keyed digest for the audit record, hex."""

    def endpoints(self) -> list[Endpoint]:
        """Return the declaration of the route."""
        return [
            Endpoint(
                method="POST",
                path="/v1/reidentify",
                permission=Permission.REIDENTIFY,
                handler=self.answer,
                tag="Clinical text",
                summary="Turn vault codes back into what they stand for",
                description=(
                    "Takes `codes`, or a `text` that holds some, with the `purpose` of use and a "
                    "`reason`, and returns what they stand for. All or none: unknown, expired, "
                    "destroyed and other tenants' codes are the same 404. Every release is in the "
                    "audit record before its reply; of the reason a keyed digest. Scope "
                    "`reidentify`."
                ),
                errors=(
                    *DOOR_ERRORS,
                    *BODY_ERRORS,
                    CodeUnknown,
                    VaultUnavailable,
                    DeadlineExceeded,
                    AuditUnavailable,
                ),
                body=ReidentifyBody,
                body_example={
                    "text": f"Pt {_EXAMPLE} is due for review.",
                    "purpose": "TREAT",
                    "reason": "Recall after the safety notice of 12 March",
                },
                reply=ReidentifyReply,
                reply_example={
                    "text": "Pt John Smith is due for review.",
                    "values": [{"code": _EXAMPLE, "value": "John Smith"}],
                    "request_id": "6b0f3a52-5a1b-4a3e-9a53-2f4a4c3a9d10",
                },
            )
        ]

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `POST /v1/reidentify`."""
        call: Call = scope["wardgate"]
        admitted = await self.flow.enter(head(scope, Permission.REIDENTIFY), call.hops)
        try:
            with self.flow.refusing(admitted):
                body, intent = await self._intend(admitted, scope, receive)
            release = await watched(self._release(admitted, body, intent), scope)
        except CallerLeft:
            call.status = CLIENT_LEFT
            return
        finally:
            admitted.leave()
        reply: dict[str, Any] = {
            "text": release.text,
            "values": [{"code": code, "value": value} for code, value in release.values.items()],
            "request_id": call.request_id,
        }
        await send_reply(send, 200, [_JSON], orjson.dumps(reply))

    async def _intend(
        self, admitted: Admitted, scope: Scope, receive: Receive
    ) -> tuple[ReidentifyBody, Ticket]:
        """Read and check the body, and queue the intent."""
        limits = self.limits
        check_headers(scope, media_type=b"application/json", limit=limits.body_bytes)
        raw = await read(receive, limit=limits.body_bytes, seconds=limits.body_seconds)
        body = parse(ReidentifyBody, raw, nesting=limits.nesting)
        if (body.text is None) == (body.codes is None):
            raise BodyInvalid("The request body was refused: exactly one of text and codes.")
        if len(body.text or "") > limits.text_chars:
            raise TextTooLong(f"The text has more than {limits.text_chars} characters.")
        if not body.reason.strip():
            raise BodyInvalid("The request body was refused: reason is empty.", reason="no-reason")
        if body.purpose not in PURPOSES:
            raise BodyInvalid(
                "The purpose is not a code of the HL7 v3 value set PurposeOfUse.",
                reason="purpose-unknown",
            )
        admitted.hops.mark("read")
        head = admitted.head
        return body, self.flow.recorder.intent(
            Intent(
                request_id=head.request_id,
                trace_id=head.trace_id,
                principal=admitted.principal,
                route=head.route,
                purpose=body.purpose,
                policy=POLICY,
                policy_hash="",
                model=None,
                patient_pseudonym=None,
                body_digest=self.digest(raw),
                obligations=frozenset({OBLIGATION}),
                reason_digest=reason_digest(self.digest, body.reason),
            )
        )

    async def _release(self, admitted: Admitted, body: ReidentifyBody, intent: Ticket) -> Release:
        """Ask the vault; intent and outcome are durable when this returns or raises."""

        async def work(_: float) -> Release:
            await intent
            admitted.hops.mark("intent")
            release = await self.vault.release(
                admitted.principal.tenant, given=body.codes or [], text=body.text
            )
            admitted.hops.mark("deid")
            return release

        def outcome(status: int, reason: str, release: Release | None) -> Ticket:
            return self.flow.recorder.outcome(
                Outcome(
                    request_id=admitted.head.request_id,
                    tenant=admitted.principal.tenant,
                    status=status,
                    reason=reason,
                    phi_counts=release.counts if release else {},
                    hops_us=admitted.hops.microseconds(),
                    patients=release.patients if release else (),
                ),
                intent,
            )

        seconds = min(body.timeout_ms, self.limits.timeout_ms) / 1000
        return await conclude(admitted.hops, seconds, work, outcome)
