"""Triton's Python backend: texts in, label and score out; a batch as Triton made it runs together.

As the example of a text model in Triton's Python backend: tokenizer and model in `execute`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

sys.path[:0] = [folder for folder in os.environ.get("PYTHONPATH", "").split(":") if folder]

import numpy as np  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402
from classifier import Classifier  # noqa: E402


class TritonPythonModel:
    """One instance, as Triton's Python backend calls it."""

    def initialize(self, args: dict[str, str]) -> None:  # noqa: ARG002 -- Triton's
        """Load the model."""
        self._classify = Classifier()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run the texts of all requests together, and give each request its own rows."""
        texts: list[str] = []
        ends = []
        for request in requests:
            given = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().ravel()
            texts += [text.decode() for text in given]
            ends.append(len(texts))
        found = self._classify(texts)
        answers = []
        for start, end in zip([0, *ends], ends, strict=False):
            rows = found[start:end]
            labels = np.array([[label.encode()] for label, _ in rows], np.object_)
            scores = np.array([[score] for _, score in rows], np.float32)
            answers.append(
                pb_utils.InferenceResponse(
                    [pb_utils.Tensor("label", labels), pb_utils.Tensor("score", scores)]
                )
            )
        return answers
