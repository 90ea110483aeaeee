"""The model as every system but Wardgate runs it: one tokenizer, one ONNX Runtime session.

Texts that come together are padded to the longest of them, as the tokenizer's and Triton's own
examples do. Environment: MODEL and TOKENIZER (files), LABELS (with commas), MAX_LENGTH, THREADS (0
leaves it to ONNX Runtime), COUNTS (a folder: rows and padding are counted there for the benchmark).
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

_COUNTS = struct.Struct("<4q")
"""Runs, rows, tokens, tokens with padding; `wardgate.cli.bench.probe.COUNTS`."""


class Classifier:
    """Reads texts, gives a label and its score for each."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("THREADS", "0"))
        self._session = onnxruntime.InferenceSession(
            os.environ["MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(os.environ["TOKENIZER"])
        self._tokenizer.enable_truncation(int(os.environ.get("MAX_LENGTH", "256")))
        self._tokenizer.enable_padding()
        self.labels = os.environ.get("LABELS", "negative,positive").split(",")
        self._counts = _file()

    def __call__(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """Return label and score of each text; all run together."""
        encodings = self._tokenizer.encode_batch(list(texts))
        ids = np.array([each.ids for each in encodings], np.int64)
        mask = np.array([each.attention_mask for each in encodings], np.int64)
        logits = self._session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        if self._counts is not None:
            before = _COUNTS.unpack(self._counts[:])
            more = (1, len(ids), int(mask.sum()), ids.size)
            self._counts[:] = _COUNTS.pack(*(a + b for a, b in zip(before, more, strict=True)))
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        best = scores.argmax(axis=1)
        return [
            (self.labels[place], float(row[place])) for place, row in zip(best, scores, strict=True)
        ]


def _file() -> mmap.mmap | None:
    """Return this process's counters, shared with the benchmark."""
    folder = os.environ.get("COUNTS")
    if not folder:
        return None
    path = Path(folder) / f"{os.getpid()}-{os.urandom(4).hex()}.counts"
    path.write_bytes(_COUNTS.pack(0, 0, 0, 0))
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), _COUNTS.size)
