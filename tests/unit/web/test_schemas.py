"""Bodies: strict, without unknown fields, refused in our own words."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from wardgate.errors import (
    BodyInvalid,
    BodyNotJson,
    BodyNotUtf8,
    BodyTooDeep,
    TextTooLong,
    WardgateError,
)
from wardgate.setting_groups import Limits
from wardgate.types import Priority
from wardgate.web.schemas import (
    _KINDS,
    DeidentifyBody,
    PredictBody,
    TokenBody,
    _nests_deeper,
    parse,
)

LIMITS = Limits()
GOOD = {"model": "sentiment", "text": "Jane Roe is well"}


def body(**fields: object) -> PredictBody:
    return parse(PredictBody, json.dumps({**GOOD, **fields}).encode(), nesting=16)


def test_what_is_left_out_has_the_defaults_of_the_interface() -> None:
    context = body().ask(LIMITS, digest="d").context
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
    ask = sent.ask(LIMITS, digest="d")
    assert (ask.model, ask.body_digest) == ("sentiment", "d")
    assert [text.reveal() for text in ask.texts] == [GOOD["text"]]
    context = ask.context
    assert (context.purpose, context.policy) == ("TREAT", "limited_data_set")
    assert context.patient.reveal() == "patient-7"
    assert context.priority is Priority.BULK
    assert context.timeout_ms == 500
    assert context.reference_date == dt.date(2024, 3, 14)


@pytest.mark.parametrize("asked", [60_001, 10**30])
def test_the_timeout_is_capped(asked) -> None:
    assert body(timeout_ms=asked).ask(LIMITS, digest="d").context.timeout_ms == LIMITS.timeout_ms


WRONG = {
    "unknown field": ({"JaneRoe": 1}, "unknown field (known: policy, purpose"),
    "text as a number": ({"text": 4471}, "text must be a string"),
    "a list that is none": ({"texts": "Jane Roe"}, "texts is not valid"),
    "an empty list": ({"texts": []}, "texts is not valid"),
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


@pytest.mark.parametrize(
    ("kind", "missing"), [(PredictBody, "model is required"), (DeidentifyBody, "text is required")]
)
def test_a_field_that_is_missing_is_named(kind, missing) -> None:
    with pytest.raises(BodyInvalid, match=missing):
        parse(kind, b"{}", nesting=16)


@pytest.mark.parametrize("texts", [{}, {"text": None}, {"text": "Jane", "texts": ["Jane"]}])
def test_a_prediction_takes_exactly_one_of_text_and_texts(texts) -> None:
    sent = parse(PredictBody, json.dumps({"model": "sentiment", **texts}).encode(), nesting=16)
    with pytest.raises(BodyInvalid, match="exactly one of text and texts"):
        sent.ask(LIMITS, digest="d")


def test_texts_are_taken_up_to_the_limits() -> None:
    few = Limits(rows=2, text_chars=4)
    sent = parse(PredictBody, b'{"model": "sentiment", "texts": ["Jane", "Roe"]}', nesting=16)
    assert [text.reveal() for text in sent.ask(few, digest="d").texts] == ["Jane", "Roe"]
    with pytest.raises(BodyInvalid, match="more than 1 texts"):
        sent.ask(Limits(rows=1), digest="d")
    with pytest.raises(TextTooLong):
        sent.ask(Limits(text_chars=3), digest="d")
    alone = parse(DeidentifyBody, b'{"text": "Jane Roe"}', nesting=16)
    with pytest.raises(TextTooLong):
        alone.ask(few, digest="d")


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

    ratios = [seconds(1 << 19) / max(seconds(1 << 18), 1e-4) for _ in range(5)]
    assert min(ratios) <= 2.3
    assert seconds(1 << 19) < 0.5


def test_a_note_of_the_future_is_refused() -> None:
    far = (dt.datetime.now(tz=dt.UTC).date() + dt.timedelta(days=30)).isoformat()
    sent = parse(
        DeidentifyBody, json.dumps({"text": "x", "reference_date": far}).encode(), nesting=4
    )
    with pytest.raises(BodyInvalid, match="future"):
        sent.ask(LIMITS, digest="d")


# -- a name given twice ---------------------------------------------------------------------------


class Nested(BaseModel):
    """A body with objects inside objects."""

    model: str = ""
    inner: dict[str, object] | list[object] | None = None


TWICE = {
    "the same": b'{"text":"a","text":"a"}',
    "one the check would pass": b'{"text":"a","policy":"safe_harbor","policy":"limited_data_set"}',
    "one spelt with an escape": b'{"text":"a","t\\u0065xt":"b"}',
    "one apart": b'{"text":"a","purpose":"TREAT","priority":"bulk","text":"b"}',
    "one that held an object": b'{"text":{"a":[1]},"text":"a"}',
    "three times": b'{"text":"a","text":"b","text":"c"}',
}


@pytest.mark.parametrize("raw", TWICE.values(), ids=TWICE)
def test_a_field_given_twice_is_refused(raw) -> None:
    with pytest.raises(BodyInvalid) as raised:
        parse(DeidentifyBody, raw, nesting=16)
    assert raised.value.detail == "The request body gives a field twice."
    assert raised.value.reason == "field-twice"


@pytest.mark.parametrize(
    "inner",
    [
        b'{"a":1,"a":2}',
        b'{"b":{"a":1,"c":[],"a":{}}}',
        b'[1.5,[{"x":{"y":null,"y":null}}]]',
        b'{"":1,"":2}',
        b'{"text":1,"te\\u0078t":2}',
        b'{"a":' * 150 + b'{"z":1,"z":2}' + b"}" * 150,
    ],
)
def test_a_name_given_twice_is_refused_at_any_depth(inner) -> None:
    with pytest.raises(BodyInvalid, match="a field twice"):
        parse(Nested, b'{"inner":' + inner + b"}", nesting=200)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"a","inner":{"model":"b","inner":{"model":"c"}}}',
        b'{"inner":[{"a":1},{"a":1},{"b":{"a":1}}]}',
        b'{"inner":{"a":1,"A":1,"a ":1,"\\u00e1":1,"a\\u0301":1}}',
        b'{"inner":[' + b"9" * 4_000 + b",-0.5e3,true,null]}",
    ],
)
def test_a_name_that_stands_in_several_objects_is_not_given_twice(raw) -> None:
    assert isinstance(parse(Nested, raw, nesting=16), Nested)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_a_body_without_duplicates_passes(inner) -> None:
    raw = json.dumps({"inner": {"": inner}}).encode()
    with contextlib.suppress(BodyNotJson):  # a lone surrogate, or a number of many digits
        parse(Nested, raw, nesting=1_000)


def test_a_text_that_looks_like_fields_is_no_field() -> None:
    text = '","text":"b", {"text":1,"text":2} \\" : "text"'
    assert parse(DeidentifyBody, json.dumps({"text": text}).encode(), nesting=16).text == text


def test_looking_for_duplicates_takes_linear_time() -> None:
    def seconds(size: int) -> float:
        raw = json.dumps({"text": 'a":"b\\ ' * (size // 8)}).encode()
        best = float("inf")
        for _ in range(5):
            began = time.process_time()
            parse(DeidentifyBody, raw, nesting=16)
            best = min(best, time.process_time() - began)
        return best

    ratios = (seconds(1 << 21) / max(seconds(1 << 20), 1e-6) for _ in range(8))
    assert any(ratio < 2.6 for ratio in ratios)
