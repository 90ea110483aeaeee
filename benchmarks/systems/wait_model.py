"""A model for Triton's Python backend that waits: a batch takes `WAIT_MS` and no processor.

What a GPU does to a host, without a GPU: the caller waits, the processor is free. Every row gets
the same logits.
"""

from __future__ import annotations

import json
import sys
import time
from os import environ
from typing import Any

sys.path[:0] = [folder for folder in environ.get("PYTHONPATH", "").split(":") if folder]

import numpy as np  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402

LOGITS = (0.0, 2.0)


class TritonPythonModel:
    """One instance, as Triton's Python backend calls it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Take the wait from the configuration's parameters."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._seconds = float(parameters["wait_ms"]["string_value"]) / 1000

    def execute(self, requests: list[Any]) -> list[Any]:
        """Wait once for all requests of the batch."""
        time.sleep(self._seconds)
        answers = []
        for request in requests:
            rows = len(pb_utils.get_input_tensor_by_name(request, "input_ids").as_numpy())
            logits = np.tile(np.array(LOGITS, np.float32), (rows, 1))
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("logits", logits)]))
        return answers
