"""The bodies of `POST /v1/reidentify`."""

from __future__ import annotations

import json

import pytest

from wardgate.errors import BodyInvalid
from wardgate.web.reidentify_schemas import ReidentifyBody
from wardgate.web.schemas import parse

WHOLE = {"codes": ["[NAME:x]"], "purpose": "TREAT", "reason": "why"}


def test_a_whole_body_is_taken() -> None:
    body = parse(ReidentifyBody, json.dumps(WHOLE).encode(), nesting=4)
    assert (body.codes, body.text, body.timeout_ms) == (["[NAME:x]"], None, 10_000)


@pytest.mark.parametrize("field", ["purpose", "reason"])
def test_purpose_and_reason_are_required(field) -> None:
    body = {key: value for key, value in WHOLE.items() if key != field}
    with pytest.raises(BodyInvalid, match=f"{field} is required"):
        parse(ReidentifyBody, json.dumps(body).encode(), nesting=4)


@pytest.mark.parametrize(
    "change",
    [
        {"policy": "safe_harbor"},
        {"tenant": "other"},
        {"codes": "Quill"},
        {"codes": ["Quill" * 20]},
        {"purpose": "Quill"},
        {"reason": "Quill" * 200},
        {"timeout_ms": 0},
    ],
)
def test_what_is_not_of_this_form_is_refused_without_an_echo(change) -> None:
    with pytest.raises(BodyInvalid) as refused:
        parse(ReidentifyBody, json.dumps(WHOLE | change).encode(), nesting=4)
    assert "Quill" not in refused.value.detail
