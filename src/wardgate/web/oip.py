"""The Open Inference Protocol v2 for text models: tensors in, a question to the flow out.

Shared by both transports; pure. A text model takes the one input `text` and gives `label`, `score`,
`scores` and `text` (de-identified); its own tensors (`input_ids`, ...) are never a caller's input.
Whatever is not known here is refused: an input, an output, a parameter, a data type. The protocol:
https://github.com/kserve/open-inference-protocol, with Triton's extensions for binary tensor data,
schedule policy and parameters.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wardgate.errors import BodyInvalid, BodyNotUtf8, TextTooLong
from wardgate.flow import Ask
from wardgate.setting_groups import Limits
from wardgate.types import PHI, RequestContext
from wardgate.web.schemas import InferContext, Value, parse

OUTPUTS = ("label", "score", "scores", "text")
"""Outputs of a text model, in the order in which they are returned."""
INPUT = "text"
"""The only input of a text model."""
LENGTH = struct.Struct("<I")
"""Each element of a BYTES tensor in binary form stands behind its length."""

_ID = re.compile(r"[A-Za-z0-9._:-]{0,128}", re.ASCII)
_CONTEXT = ("purpose", "patient", "timeout_ms", "policy", "reference_date")
_SEQUENCE = frozenset({"sequence_id", "sequence_start", "sequence_end"})
_HIGHEST = 1
"""Triton's priorities: 0 is the model's default, 1 the highest, larger numbers come later."""
_PRIORITIES = ("interactive", "bulk")


@dataclass(frozen=True, slots=True)
class Input:
    """An input tensor as it came."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: bytes | memoryview | Sequence[Any]
    """The binary form, or the elements one by one."""
    parameters: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that was asked for."""

    name: str
    parameters: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inference:
    """One inference request, whatever brought it."""

    id: str
    parameters: Mapping[str, Value]
    inputs: Sequence[Input]
    outputs: Sequence[Wanted]


def ask(
    inference: Inference,
    *,
    model: str,
    version: str | None,
    limits: Limits,
    digest: str,
    cap_ms: int | None = None,
) -> Ask:
    """Return the request as the flow takes it; `digest` is the keyed one of the body.

    `cap_ms` is what the transport's own deadline leaves, milliseconds.
    Raises BodyInvalid, BodyNotUtf8 or TextTooLong, with nothing of the input in it.
    """
    check_id(inference.id)
    given = context(inference.parameters, limits, cap_ms)
    check_outputs(inference.outputs, OUTPUTS)
    texts = _texts(inference.inputs, limits)
    return Ask(
        texts=[PHI(text) for text in texts],
        context=given,
        body_digest=digest,
        model=model,
        version=version or None,
    )


def check_id(given: str) -> None:
    """Raise BodyInvalid for an id that may not come back with the reply."""
    if _ID.fullmatch(given) is None:
        raise BodyInvalid("The id has up to 128 letters, digits and '._:-'.", reason="oip-id")


def context(parameters: Mapping[str, Value], limits: Limits, cap_ms: int | None) -> RequestContext:
    """Return the request context that the parameters give; any that is not known is refused."""
    if not parameters.keys().isdisjoint(_SEQUENCE):
        raise BodyInvalid(
            "Sequences are not served: send no sequence_id, sequence_start or sequence_end.",
            reason="oip-sequence",
        )
    if not parameters.keys() <= {*_CONTEXT, "priority", "timeout"}:
        known = ", ".join((*_CONTEXT, "priority", "timeout"))
        raise BodyInvalid(f"A request parameter is not known (known: {known}).", reason="oip-param")
    given: dict[str, Value] = {name: parameters[name] for name in _CONTEXT if name in parameters}
    if "priority" in parameters:
        given["priority"] = _priority(parameters["priority"])
    if "timeout" in parameters:
        if "timeout_ms" in given:
            raise BodyInvalid("Give one of timeout and timeout_ms.", reason="oip-timeout")
        microseconds = parameters["timeout"]
        if type(microseconds) is not int or microseconds < 0:
            raise BodyInvalid("timeout must be whole microseconds.", reason="oip-timeout")
        if microseconds:  # Triton: 0 sets none
            given["timeout_ms"] = -(-microseconds // 1000)
    return parse(InferContext, json.dumps(given).encode(), nesting=limits.nesting).context(
        limits, cap_ms=cap_ms
    )


def _priority(given: Value) -> str:
    """Return our word for a priority; Triton's number 0 or 1 is interactive, a larger one bulk."""
    if isinstance(given, str) and given in _PRIORITIES:
        return given
    if type(given) is not int or given < 0:
        raise BodyInvalid(
            "priority must be 'interactive' or 'bulk', or a whole number.", reason="oip-priority"
        )
    return _PRIORITIES[given > _HIGHEST]


def check_outputs(outputs: Sequence[Wanted], known: Sequence[str]) -> None:
    """Raise BodyInvalid unless each output is known and asked for once."""
    names = [wanted.name for wanted in outputs]
    if len(set(names)) != len(names) or not set(names).issubset(known):
        raise BodyInvalid(
            f"Ask for each output at most once (known: {', '.join(known)}).", reason="oip-output"
        )
    if any(not wanted.parameters.keys() <= {"binary_data"} for wanted in outputs):
        raise BodyInvalid(
            "An output takes no parameter but binary_data: neither shared memory nor "
            "classification is served.",
            reason="oip-output",
        )


def _texts(inputs: Sequence[Input], limits: Limits) -> list[str]:
    """Return the texts of the one input that a text model has."""
    if len(inputs) != 1 or inputs[0].name != INPUT:
        raise BodyInvalid(
            "A text model takes the one input 'text'; its own tensors are never a caller's input.",
            reason="oip-input",
        )
    tensor = inputs[0]
    if tensor.parameters:
        raise BodyInvalid(
            "An input takes no parameter but binary_data_size: shared memory is not served.",
            reason="oip-input",
        )
    if tensor.datatype != "BYTES":
        raise BodyInvalid("The datatype of 'text' is BYTES.", reason="oip-datatype")
    if len(tensor.shape) not in (1, 2) or tuple(tensor.shape[1:]) not in ((), (1,)):
        raise BodyInvalid("The shape of 'text' is [rows] or [rows, 1].", reason="oip-shape")
    rows = tensor.shape[0]
    if not 1 <= rows <= limits.rows:
        raise BodyInvalid(f"The request brings 1 to {limits.rows} texts.", reason="oip-rows")
    if isinstance(tensor.data, bytes | memoryview):
        found = list(_split(memoryview(tensor.data), rows))
    else:
        found = flat(tensor.data, tensor.shape)
    if len(found) != rows:
        raise BodyInvalid("The data of 'text' is not of its shape.", reason="oip-shape")
    texts = [_text(element) for element in found]
    if any(len(text) > limits.text_chars for text in texts):
        raise TextTooLong(f"The text has more than {limits.text_chars} characters.")
    return texts


def _split(data: memoryview, most: int) -> Iterator[memoryview]:
    """Take the binary form of BYTES apart; at most one element more than `most`."""
    place = 0
    for _ in range(most + 1):
        if place == len(data):
            return
        start = place + LENGTH.size
        if start > len(data):
            raise BodyInvalid("The binary data of 'text' is cut off.", reason="oip-binary")
        place = start + LENGTH.unpack_from(data, place)[0]
        if place > len(data):
            raise BodyInvalid("The binary data of 'text' is cut off.", reason="oip-binary")
        yield data[start:place]


def flat(data: Sequence[Any], shape: Sequence[int]) -> list[Any]:
    """Return the elements of JSON data: one after the other, or nested just as the shape is.

    Empty where the data is nested otherwise. Whoever calls counts the elements.
    """
    found = list(data)
    if not found or type(found[0]) is not list:
        return found
    for size in shape[1:]:
        if any(type(each) is not list or len(each) != size for each in found):
            return []
        found = [element for each in found for element in each]
    return found


def _text(element: object) -> str:
    if isinstance(element, str):
        return element
    if not isinstance(element, bytes | memoryview):
        raise BodyInvalid("Each element of 'text' is a string.", reason="oip-element")
    try:
        return str(element, "utf-8")
    except UnicodeDecodeError:
        raise BodyNotUtf8("Each element of 'text' must be UTF-8.") from None
