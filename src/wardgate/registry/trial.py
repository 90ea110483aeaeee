"""Runs a model outside the engine, to judge it before anybody relies on it.

It finds what an engine would stumble over later: a graph that cannot take its longest row, ids that
the tokenizer gives and the graph does not know, a row whose answer moves with padding, outputs of a
wrong shape or that are not finite. It serves nobody.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnxruntime
import tokenizers
from numpy.typing import NDArray

from wardgate.errors import ManifestInvalid
from wardgate.registry.golden import TensorGolden, Value
from wardgate.registry.manifest import Tensor
from wardgate.types import DTYPES

Floats = NDArray[np.float32]


class Runner(Protocol):
    """Runs a model, as an ONNX Runtime session does."""

    def run(self, names: list[str], given: dict[str, Any]) -> Sequence[Any]:
        """Return the outputs `names` for the inputs `given`."""
        ...


class TextTrial:
    """A text model's graph and tokenizer. Rows are cut at `max_length`, unlike in the gateway.

    Raises ManifestInvalid where one of the two does not load.
    """

    def __init__(
        self, graph: bytes | Runner, tokenizer: bytes, labels: int, max_length: int
    ) -> None:
        self._session = session(graph) if isinstance(graph, bytes) else graph
        try:
            self._words = tokenizers.Tokenizer.from_buffer(tokenizer)
        except Exception:  # noqa: BLE001 -- the library raises plain Exception and ValueError
            raise ManifestInvalid("tokenizer.json: expected a tokenizers file.") from None
        self._words.no_truncation()
        self._words.no_padding()
        self._labels, self._max_length = labels, max_length

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text, special ones included, whole."""
        return list(self._encoded(text).ids)

    def inner(self, text: str) -> list[bool]:
        """Return for each id of `ids` whether it is of the text, not a special token."""
        return [not special for special in self._encoded(text).special_tokens_mask]

    def _encoded(self, text: str) -> tokenizers.Encoding:
        try:
            return self._words.encode(text)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 -- a panic of the library is no Exception
            raise ManifestInvalid("tokenizer.json: it fails on a text.") from None

    def fits(self, text: str) -> bool:
        """Tell whether a text is one row."""
        return len(self.ids(text)) <= self._max_length

    def logits(self, text: str) -> Floats:
        """Return float32 [labels], or [tokens, labels] of a token classifier, for one row."""
        found: Floats = self.run([self.ids(text)[: self._max_length]])[0]
        return found

    def run(self, rows: Sequence[Sequence[int]], length: int = 0) -> Floats:
        """Return the logits of rows, padded to `length` or the longest with id 0 under mask 0.

        Raises ManifestInvalid where the graph fails, or gives another shape, NaN or infinity.
        """
        width = max(length, *map(len, rows))
        ids = np.zeros((len(rows), width), np.int64)
        mask = np.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row
            mask[at, : len(row)] = 1
        logits = _run(self._session, {"input_ids": ids, "attention_mask": mask}, ["logits"])[0]
        shapes = ((len(rows), self._labels), (len(rows), width, self._labels))
        if logits.shape not in shapes:
            raise ManifestInvalid(
                f"The graph gave {list(logits.shape)} for {len(rows)} rows of {width} tokens; "
                f"expected {self._labels} labels a row, or a row and token."
            )
        if not np.isfinite(logits).all():
            raise ManifestInvalid("The graph gave NaN or infinity.")
        return logits

    def examine(self, allowed: float) -> float:
        """Run the shapes that an engine will run.

        Return the largest change of a logit by padding, at most `allowed`.
        Raises ManifestInvalid, saying what the graph cannot do.
        """
        size = self._words.get_vocab_size(with_added_tokens=True)
        rng = np.random.default_rng(1)
        short = self.ids("a")
        rows = [[*short, *rng.integers(0, size, count).tolist()] for count in (3, 1, 5)]
        rows = [row[: self._max_length] for row in rows]
        mixed = self.run(rows, min(self._max_length, 16))
        tokens = mixed.ndim == 3  # noqa: PLR2004 -- batch, length, labels
        drift = 0.0
        for at, row in enumerate(rows):
            alone = self.run([row])[0]
            beside = mixed[at, : len(row)] if tokens else mixed[at]
            drift = max(drift, float(np.abs(alone - beside).max()))
        if drift > allowed:
            raise ManifestInvalid(
                f"A row's logits move by {drift:.3f} with padding: the graph does not heed its "
                "attention_mask, so that an answer would depend on the texts beside it."
            )
        try:
            self.run([[size - 1] * self._max_length])
        except ManifestInvalid:
            raise ManifestInvalid(
                f"The graph does not take a row of {self._max_length} tokens, or not every id of "
                f"its tokenizer ({size}): give a smaller --max-length, or the right tokenizer."
            ) from None
        return drift


class TensorTrial:
    """A tensor model's graph. Raises ManifestInvalid where it does not load."""

    def __init__(self, graph: bytes, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        self._session = session(graph)
        self._inputs = {each.name: each for each in inputs}
        self._outputs = [each.name for each in outputs]

    def right(self, example: TensorGolden) -> bool:
        """Tell whether an example comes out within its tolerance. Raises ManifestInvalid."""
        given = {
            name: _array(value, self._inputs[name].dtype) for name, value in example.inputs.items()
        }
        found = _run(self._session, given, self._outputs)
        for name, got in zip(self._outputs, found, strict=True):
            value = example.outputs[name]
            wanted = np.array(value.data, np.float64).reshape(value.shape)
            if got.shape != wanted.shape:
                return False
            if not np.all(np.abs(got.astype(np.float64) - wanted) <= example.tolerance):
                return False
        return True


def softmax(logits: Floats) -> Floats:
    """Return the scores of logits, along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return scores


def session(graph: bytes) -> onnxruntime.InferenceSession:
    """Load a graph on the CPU. Raises ManifestInvalid where ONNX Runtime does not."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Weights outside the verified bytes would be read from the working folder.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", os.devnull
    )
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 -- the runtime's own errors have no common class
        raise ManifestInvalid("model.onnx: expected a graph that ONNX Runtime can load.") from None


def _array(value: Value, dtype: str) -> NDArray[np.generic]:
    return np.array(value.data).astype(DTYPES[dtype]).reshape(value.shape)


def _run(
    loaded: Runner, given: Mapping[str, NDArray[np.generic]], names: list[str]
) -> list[Floats]:
    try:
        return list(loaded.run(names, dict(given)))
    except Exception:  # noqa: BLE001 -- as above; its words may hold values
        raise ManifestInvalid("The graph failed on an input of the declared form.") from None
