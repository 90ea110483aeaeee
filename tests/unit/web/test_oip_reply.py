"""A reply and a model as tensors: names, types, shapes and bytes."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import deserialize_bytes_tensor

from wardgate.flow import Reply, Row, ServedModel
from wardgate.types import CleanText, Deidentified, ModelId, Prediction
from wardgate.web.oip import Wanted
from wardgate.web.oip_reply import Output, outputs, parameters, text_model

LABELS = ("low", "middle", "high")


def row(text: str, label: str, score: float) -> Row:
    rest = (1 - score) / 2
    scores = {each: score if each == label else rest for each in LABELS}
    clean = Deidentified(
        text=CleanText(text), spans=(), alignment=(), policy="safe_harbor", policy_hash="f" * 64
    )
    return Row(clean, Prediction(label, score, scores), windows=len(text))


def reply() -> Reply:
    model = ServedModel(ModelId("m", "3", "0" * 64), LABELS, None, None)  # type: ignore[arg-type]
    return Reply([row("é", "high", 0.9), row("bb", "low", 0.5)], model)


def test_all_outputs_where_none_is_named() -> None:
    label, score, scores, text = outputs(reply(), [])
    assert label == Output("label", "BYTES", (2,), ["high", "low"])
    assert score == Output("score", "FP32", (2,), [0.9, 0.5])
    assert (scores.name, scores.datatype, scores.shape) == ("scores", "FP32", (2, 3))
    assert scores.data == pytest.approx([0.05, 0.05, 0.9, 0.5, 0.25, 0.25])
    assert text == Output("text", "BYTES", (2,), ["é", "bb"])


def test_named_outputs_in_their_order() -> None:
    found = outputs(reply(), [Wanted("text"), Wanted("score")])
    assert [output.name for output in found] == ["text", "score"]


def test_the_binary_form_is_tritons() -> None:
    text = outputs(reply(), [Wanted("text")])[0].raw()
    assert text == struct.pack("<I", 2) + "é".encode() + struct.pack("<I", 2) + b"bb"
    assert deserialize_bytes_tensor(text).tolist() == ["é".encode(), b"bb"]
    scores = outputs(reply(), [Wanted("scores")])[0].raw()
    found = np.frombuffer(scores, "<f4").reshape(2, 3)
    np.testing.assert_allclose(found, [[0.05, 0.05, 0.9], [0.5, 0.25, 0.25]], rtol=1e-6)


def test_what_a_reply_says_besides() -> None:
    found = parameters(reply(), "r-1")
    assert found == {
        "policy": "safe_harbor",
        "policy_hash": "f" * 64,
        "labels": '["low", "middle", "high"]',
        "windows": "1,2",
        "request_id": "r-1",
    }


def test_metadata_and_config_have_the_form_of_the_messages() -> None:
    shown = text_model("m", ["2", "3"], LABELS)
    message = ParseDict(shown.metadata(), service_pb2.ModelMetadataResponse())
    assert list(message.versions) == ["2", "3"]
    assert [list(each.shape) for each in message.outputs] == [[-1], [-1], [-1, 3], [-1]]
    configured = ParseDict(shown.config(), model_config_pb2.ModelConfig())
    assert configured.max_batch_size == 0
    assert [each.name for each in configured.output] == ["label", "score", "scores", "text"]
    assert json.loads(configured.parameters["labels"].string_value) == list(LABELS)
