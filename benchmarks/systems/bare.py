"""A bare `async def` route with a Pydantic body: what a gateway's own cost is measured against."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Body(BaseModel):
    """What the route takes."""

    model: str
    text: str


class Reply(BaseModel):
    """What the route returns."""

    label: str
    score: float


@app.post("/v1/predict")
async def predict(body: Body) -> Reply:  # noqa: ARG001 -- the body is parsed, and that is all
    """Answer at once."""
    return Reply(label="positive", score=0.9)
