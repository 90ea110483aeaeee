"""Sizes of the encoders; apart from `model.py`, so that a graph is written without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of the encoder; the defaults are those of all-MiniLM-L6-v2."""

    vocabulary: int = 30522
    positions: int = 512
    width: int = 384
    inner: int = 1536
    heads: int = 12
    layers: int = 6
    dropout: float = 0.1
    epsilon: float = 1e-12  # of the layer norms
    relative: int = 0  # buckets of relative positions, shared by the layers; BERT has none


TEACHER = Shape(
    vocabulary=30527, width=768, inner=3072, layers=12, epsilon=1e-5, relative=32
)  # all-mpnet-base-v2
