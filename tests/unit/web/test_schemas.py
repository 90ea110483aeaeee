"""Bodies: strict, without unknown fields, refused in our own words."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wardgate.errors import BodyInvalid, BodyNotJson, BodyNotUtf8, BodyTooDeep, WardgateError
from wardgate.types import Priority
from wardgate.web.schemas import (
    _KINDS,
    DeidentifyBody,
    PredictBody,
    TokenBody,
    _nests_deeper,
    parse,
)

GOOD = {"model": "sentiment", "text": "Jane Roe is well"}


def body(**fields: object) -> PredictBody:
    return parse(PredictBody, json.dumps({**GOOD, **fields}).encode(), nesting=16)


def test_what_is_left_out_has_the_defaults_of_the_interface() -> None:
    context = body().context(timeout_cap_ms=60_000)
    assert (context.purpose, context.patient, context.policy) == (None, None, None)
    assert context.priority is Priority.INTERACTIVE
    assert context.timeout_ms == 10_000
    assert context.reference_date is None


def test_the_context_is_what_was_sent() -> None:
    sent = body(
        purpose="TREAT",
        patient="patient-7",
        policy="limited_data_set",
        priority="bulk",
        timeout_ms=500,
        reference_date="2024-03-14",
    )
    context = sent.context(timeout_cap_ms=60_000)
    assert (context.purpose, context.policy) == ("TREAT", "limited_data_set")
    assert context.patient.reveal() == "patient-7"
    assert context.priority is Priority.BULK
    assert context.timeout_ms == 500
    assert context.reference_date == dt.date(2024, 3, 14)


@pytest.mark.parametrize("asked", [60_001, 10**30])
def test_the_timeout_is_capped(asked) -> None:
    assert body(timeout_ms=asked).context(timeout_cap_ms=60_000).timeout_ms == 60_000


WRONG = {
    "unknown field": ({"JaneRoe": 1}, "unknown field (known: text, policy"),
    "text as a number": ({"text": 4471}, "text must be a string"),
    "text as null": ({"text": None}, "text must be a string"),
    "model of a wrong form": ({"model": "Jane Roe"}, "model does not have the form"),
    "model as a path": ({"model": "../JaneRoe"}, "model does not have the form"),
    "timeout as text": ({"timeout_ms": "4471"}, "timeout_ms must be an integer"),
    "timeout as a float": ({"timeout_ms": 44.71}, "timeout_ms"),
    "timeout of nothing": ({"timeout_ms": 0}, "timeout_ms is too small"),
    "a priority that is none": ({"priority": "JaneRoe"}, "priority is none of the values"),
    "an empty patient": ({"patient": ""}, "patient is too short"),
    "a long patient": ({"patient": "JaneRoe" * 50}, "patient is too long"),
    "a date that does not exist": ({"reference_date": "2024-02-30"}, "as YYYY-MM-DD"),
    "a date as a number": ({"reference_date": 0}, "as YYYY-MM-DD"),
    "a date with a time": ({"reference_date": "2024-03-14T00:00:00"}, "as YYYY-MM-DD"),
    "a date as a flag": ({"reference_date": True}, "as YYYY-MM-DD"),
    "a purpose of a wrong form": ({"purpose": "JaneRoe"}, "purpose does not have the form"),
}


@pytest.mark.parametrize(("fields", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_field_is_told_by_name_and_its_value_is_not(fields, told) -> None:
    with pytest.raises(BodyInvalid) as refused:
        body(**fields)
    assert told in refused.value.detail
    for secret in ("Jane", "Roe", "4471"):
        assert secret not in refused.value.detail
    assert refused.value.__suppress_context__


def test_a_field_that_is_missing_is_named() -> None:
    with pytest.raises(BodyInvalid, match="text is required; model is required"):
        parse(PredictBody, b"{}", nesting=16)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", BodyNotJson),
        (b"{", BodyNotJson),
        (b"nope", BodyNotJson),
        (b'{"text": "a"} {"text": "b"}', BodyNotJson),
        (b'{"text": NaN}', BodyInvalid),
        (b"null", BodyInvalid),
        (b'"text"', BodyInvalid),
        (b"[]", BodyInvalid),
        (b'{"text": "\xff"}', BodyNotUtf8),
        (b"\xff\xfe{\x00", BodyNotUtf8),
        (b'{"text": "\\ud800"}', BodyNotJson),
        (b'{"text": ' + b"[" * 15 + b"]" * 15 + b"}", BodyInvalid),
        (b'{"text": ' + b"[" * 16 + b"]" * 16 + b"}", BodyTooDeep),
        (b'{"a":' * 100_000, BodyTooDeep),
        (b"[" * 100_000, BodyTooDeep),
    ],
)
def test_what_is_no_body_has_its_own_refusal(raw, error) -> None:
    with pytest.raises(WardgateError) as refused:
        parse(DeidentifyBody, raw, nesting=16)
    assert type(refused.value) is error


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused_in_our_own_words(raw) -> None:
    with contextlib.suppress(BodyInvalid, BodyNotJson, BodyNotUtf8, BodyTooDeep):
        parse(DeidentifyBody, raw, nesting=16)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


def depth(value: object) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 0


@given(JSON, st.integers(1, 6), st.booleans())
def test_nesting_is_counted_right(value, limit, ascii_only) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    assert _nests_deeper(raw, limit) == (depth(value) > limit)


@given(JSON)
def test_a_refusal_never_repeats_what_was_sent(value) -> None:
    with pytest.raises(WardgateError) as refused:
        body(secret="Jane", text=value)
    assert "secret" not in refused.value.detail
    assert "Jane" not in refused.value.detail


def test_a_body_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        body().text = "other"  # type: ignore[misc]


def test_every_kind_of_refusal_reads_as_a_sentence_after_the_field() -> None:
    assert all(text.split()[0] in {"must", "does", "is"} for text in _KINDS.values())


def test_the_token_form_has_one_grant() -> None:
    with pytest.raises(ValidationError):
        TokenBody(grant_type="password")


@pytest.mark.parametrize(
    "piece", [b'\\"', b'"', b"[", b"]", b'["', b"\\", b'"\\', b"{}", b'{"a":'], ids=repr
)
def test_a_bad_body_is_refused_in_linear_time(piece) -> None:
    """A quadratic check of a body would hold up every caller of the worker."""

    def seconds(size: int) -> float:
        body = b'{"model":"sentiment","text":"' + piece * (size // len(piece))
        best = float("inf")
        for _ in range(5):
            began = time.process_time()
            with pytest.raises(WardgateError):
                parse(PredictBody, body, nesting=16)
            best = min(best, time.process_time() - began)
        return best

    ratios = [seconds(1 << 19) / max(seconds(1 << 18), 1e-4) for _ in range(3)]
    assert min(ratios) <= 2.3
    assert seconds(1 << 19) < 0.5


def test_a_note_of_the_future_is_refused() -> None:
    far = (dt.datetime.now(tz=dt.UTC).date() + dt.timedelta(days=30)).isoformat()
    body = parse(
        DeidentifyBody, json.dumps({"text": "x", "reference_date": far}).encode(), nesting=4
    )
    with pytest.raises(BodyInvalid, match="future"):
        body.context(timeout_cap_ms=1000)
