from __future__ import annotations

import orjson
import pytest

from wardgate.audit import event
from wardgate.types import Intent, Refusal


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
        "sub": "subject-1",
        "tenant": "north",
        "time": make.now,
        "trace_id": "0" * 32,
    }


def test_every_field_of_an_intent_is_recorded(make):
    """A field added to `Intent` must be recorded, or left out here on purpose."""
    names = {"model", "principal", "patient_pseudonym"}
    recorded = set(orjson.loads(event.intent_entry(make.intent(), make.now).event))
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
