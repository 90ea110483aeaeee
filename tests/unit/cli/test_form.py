"""A line of OUT: the line's own members and the answer, and no raw text unless it is asked for."""

from __future__ import annotations

import json

import pytest

from wardgate.cli.form import ANSWER, Fault, Form, Line
from wardgate.cli.jsonl import Broken

ROW = {
    "label": "positive",
    "score": 0.9,
    "scores": {"positive": 0.9, "negative": 0.1},
    "text": "Mr. [NAME]",
    "windows": 1,
    "version": "1",
    "request_id": "6b0f3a52-5a1b-4a3e-9a53-2f4a4c3a9d10",
}
RAW = '{"id": 7, "text": "Mr. Smith", "nested": {"ü": [1, null, 1.5]}}'.encode()


def written(form: Form, raw: bytes) -> dict[str, object]:
    line = form.read(1, raw)
    assert isinstance(line, Line)
    out = form.write(line, ROW)
    assert out.endswith(b"\n")
    found: dict[str, object] = json.loads(out)
    return found


def test_the_raw_text_is_not_written_again() -> None:
    found = written(Form(), RAW)
    assert list(found) == ["id", "nested", *ANSWER]
    assert found["deidentified"] == "Mr. [NAME]"
    assert found["nested"] == {"ü": [1, None, 1.5]}
    assert "Smith" not in str(found)


def test_the_raw_text_stays_where_the_user_says_so() -> None:
    found = written(Form(keep_text=True), RAW)
    assert found["text"] == "Mr. Smith"
    assert found["deidentified"] == "Mr. [NAME]"


def test_the_answer_may_stand_under_a_name() -> None:
    found = written(Form(under="prediction"), b'{"text": "a", "label": "gold"}')
    assert found["label"] == "gold"
    assert found["prediction"] == {n: ROW["text" if n == "deidentified" else n] for n in ANSWER}


def test_a_line_with_nothing_but_text_becomes_the_answer_alone() -> None:
    assert list(written(Form(), b'{"text": ""}')) == list(ANSWER)


@pytest.mark.parametrize("member", ANSWER)
def test_a_member_of_the_line_is_never_replaced(member) -> None:
    fault = Form().read(3, json.dumps({"text": "a", member: "Jane"}).encode())
    assert isinstance(fault, Fault)
    assert json.loads(fault.written())["error"] == "member-taken"
    assert member.encode() in fault.written()
    assert b"Jane" not in fault.written()
    assert isinstance(Form(under="x").read(3, json.dumps({"text": "", "x": 1}).encode()), Fault)


def test_a_text_that_cannot_be_sent_is_a_fault_and_another_member_is_not() -> None:
    fault = Form().read(9, b'{"text": "a \\ud800"}')
    assert isinstance(fault, Fault)
    assert fault.why.code == "not-unicode"
    assert written(Form(), b'{"text": "a", "b": "\\ud800"}')["b"] == "\ud800"


def test_a_fault_tells_line_code_and_sentence() -> None:
    assert json.loads(Fault(12, Broken("not-json", "not JSON")).written()) == {
        "line": 12,
        "error": "not-json",
        "detail": "not JSON",
    }
    assert isinstance(Form().read(1, b"Jane"), Fault)
    assert isinstance(Form().read(1, None), Fault)
