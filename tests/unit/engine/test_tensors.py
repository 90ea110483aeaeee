"""The messages of an inference: what is asked, what may come back, and what of Triton stays out."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from wardgate.engine.join import Joined, Row
from wardgate.engine.tensors import finite, infer_request, logits_of, refusal, served_name
from wardgate.errors import DeadlineExceeded, EngineUnavailable, ModelOutputInvalid, Overloaded
from wardgate.registry import export
from wardgate.types import ModelId, Priority

NAME = "tiny.0123456789abcdef"


def test_a_models_name_is_the_exports():
    model = ModelId("tiny", "3", "0123456789abcdef" * 4)
    assert served_name(model) == NAME == export.model_name(model.name, model.digest)


def test_a_request_holds_the_rows_padded_and_masked():
    rows = (Row(1, 0, [7, 8, 9]), Row(2, 1, [5]))
    request = infer_request(NAME, Joined("d", 4, Priority.BULK, 12.5, rows), 12.0)
    assert (request.model_name, request.model_version) == (NAME, "1")
    assert [(each.name, each.datatype, tuple(each.shape)) for each in request.inputs] == [
        ("input_ids", "INT64", (2, 4)),
        ("attention_mask", "INT64", (2, 4)),
    ]
    ids, mask = (np.frombuffer(raw, "<i8").tolist() for raw in request.raw_input_contents)
    assert ids == [7, 8, 9, 0, 5, 0, 0, 0]
    assert mask == [1, 1, 1, 0, 1, 0, 0, 0]
    assert request.parameters["priority"].uint64_param == 2
    assert request.parameters["timeout"].int64_param == 500_000
    assert [each.name for each in request.outputs] == ["logits"]


def test_a_deadline_that_has_just_passed_asks_for_the_least_time_not_for_none():
    call = Joined("d", 4, Priority.INTERACTIVE, 1.0, (Row(1, 0, [7]),))
    request = infer_request(NAME, call, 2.0)
    assert request.parameters["timeout"].int64_param == 1
    assert request.parameters["priority"].uint64_param == 1


def reply(**changes) -> pb.ModelInferResponse:
    fields = {
        "model_name": NAME, "model_version": "1", "name": "logits", "datatype": "FP32",
        "shape": (2, 3), "raw": [np.arange(6, dtype="<f4").tobytes()], "outputs": 1, **changes,
    }  # fmt: skip
    output = pb.ModelInferResponse.InferOutputTensor(
        name=fields["name"], datatype=fields["datatype"], shape=fields["shape"]
    )
    return pb.ModelInferResponse(
        model_name=fields["model_name"],
        model_version=fields["model_version"],
        outputs=[output] * fields["outputs"],
        raw_output_contents=fields["raw"],
    )


def test_a_right_reply_gives_its_logits():
    logits = logits_of(reply(), NAME, 2, 3)
    assert logits.dtype == np.float32
    assert logits.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "changes",
    [
        {"model_name": "other.0123456789abcdef"},
        {"model_version": "2"},
        {"name": "scores"},
        {"datatype": "FP64"},
        {"shape": (3, 2)},
        {"shape": (6,)},
        {"shape": (-2, -3)},
        {"raw": [b""]},
        {"raw": [bytes(23)]},
        {"raw": []},
        {"raw": [bytes(24), bytes(24)]},
        {"outputs": 0},
        {"outputs": 2},
    ],
)
def test_any_other_reply_is_refused(changes):
    with pytest.raises(ModelOutputInvalid):
        logits_of(reply(**changes), NAME, 2, 3)


def test_rows_that_are_not_finite_are_told_apart():
    rows = np.array([[0, 1], [np.nan, 1], [1, np.inf], [-np.inf, 0], [2, 2]], np.float32)
    assert finite(rows) == [True, False, False, False, True]


def test_every_status_becomes_an_error_of_ours_with_a_time_to_come_back():
    for code in grpc.StatusCode:
        error = refusal(code)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            assert isinstance(error, DeadlineExceeded)
            continue
        full = code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert isinstance(error, Overloaded if full else EngineUnavailable)
        assert error.status == 503
        assert error.retry_after
        assert error.detail == type(error).sentence
