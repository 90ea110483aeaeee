"""The usual FastAPI service: one `def` route, ONNX Runtime, no security; as its tutorials write it.

    MODEL=model.onnx TOKENIZER=tokenizer.json uvicorn fastapi_plain:app

A `def` route runs in FastAPI's thread pool; the session uses ONNX Runtime's defaults.
"""

from __future__ import annotations

from classifier import Classifier
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
classify = Classifier()


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
    label, score = classify([body.text])[0]
    return Reply(label=label, score=score)
