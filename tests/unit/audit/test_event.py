from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from wardgate.audit import event
from wardgate.types import Intent, ModelChange, ModelId, Outcome, Refusal


def test_intent_says_who_what_and_nothing_of_the_text(make):
    entry = event.intent_entry(make.intent("r-9"), make.now)
    assert entry[:4] == ("north", "intent", "r-9", make.now)
    assert orjson.loads(entry.event) == {
        "body_digest": "c" * 64,
        "client_id": "client-1",
        "iss": "https://issuer.test",
        "jti": "jti-1",
        "kind": "intent",
        "model": {"digest": "a" * 64, "name": "sentiment", "version": "1.0.0"},
        "obligations": [],
        "patient": None,
        "policy": "safe_harbor",
        "policy_hash": "b" * 64,
        "purpose": "TREAT",
        "request_id": "r-9",
        "route": "/v1/predict",
        "rows": 1,
        "sub": "subject-1",
        "tenant": "north",
        "time": make.now,
        "trace_id": "0" * 32,
    }


def test_every_field_of_an_intent_is_recorded(make):
    """A field added to `Intent` must be recorded, or left out here on purpose."""
    names = {"model", "principal", "patient_pseudonym"}
    intent = replace(make.intent(), reason_digest="d" * 64)
    recorded = set(orjson.loads(event.intent_entry(intent, make.now).event))
    assert set(Intent.__slots__) - names <= recorded


def test_intent_without_a_model_has_none(make):
    bare = make.intent()
    values = {name: getattr(bare, name) for name in Intent.__slots__} | {"model": None}
    assert "model" not in orjson.loads(event.intent_entry(Intent(**values), make.now).event)


def test_outcome_says_how_it_ended(make):
    entry = event.outcome_entry(make.outcome("r-9"), make.now)
    assert entry[:4] == ("north", "outcome", "r-9", make.now)
    assert orjson.loads(entry.event) == {
        "hops_us": {"deid": 120},
        "kind": "outcome",
        "phi_counts": {"NAME": 1},
        "reason": "ok",
        "request_id": "r-9",
        "status": 200,
        "tenant": "north",
        "time": make.now,
    }


def test_a_release_names_its_reason_by_digest_and_its_patients_by_pseudonym(make):
    intent = event.intent_entry(replace(make.intent(), reason_digest="d" * 64), make.now)
    assert orjson.loads(intent.event)["reason_digest"] == "d" * 64
    assert "reason_digest" not in orjson.loads(event.intent_entry(make.intent(), make.now).event)
    outcome = event.outcome_entry(replace(make.outcome("r"), patients=("p1", "p2")), make.now)
    assert orjson.loads(outcome.event)["patients"] == ["p1", "p2"]


def test_what_an_operator_does_to_a_vault_is_recorded_under_its_tenant(make):
    entry = event.vault_entry(
        "north", make.now, action="destroy", stage="intent", key="k" * 16, by="root"
    )
    assert entry[:4] == ("north", "vault", "", make.now)
    assert orjson.loads(entry.event) == {
        "action": "destroy",
        "by": "root",
        "key": "k" * 16,
        "kind": "vault",
        "request_id": "",
        "stage": "intent",
        "tenant": "north",
        "time": make.now,
    }
    assert event.VAULT in event.KINDS


def test_events_are_canonical(make):
    refusal = Refusal("/v1/predict", 403, "scope", make.principal(), None)
    entries = [
        event.intent_entry(make.intent(), make.now),
        event.outcome_entry(make.outcome(), make.now),
        event.denial_entry(refusal, make.principal(), make.now),
        event.refusals_entry("-", [{"route": "r", "count": 2}], 3, make.now - 5, make.now),
        event.start_entry("1.0", True, make.now),
    ]
    assert [entry.kind for entry in entries] == ["intent", "outcome", "denial", "refusals", "start"]
    for entry in entries:
        value = orjson.loads(entry.event)
        assert entry.event == orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        assert entry[:4] == (value["tenant"], value["kind"], value["request_id"], value["time"])
        assert entry.kind in event.KINDS


def test_a_value_without_utf8_is_refused_and_not_repeated(make):
    with pytest.raises(ValueError, match="no UTF-8 form") as caught:
        event.intent_entry(make.intent(caller=make.principal(subject="Jane\ud800")), make.now)
    assert "Jane" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_outcome_names_the_model_that_answered_in_place_of_another():
    model = ModelId("sentiment", "1", "a" * 64)
    outcome = Outcome("r-9", "north", 200, "ok", model=model, fallback="model-output-invalid")
    told = orjson.loads(event.outcome_entry(outcome, 1).event)
    assert told["model"] == {"digest": "a" * 64, "name": "sentiment", "version": "1"}
    assert told["fallback"] == "model-output-invalid"


def test_a_step_of_a_change_says_who_asked_or_that_nobody_did(make):
    one, two = ModelId("sentiment", "1", "a" * 64), ModelId("sentiment", "2", "b" * 64)
    asked = ModelChange(
        "r-9", make.intent().principal, "canary", "verifying", "running", "", one, two, 5
    )
    entry = event.change_entry(asked, make.now)
    assert entry[:4] == ("north", "change", "r-9", make.now)
    assert orjson.loads(entry.event) == {
        "action": "canary",
        "candidate": {"digest": "b" * 64, "name": "sentiment", "version": "2"},
        "client_id": "client-1",
        "iss": "https://issuer.test",
        "jti": "jti-1",
        "kind": "change",
        "percent": 5,
        "reason": "",
        "request_id": "r-9",
        "serves": {"digest": "a" * 64, "name": "sentiment", "version": "1"},
        "stage": "verifying",
        "state": "running",
        "sub": "subject-1",
        "tenant": "north",
        "time": make.now,
    }
    step = ModelChange("r-9", None, "canary", "serving", "rolled-back", "it failed", one, None)
    told = orjson.loads(event.change_entry(step, make.now).event)
    assert (told["tenant"], told["candidate"], told["reason"]) == ("-", None, "it failed")
    assert "sub" not in told
