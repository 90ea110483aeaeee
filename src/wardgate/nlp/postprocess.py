"""Logits to a prediction: a stable softmax for each window, joined by the manifest's rule.

Decides nothing else. It refuses logits that are not finite or not one for each label; such a result
never becomes a reply.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from wardgate.errors import ModelOutputInvalid
from wardgate.types import Logits, Prediction


def predict(logits: Logits, labels: Sequence[str], join: str | None) -> Prediction:
    """Return the label with the largest joined score, and all scores; they sum to 1.

    `logits` is float32 [rows, labels]. `join` is the manifest's rule for several rows: `mean`
    averages the windows' softmax scores, `max` takes each label's largest and scales the sum to 1.
    A tie goes to the label that stands first. Raises ModelOutputInvalid for a wrong shape, for a
    value that is not finite, and for several rows without a rule.
    """
    # Plain floats: numpy's calls cost more than the arithmetic on arrays this small.
    rows = [_softmax(row) for row in logits.tolist()]
    if not rows or any(len(row) != len(labels) for row in rows):
        raise ModelOutputInvalid
    if len(rows) == 1:
        scores = rows[0]
    elif join == "mean":
        scores = [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]
    elif join == "max":
        largest = [max(column) for column in zip(*rows, strict=True)]
        total = math.fsum(largest)
        scores = [score / total for score in largest]
    else:
        raise ModelOutputInvalid(reason="no-join-rule")
    score = max(scores)
    return Prediction(labels[scores.index(score)], score, dict(zip(labels, scores, strict=True)))


def _softmax(row: list[float]) -> list[float]:
    if not row or not all(map(math.isfinite, row)):
        raise ModelOutputInvalid
    # The largest value itself is taken off, so that no exponent is above 0 and none overflows.
    top = max(row)
    powers = [math.exp(value - top) for value in row]
    total = sum(powers)
    return [power / total for power in powers]
