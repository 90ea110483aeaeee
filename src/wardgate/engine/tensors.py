"""The messages of an inference in the Open Inference Protocol v2, as Triton takes and gives them.

Tensors travel as raw little-endian bytes. What comes back is checked against what was asked: model,
version, output, dtype, shape, and whether each row is finite. Triton's own words are never read,
only its status codes: an upstream text must not reach a caller or a log.
"""

from __future__ import annotations

import math

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from wardgate.engine.join import Joined
from wardgate.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    ModelOutputInvalid,
    Overloaded,
    WardgateError,
)
from wardgate.types import Logits, ModelId, Priority

VERSION = "1"
"""Version of every model in a Triton repository of ours: another digest has another name."""
LEVELS = {Priority.INTERACTIVE: 1, Priority.BULK: 2}
"""Priority levels of the exported configuration; 1 is served first."""
RETRY_SECONDS = 1.0
"""When to come back while Triton is replaced or a model is not there."""
_DIGEST_CHARS = 16
"""Hex digits of the manifest's digest in a model's name at Triton: 64 bits."""


def served_name(model: ModelId) -> str:
    """Return a model's name at Triton: `<name>.<first 16 hex digits of its digest>`."""
    return f"{model.name}.{model.digest[:_DIGEST_CHARS]}"


def infer_request(name: str, call: Joined, now: float) -> service_pb2.ModelInferRequest:
    """Return the request of a call: `input_ids` and `attention_mask`, INT64 [rows, bucket length].

    Each row is padded with id 0 to the bucket's length, and its mask is 0 there. `timeout` is what
    is left at `now` of the last row's deadline, in whole microseconds, at least 1: Triton rejects a
    call that has waited for longer. `now` is in seconds of the clock of `call.deadline`.
    """
    shape = (len(call.rows), call.length)
    ids = np.zeros(shape, "<i8")
    mask = np.zeros(shape, "<i8")
    for place, row in enumerate(call.rows):
        ids[place, : len(row.ids)] = row.ids
        mask[place, : len(row.ids)] = 1
    request = service_pb2.ModelInferRequest(
        model_name=name,
        model_version=VERSION,
        inputs=[
            service_pb2.ModelInferRequest.InferInputTensor(
                name=tensor, datatype="INT64", shape=shape
            )
            for tensor in ("input_ids", "attention_mask")
        ],
        outputs=[service_pb2.ModelInferRequest.InferRequestedOutputTensor(name="logits")],
        raw_input_contents=[ids.tobytes(), mask.tobytes()],
    )
    request.parameters["priority"].uint64_param = LEVELS[call.priority]
    request.parameters["timeout"].int64_param = max(1, math.ceil((call.deadline - now) * 1e6))
    return request


def logits_of(reply: service_pb2.ModelInferResponse, name: str, rows: int, columns: int) -> Logits:
    """Return the logits of a reply, float32 [rows, columns], a view of its bytes.

    Raises ModelOutputInvalid where the reply is not exactly what was asked for. A row that is not
    finite is left to `finite`: it says nothing of the rows of others.
    """
    if (
        (reply.model_name, reply.model_version) != (name, VERSION)
        or len(reply.outputs) != 1
        or len(reply.raw_output_contents) != 1
    ):
        raise ModelOutputInvalid(reason="triton-reply")
    output, raw = reply.outputs[0], reply.raw_output_contents[0]
    if (
        (output.name, output.datatype) != ("logits", "FP32")
        or tuple(output.shape) != (rows, columns)
        or len(raw) != 4 * rows * columns
    ):
        raise ModelOutputInvalid(reason="triton-reply")
    return np.frombuffer(raw, "<f4").reshape(rows, columns)


def finite(logits: Logits) -> list[bool]:
    """Tell of each row whether all its values are finite."""
    found: list[bool] = np.isfinite(logits).all(axis=1).tolist()
    return found


def refusal(code: grpc.StatusCode) -> WardgateError:
    """Return what a caller is told where Triton gives this status."""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded()
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Overloaded(reason="triton-full", retry_after=RETRY_SECONDS)
    reason = _REASONS.get(code, "run-failed")
    return EngineUnavailable(reason=reason, retry_after=RETRY_SECONDS)


_REASONS = {
    grpc.StatusCode.UNAVAILABLE: "triton-unavailable",
    grpc.StatusCode.NOT_FOUND: "triton-model-missing",
    grpc.StatusCode.UNAUTHENTICATED: "triton-refused",
    grpc.StatusCode.PERMISSION_DENIED: "triton-refused",
    grpc.StatusCode.UNIMPLEMENTED: "triton-refused",
}
