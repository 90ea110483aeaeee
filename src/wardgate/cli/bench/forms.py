"""How a note is put into a request, and an answer read from a reply, for each form of interface.

The forms: `text` is `{"text"}` to `{"label", "score"}`; `predict` is Wardgate's own; `texts` takes
a list of one; `oip` and `oip_batch` are the Open Inference Protocol v2 in JSON with a BYTES tensor
of shape [1] or [1, 1]; with gRPC they are its `ModelInferRequest`.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import orjson

from wardgate.cli.bench.table import Invalid

FORMS = ("text", "texts", "predict", "oip", "oip_batch")
INFER = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a system said of a note."""

    label: str
    score: float


def body(form: str, model: str, text: str, *, grpc: bool = False, priority: str = "") -> bytes:
    """Return the bytes of a request's body.

    Raises Invalid for an unknown form, and for a priority in a form other than `predict`.
    """
    if form not in FORMS:
        raise Invalid(f"unknown form '{form}'; there are {', '.join(FORMS)}.")
    if priority and (grpc or form != "predict"):
        raise Invalid("Only Wardgate's own form of HTTP takes a priority here.")
    shape = [1, 1] if form == "oip_batch" else [1]
    if grpc:
        return _message(model, text, shape)
    if form == "text":
        sent: dict[str, Any] = {"text": text}
    elif form == "texts":
        sent = {"texts": [text]}
    elif form == "predict":
        sent = {"model": model, "text": text, **({"priority": priority} if priority else {})}
    else:
        tensor = {"name": "text", "shape": shape, "datatype": "BYTES", "data": [text]}
        sent = {"inputs": [tensor]}
    return json.dumps(sent).encode()


def answer(form: str, reply: bytes, *, grpc: bool = False) -> Answer:
    """Read an answer. Raises ValueError where the reply is none of this form."""
    try:
        if grpc:
            return _from_message(reply)
        found = orjson.loads(reply)
        if form.startswith("oip"):
            data = {output["name"]: output["data"] for output in found["outputs"]}
            return Answer(_flat(data["label"]), float(_flat(data["score"])))
        if form == "texts":
            found = found[0] if isinstance(found, list) else found["predictions"][0]
        return Answer(str(found["label"]), float(found["score"]))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"no answer in a reply of the form '{form}'") from error


def _flat(value: Any) -> Any:
    while isinstance(value, list):
        value = value[0]
    return value


def _message(model: str, text: str, shape: list[int]) -> bytes:
    from tritonclient.grpc import service_pb2  # noqa: PLC0415 -- slow to load, and seldom wanted

    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="text", datatype="BYTES", shape=shape)
    raw = text.encode()
    request.raw_input_contents.append(len(raw).to_bytes(4, "little") + raw)
    return bytes(request.SerializeToString())


def _from_message(reply: bytes) -> Answer:
    from tritonclient.grpc import service_pb2  # noqa: PLC0415

    message = service_pb2.ModelInferResponse.FromString(reply)
    raw = {
        output.name: message.raw_output_contents[place]
        for place, output in enumerate(message.outputs)
    }
    return Answer(raw["label"][4:].decode(), struct.unpack("<f", raw["score"][:4])[0])
