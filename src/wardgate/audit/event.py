"""What an audit record says, as canonical bytes. Pure: times are passed in.

Recorded by design: the identities of the access token (`iss`, `sub`, `client_id` or `azp`, `jti`),
the tenant, and what was asked for by name or digest. Never recorded: text, tensors, or a patient's
own identifier.
45 CFR 164.312(b) asks for records of activity; 45 CFR 164.316(b)(2)(i) for six years of keeping.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import orjson

from wardgate.types import Intent, ModelChange, ModelId, Outcome, Principal, Refusal

NO_TENANT: Final = "-"
"""Tenant of records that belong to none: starts of the gateway, callers not known."""

INTENT: Final = "intent"
OUTCOME: Final = "outcome"
REFUSALS: Final = "refusals"
DENIAL: Final = "denial"
START: Final = "start"
CHANGE: Final = "change"
VAULT: Final = "vault"
KINDS: Final = (INTENT, OUTCOME, REFUSALS, DENIAL, START, CHANGE, VAULT)


class Entry(NamedTuple):
    """An event ready for the chain: the columns to search by, and its canonical JSON."""

    tenant: str
    kind: str
    request_id: str
    """Empty for records that belong to no single request."""
    time: int
    """Microseconds since 1970-01-01T00:00:00Z."""
    event: bytes
    """UTF-8 JSON object with sorted keys, repeating the four columns."""


def intent_entry(intent: Intent, time: int) -> Entry:
    """Return the record of what a principal is about to do, at `time` (microseconds).

    Raises ValueError where a value has no UTF-8 form.
    """
    principal = intent.principal
    model = intent.model
    event: dict[str, object] = {
        "body_digest": intent.body_digest,
        "obligations": sorted(intent.obligations),
        "patient": intent.patient_pseudonym,
        "policy": intent.policy,
        "policy_hash": intent.policy_hash,
        "purpose": intent.purpose,
        "route": intent.route,
        "rows": intent.rows,
        "trace_id": intent.trace_id,
        "client_id": principal.client,
        "iss": principal.issuer,
        "jti": principal.token_id,
        "sub": principal.subject,
    }
    if model is not None:
        event["model"] = _model(model)
    if intent.reason_digest:
        event["reason_digest"] = intent.reason_digest
    return _entry(principal.tenant, INTENT, intent.request_id, time, event)


def outcome_entry(outcome: Outcome, time: int) -> Entry:
    """Return the record of how an intent ended, at `time` (microseconds).

    Raises ValueError where a value has no UTF-8 form.
    """
    event: dict[str, object] = {
        "hops_us": outcome.hops_us,
        "phi_counts": outcome.phi_counts,
        "reason": outcome.reason,
        "status": outcome.status,
    }
    if outcome.model is not None:
        event["model"] = _model(outcome.model)
        event["fallback"] = outcome.fallback
    if outcome.patients:
        event["patients"] = outcome.patients
    return _entry(outcome.tenant, OUTCOME, outcome.request_id, time, event)


def change_entry(change: ModelChange, time: int) -> Entry:
    """Return the record of one step of a change of what serves, at `time` (microseconds).

    Raises ValueError where a value has no UTF-8 form.
    """
    principal = change.principal
    event: dict[str, object] = {
        "action": change.action,
        "candidate": change.candidate and _model(change.candidate),
        "percent": change.percent,
        "reason": change.reason,
        "serves": _model(change.serves),
        "stage": change.stage,
        "state": change.state,
    }
    if principal is not None:
        event |= {
            "client_id": principal.client,
            "iss": principal.issuer,
            "jti": principal.token_id,
            "sub": principal.subject,
        }
    tenant = principal.tenant if principal is not None else NO_TENANT
    return _entry(tenant, CHANGE, change.id, time, event)


def denial_entry(refusal: Refusal, principal: Principal, time: int) -> Entry:
    """Return the record of one known principal's first denial on a route, at `time`.

    Raises ValueError where a value has no UTF-8 form.
    """
    event: dict[str, object] = {
        "client_id": principal.client,
        "iss": principal.issuer,
        "jti": principal.token_id,
        "reason": refusal.reason,
        "route": refusal.route,
        "status": refusal.status,
        "sub": principal.subject,
    }
    return _entry(principal.tenant, DENIAL, "", time, event)


def refusals_entry(
    tenant: str,
    counts: Iterable[Mapping[str, object]],
    others: int,
    since: int,
    time: int,
) -> Entry:
    """Return the record of all calls of a tenant turned away from `since` to `time`.

    `others` counts the calls beyond the record's bound. Raises ValueError where a value has no
    UTF-8 form.
    """
    event: dict[str, object] = {"counts": list(counts), "others": others, "since": since}
    return _entry(tenant, REFUSALS, "", time, event)


def start_entry(version: str, resumed: bool, time: int) -> Entry:
    """Return the record of a gateway process that opened the chain, at `time`."""
    return _entry(NO_TENANT, START, "", time, {"resumed": resumed, "version": version})


def vault_entry(tenant: str, time: int, *, action: str, stage: str, key: str, by: str) -> Entry:
    """Return the record of what an operator does to a tenant's vault on the machine, at `time`.

    `action` is `destroy`; `stage` is `intent` before it and `done` or `nothing` after; `key` is the
    id of the data key, `by` the operator's account. Raises ValueError where a value has no UTF-8
    form.
    """
    return _entry(tenant, VAULT, "", time, {"action": action, "by": by, "key": key, "stage": stage})


def _model(model: ModelId) -> dict[str, str]:
    return {"digest": model.digest, "name": model.name, "version": model.version}


def _entry(tenant: str, kind: str, request_id: str, time: int, event: dict[str, object]) -> Entry:
    event["kind"] = kind
    event["request_id"] = request_id
    event["tenant"] = tenant
    event["time"] = time
    try:
        encoded = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # a lone surrogate; its text may be the caller's and is not repeated
        raise ValueError("An audit value has no UTF-8 form.") from None
    return Entry(tenant, kind, request_id, time, encoded)
