"""How far the values reach that a graph's products take, met on a sample: what fixes int8 steps.

The largest value alone would give all others coarse steps, for a few channels of a trained network
reach tenfold. So a reach is where cutting off costs as much as it saves: the one with the least
squared error over what was met.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from wardgate.registry import graph as graphs
from wardgate.registry.trial import session

BINS = 2_048
"""Of the histogram of a value's sizes."""
SHARES = np.linspace(0.2, 1.0, 41)
"""Of the largest size, where a reach may be."""
STEPS = 127
"""Whole steps from zero to the reach."""


def reaches(
    model: onnx.ModelProto, names: Sequence[str], rows: Sequence[Sequence[int]]
) -> dict[str, float]:
    """Return for each value the absolute size at which its steps should end.

    `rows` are the ids of texts. Each is run twice: for the largest sizes, then for how many values
    are of which size.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    loaded = session(graphs.write(probe))
    largest = dict.fromkeys(names, 0.0)
    counts = {name: np.zeros(BINS) for name in names}

    def met(ids: Sequence[int]) -> dict[str, NDArray[np.float32]]:
        given = np.array([ids], np.int64)
        found = loaded.run(list(names), {"input_ids": given, "attention_mask": np.ones_like(given)})
        return {name: np.abs(value) for name, value in zip(names, found, strict=True)}

    for ids in rows:
        for name, sizes in met(ids).items():
            largest[name] = max(largest[name], float(sizes.max()))
    for ids in rows:
        for name, sizes in met(ids).items():
            counts[name] += np.histogram(sizes, BINS, (0.0, largest[name] or 1.0))[0]
    return {name: _reach(counts[name], largest[name]) for name in names}


def _reach(counts: NDArray[np.float64], largest: float) -> float:
    """Return the reach of the least squared error: of rounding below it, of cutting off above."""
    middles = (np.arange(BINS) + 0.5) * (largest / BINS)

    def error(reach: float) -> float:
        rounding = (reach / STEPS) ** 2 / 12
        lost = np.maximum(middles - reach, 0.0) ** 2
        return float((counts * np.where(middles > reach, lost, rounding)).sum())

    return min((float(share) * largest for share in SHARES), key=error)
