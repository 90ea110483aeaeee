from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.errors import ModelOutputInvalid
from wardgate.nlp.postprocess import predict

LABELS = ("no", "yes", "maybe")
VALUES = st.floats(width=32, allow_nan=False, allow_infinity=False)


def logits(*rows):
    return np.array(rows, np.float32)


def test_one_row_is_its_softmax():
    found = predict(logits([0.0, math.log(3.0)]), ("no", "yes"), None)
    assert found.label == "yes"
    assert found.score == pytest.approx(0.75)
    assert found.scores == pytest.approx({"no": 0.25, "yes": 0.75})


def test_mean_averages_the_scores_of_the_windows():
    found = predict(logits([0.0, math.log(3.0)], [math.log(9.0), 0.0]), ("no", "yes"), "mean")
    assert found.scores == pytest.approx({"no": (0.25 + 0.9) / 2, "yes": (0.75 + 0.1) / 2})
    assert found.label == "no"


def test_max_takes_the_largest_of_each_label_scaled_to_one():
    found = predict(logits([0.0, math.log(3.0)], [math.log(9.0), 0.0]), ("no", "yes"), "max")
    assert found.scores == pytest.approx({"no": 0.9 / 1.65, "yes": 0.75 / 1.65})


def test_a_tie_goes_to_the_label_that_stands_first():
    assert predict(logits([1.0, 1.0]), ("no", "yes"), None).label == "no"


@pytest.mark.parametrize("row", [[-100.0, 5.0], [3e38, -3e38], [-3e38, -3e38], [1000.0, 999.0]])
def test_large_logits_do_not_overflow(row):
    found = predict(logits(row), ("no", "yes"), None)
    assert sum(found.scores.values()) == pytest.approx(1.0)


@given(
    st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from(["mean", "max"]),
)
def test_scores_are_a_distribution_and_the_label_is_its_largest(rows, join):
    found = predict(logits(*rows), LABELS, join)
    assert tuple(found.scores) == LABELS
    assert math.fsum(found.scores.values()) == pytest.approx(1.0)
    assert all(0.0 <= score <= 1.0 for score in found.scores.values())
    assert found.score == max(found.scores.values()) == found.scores[found.label]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused(value):
    with pytest.raises(ModelOutputInvalid):
        predict(logits([0.0, 1.0], [value, 1.0]), ("no", "yes"), "mean")


@pytest.mark.parametrize("shape", [(0, 2), (1, 3), (1, 1), (1, 0)])
def test_a_wrong_shape_is_refused(shape):
    with pytest.raises(ModelOutputInvalid):
        predict(np.zeros(shape, np.float32), ("no", "yes"), "mean")


def test_several_rows_without_a_rule_are_refused():
    with pytest.raises(ModelOutputInvalid) as refusal:
        predict(logits([0.0, 1.0], [0.0, 1.0]), ("no", "yes"), None)
    assert refusal.value.reason == "no-join-rule"
