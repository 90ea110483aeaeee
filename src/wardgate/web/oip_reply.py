"""The Open Inference Protocol v2: what a reply and a model say, as tensors.

Shared by both transports; pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wardgate.engine.runner import TensorModel
from wardgate.flow import Reply
from wardgate.web.oip import INPUT, LENGTH, OUTPUTS, Wanted

EXTENSIONS = ("binary_tensor_data", "model_configuration", "parameters", "schedule_policy")
"""Extensions of the protocol that are served, by Triton's names."""


@dataclass(frozen=True, slots=True)
class Output:
    """An output tensor."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Sequence[str] | Sequence[float] | NDArray[Any]
    """The elements, row by row, or an array of the data type."""

    def raw(self) -> bytes:
        """Return the binary form: little-endian; each of BYTES behind its length."""
        if isinstance(self.data, np.ndarray):
            return self.data.astype(self.data.dtype.newbyteorder("<"), copy=False).tobytes()
        if self.datatype == "BYTES":
            elements = [str(element).encode() for element in self.data]
            return b"".join(LENGTH.pack(len(element)) + element for element in elements)
        return np.asarray(self.data, "<f4").tobytes()

    def elements(self) -> Sequence[Any]:
        """Return the elements one by one, for JSON."""
        return self.data.ravel().tolist() if isinstance(self.data, np.ndarray) else self.data


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered, whatever brought the question."""

    model: str
    version: str
    parameters: Mapping[str, str]
    outputs: Sequence[Output]


def answer(reply: Reply, wanted: Sequence[Wanted], request_id: str) -> Answer:
    """Return the reply of a text model with the outputs that were asked for."""
    assert reply.model is not None
    return Answer(
        reply.model.id.name,
        reply.model.id.version,
        parameters(reply, request_id),
        outputs(reply, wanted),
    )


def outputs(reply: Reply, wanted: Sequence[Wanted]) -> list[Output]:
    """Return the outputs that were asked for, in that order; all where none was named."""
    assert reply.model is not None
    names = [each.name for each in wanted] or OUTPUTS
    rows, labels = len(reply.rows), reply.model.labels
    found: list[Output] = []
    for name in names:
        if name == "text":
            found.append(
                Output(name, "BYTES", (rows,), [row.deidentified.text for row in reply.rows])
            )
            continue
        predictions = [row.prediction for row in reply.rows if row.prediction is not None]
        assert len(predictions) == rows
        if name == "label":
            found.append(Output(name, "BYTES", (rows,), [each.label for each in predictions]))
        elif name == "score":
            found.append(Output(name, "FP32", (rows,), [each.score for each in predictions]))
        else:
            scores = [each.scores[label] for each in predictions for label in labels]
            found.append(Output(name, "FP32", (rows, len(labels)), scores))
    return found


def parameters(reply: Reply, request_id: str) -> dict[str, str]:
    """Return what a reply says besides its tensors; `labels` are the columns of `scores`."""
    assert reply.model is not None
    clean = reply.rows[0].deidentified
    return {
        "policy": clean.policy,
        "policy_hash": clean.policy_hash,
        "labels": json.dumps(reply.model.labels),
        "windows": ",".join(str(row.windows) for row in reply.rows),
        "request_id": request_id,
    }


# -- what a model says of itself ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """A model as its callers may see it; tensors as name, data type and shape."""

    name: str
    versions: Sequence[str]
    platform: str
    inputs: Sequence[tuple[str, str, list[int]]]
    outputs: Sequence[tuple[str, str, list[int]]]
    labels: tuple[str, ...] = ()

    def metadata(self) -> dict[str, Any]:
        """Return the model's metadata, with every version of it that serves."""
        return {
            "name": self.name,
            "versions": list(self.versions),
            "platform": self.platform,
            "inputs": [_metadata(tensor) for tensor in self.inputs],
            "outputs": [_metadata(tensor) for tensor in self.outputs],
        }

    def config(self) -> dict[str, Any]:
        """Return the model's configuration in the form that Triton's clients read.

        `max_batch_size` 0 says that the shapes hold the batch's own dimension.
        """
        said: dict[str, Any] = {
            "name": self.name,
            "platform": self.platform,
            "backend": "wardgate",
            "max_batch_size": 0,
            "input": [_config(tensor) for tensor in self.inputs],
            "output": [_config(tensor) for tensor in self.outputs],
        }
        if self.labels:
            said["parameters"] = {"labels": {"string_value": json.dumps(self.labels)}}
        return said


def text_model(name: str, versions: Sequence[str], labels: tuple[str, ...]) -> Shown:
    """Return how a text model is seen."""
    return Shown(
        name,
        versions,
        "wardgate_text",
        [(INPUT, "BYTES", [-1])],
        [
            ("label", "BYTES", [-1]),
            ("score", "FP32", [-1]),
            ("scores", "FP32", [-1, len(labels)]),
            ("text", "BYTES", [-1]),
        ],
        labels,
    )


def tensor_model(model: TensorModel) -> Shown:
    """Return how a tensor model is seen."""
    return Shown(
        model.id.name,
        [model.id.version],
        "wardgate_tensor",
        [(port.name, port.dtype, port.sizes) for port in model.inputs],
        [(port.name, port.dtype, port.sizes) for port in model.outputs],
    )


def _metadata(tensor: tuple[str, str, list[int]]) -> dict[str, Any]:
    name, datatype, shape = tensor
    return {"name": name, "datatype": datatype, "shape": shape}


def _config(tensor: tuple[str, str, list[int]]) -> dict[str, Any]:
    name, datatype, shape = tensor
    kind = "STRING" if datatype == "BYTES" else datatype
    return {"name": name, "data_type": f"TYPE_{kind}", "dims": shape}
