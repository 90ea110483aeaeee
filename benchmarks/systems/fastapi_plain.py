"""The usual FastAPI service: one `def` route, ONNX Runtime, no security; as its tutorials write it.

    MODEL=model.onnx TOKENIZER=tokenizer.json uvicorn fastapi_plain:app

A `def` route runs in FastAPI's thread pool; the session uses ONNX Runtime's defaults.
"""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel
from tokenizers import Tokenizer

app = FastAPI()
session = onnxruntime.InferenceSession(os.environ["MODEL"], providers=["CPUExecutionProvider"])
tokenizer = Tokenizer.from_file(os.environ["TOKENIZER"])
tokenizer.enable_truncation(256)
labels = ["negative", "positive"]


class Body(BaseModel):
    """What the route takes."""

    text: str


class Reply(BaseModel):
    """What the route returns."""

    label: str
    score: float


@app.post("/predict")
def predict(body: Body) -> Reply:
    """Classify one text."""
    encoding = tokenizer.encode(body.text)
    logits = session.run(
        ["logits"],
        {
            "input_ids": np.array([encoding.ids], dtype=np.int64),
            "attention_mask": np.array([encoding.attention_mask], dtype=np.int64),
        },
    )[0][0]
    scores = np.exp(logits - logits.max())
    scores /= scores.sum()
    best = int(scores.argmax())
    return Reply(label=labels[best], score=float(scores[best]))
