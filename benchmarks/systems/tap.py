"""Writes down what a sentiment model is given: the token ids of each row, without padding.

`listen(path)` goes around ONNX Runtime, so it stands at the model's own input whatever server is
around it. The tagger inside Wardgate, which reads raw text to find PHI, has other inputs and is no
model server. In Triton's Python backend these lines are put at the end of the exported `model.py`.
"""

from __future__ import annotations

import json
import os
from typing import Any


def listen(path: str) -> None:
    """Append a JSON list of ids to the file `path`, which must be there, for each row that runs."""
    import onnxruntime  # noqa: PLC0415 -- whoever loads it first sets its switches

    run = onnxruntime.InferenceSession.run

    def heard(self: Any, outputs: Any, feed: Any, *more: Any) -> Any:
        if set(feed) == {"input_ids", "attention_mask"}:
            rows = zip(feed["input_ids"], feed["attention_mask"], strict=True)
            lines = "".join(json.dumps(ids[mask == 1].tolist()) + "\n" for ids, mask in rows)
            file = os.open(path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(file, lines.encode())
            finally:
                os.close(file)
        return run(self, outputs, feed, *more)

    onnxruntime.InferenceSession.run = heard
