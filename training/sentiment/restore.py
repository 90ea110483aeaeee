"""The float32 weights of the shipped int8 file, for where the trained ones are not at hand.

Whole weights times their scale: the same network and, but for the rounding of activations, the same
answers. Rounding them again by the same ranges gives the same whole weights. Needs onnx and numpy.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import numpy_helper
from training.sentiment.export import Weights
from training.sentiment.shape import Shape


def restored(path: Path, shape: Shape) -> Weights:
    """Return the weights in the `static` graph at `path`, as `export.float32` takes them."""
    graph = onnx.load(path).graph
    stored = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    ends = ("norm.weight", "norm1.weight", "norm2.weight", "places.weight", ".bias")
    weights = {name: value for name, value in stored.items() if name.endswith(ends)}
    weights["words.weight"] = stored["words.q"] * stored["words.s"]
    for name in ("dense", "head"):
        weights[f"{name}.weight"] = stored[f"{name}.w"].T
    for at in (f"layers.{number}" for number in range(shape.layers)):
        for name in (f"{at}.{part}" for part in ("qkv", "out", "up", "down")):
            weights[f"{name}.weight"] = stored[f"{name}.w"].T * stored[f"{name}.s"][:, None]
    return weights
