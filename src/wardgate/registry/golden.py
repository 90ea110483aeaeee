"""The golden examples of a manifest: what must come out right before a model takes traffic.

Three kinds, one for each way a model answers: a label for a text, a label for each token, tensors
for tensors. An example's texts are de-identified, as everything is that reaches a model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from wardgate.errors import ManifestInvalid
from wardgate.registry.fields import Fields, integer, number

Source = Literal["given", "model"]
_TEXT = re.compile(r".+", re.DOTALL)
_ELEMENTS = 65_536
"""Most elements of one tensor of an example."""


@dataclass(frozen=True, slots=True)
class Golden:
    """A text and the label it must get."""

    text: str
    label: str
    score: float
    """Softmax score of `label`, within `tolerance`."""
    tolerance: float
    source: Source = "given"
    """`model`: nobody judged it; label and score are what the model gave when it was added."""


@dataclass(frozen=True, slots=True)
class TokenGolden:
    """A text and the label that each of its tokens must get, special tokens left out."""

    text: str
    labels: tuple[str, ...]
    source: Source = "given"
    """As in `Golden`."""


@dataclass(frozen=True, slots=True)
class Value:
    """One tensor of an example: `data` row by row, as many as `shape` says."""

    shape: tuple[int, ...]
    data: tuple[float | bool, ...]


@dataclass(frozen=True, slots=True)
class TensorGolden:
    """Input tensors by name, and what must come out, each element within `tolerance`."""

    inputs: Mapping[str, Value]
    outputs: Mapping[str, Value]
    tolerance: float
    source: Source = "given"
    """As in `Golden`."""


def text_examples(items: Sequence[Fields], labels: Sequence[str]) -> tuple[Golden, ...]:
    """Parse the examples of a text classifier. Raises ManifestInvalid."""
    found = []
    for fields in items:
        found.append(
            Golden(
                text=fields.text("text", _TEXT, "a text"),
                label=fields.take("label", "one of the labels", lambda value: value in labels),
                score=fields.number("score", least=0.0, most=1.0),
                tolerance=fields.number("tolerance", least=0.0, most=0.5),
                source=_source(fields),
            )
        )
        fields.end()
    return tuple(found)


def token_examples(items: Sequence[Fields], labels: Sequence[str]) -> tuple[TokenGolden, ...]:
    """Parse the examples of a token classifier. Raises ManifestInvalid."""
    found = []
    for fields in items:
        text = fields.text("text", _TEXT, "a text")
        given = fields.texts("labels", "a label for each token", least=1, unique=False)
        if not set(given) <= set(labels):
            raise ManifestInvalid(f"{fields.path}.labels: expected labels of the model.")
        found.append(TokenGolden(text, given, _source(fields)))
        fields.end()
    return tuple(found)


def tensor_examples(
    items: Sequence[Fields], inputs: Sequence[str], outputs: Sequence[str]
) -> tuple[TensorGolden, ...]:
    """Parse the examples of a tensor model. Raises ManifestInvalid."""
    found = []
    for fields in items:
        found.append(
            TensorGolden(
                inputs=_values(fields, "inputs", inputs),
                outputs=_values(fields, "outputs", outputs),
                tolerance=fields.number("tolerance", least=0.0, most=1e6),
                source=_source(fields),
            )
        )
        fields.end()
    return tuple(found)


def _source(fields: Fields) -> Source:
    if not fields.has("source"):
        return "given"
    return cast("Source", fields.one_of("source", "given", "model"))


def _values(fields: Fields, name: str, tensors: Sequence[str]) -> dict[str, Value]:
    given = fields.mapping(name)
    if set(given) != set(tensors):
        raise ManifestInvalid(f"{fields.path}.{name}: expected the tensors {', '.join(tensors)}.")
    return {
        tensor: _value(Fields(value, f"{fields.path}.{name}")) for tensor, value in given.items()
    }


def _value(fields: Fields) -> Value:
    def shape_fits(value: Any) -> bool:
        return (
            isinstance(value, list)
            and len(value) <= 8  # noqa: PLR2004 -- no tensor of a served model has more dimensions
            and all(integer(size) and 0 < size <= _ELEMENTS for size in value)
            and math.prod(value) <= _ELEMENTS
        )

    shape = tuple(fields.take("shape", f"sizes of at most {_ELEMENTS} elements", shape_fits))

    def data_fits(value: Any) -> bool:
        return (
            isinstance(value, list)
            and len(value) == math.prod(shape)
            and all(isinstance(item, bool) or number(item) for item in value)
        )

    data = tuple(fields.take("data", "a flat list of as many numbers as the shape has", data_fits))
    fields.end()
    return Value(shape, data)
