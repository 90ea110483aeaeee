from __future__ import annotations

import json
import struct

import pytest
from tritonclient.grpc import service_pb2

from wardgate.cli.bench import forms
from wardgate.cli.bench.forms import Answer
from wardgate.cli.bench.table import Invalid

TEXT = 'he said "fine" \u2014 30 \u00b5g'


@pytest.mark.parametrize("form", forms.FORMS)
def test_each_form_is_json_with_the_text(form) -> None:
    sent = json.loads(forms.body(form, "sentiment", TEXT))
    assert TEXT in str(sent["text"] if "text" in sent else sent.get("texts") or sent["inputs"])
    assert (sent.get("model") == "sentiment") == (form == "predict")


def test_tensors_have_the_shape_of_their_form() -> None:
    shapes = [
        json.loads(forms.body(form, "m", TEXT))["inputs"][0]["shape"]
        for form in ("oip", "oip_batch")
    ]
    assert shapes == [[1], [1, 1]]


def test_grpc_carries_the_text_with_its_length() -> None:
    sent = service_pb2.ModelInferRequest.FromString(forms.body("oip", "m", TEXT, grpc=True))
    assert sent.model_name == "m"
    raw = sent.raw_input_contents[0]
    assert int.from_bytes(raw[:4], "little") == len(raw) - 4
    assert raw[4:].decode() == TEXT


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(Invalid, match="unknown form 'soap'"):
        forms.body("soap", "m", TEXT)


@pytest.mark.parametrize(
    ("form", "reply"),
    [
        ("text", {"label": "a", "score": 0.5}),
        ("predict", {"label": "a", "score": 0.5, "text": "x"}),
        ("texts", [{"label": "a", "score": 0.5}]),
        ("oip", {"outputs": [{"name": "score", "data": [0.5]}, {"name": "label", "data": ["a"]}]}),
        ("oip_batch", {"outputs": [{"name": "label", "data": [["a"]]},
                                   {"name": "score", "data": [[0.5]]}]}),
    ],
)  # fmt: skip
def test_answers_are_read(form, reply) -> None:
    assert forms.answer(form, json.dumps(reply).encode()) == Answer("a", 0.5)


def test_an_answer_over_grpc_is_read() -> None:
    reply = service_pb2.ModelInferResponse()
    for name, raw in (("score", struct.pack("<f", 0.5)), ("label", b"\1\0\0\0a")):
        reply.outputs.add(name=name)
        reply.raw_output_contents.append(raw)
    assert forms.answer("oip", reply.SerializeToString(), grpc=True) == Answer("a", 0.5)


@pytest.mark.parametrize("reply", [b"", b"{}", b"[]", b'{"label": null, "score": null}', b"<html>"])
@pytest.mark.parametrize("form", ["text", "texts", "oip"])
def test_what_is_no_answer_is_a_value_error(form, reply) -> None:
    with pytest.raises(ValueError):
        forms.answer(form, reply)


def test_a_priority_goes_into_our_own_form_alone() -> None:
    assert json.loads(forms.body("predict", "m", "a", priority="bulk"))["priority"] == "bulk"
    assert "priority" not in json.loads(forms.body("predict", "m", "a"))
    with pytest.raises(Invalid):
        forms.body("text", "m", "a", priority="bulk")
