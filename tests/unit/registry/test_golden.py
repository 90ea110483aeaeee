from __future__ import annotations

import pytest

from wardgate.errors import ManifestInvalid
from wardgate.registry.fields import Fields
from wardgate.registry.golden import (
    Golden,
    TokenGolden,
    tensor_examples,
    text_examples,
    token_examples,
)

TEXT = {"text": "a", "label": "yes", "score": 1, "tolerance": 0}
TENSOR = {
    "inputs": {"x": {"shape": [2, 1], "data": [1, 2]}},
    "outputs": {"y": {"shape": [2], "data": [True, 0.5]}},
    "tolerance": 0.1,
}


def test_examples_are_read_with_who_judged_them():
    (found,) = text_examples([Fields(TEXT | {"source": "model"}, "g")], ["no", "yes"])
    assert found == Golden("a", "yes", 1.0, 0.0, "model")
    (token,) = token_examples([Fields({"text": "a", "labels": ["no"]}, "g")], ["no", "yes"])
    assert token == TokenGolden("a", ("no",), "given")
    (tensor,) = tensor_examples([Fields(TENSOR, "g")], ["x"], ["y"])
    assert tensor.inputs["x"].shape == (2, 1)
    assert tensor.outputs["y"].data == (True, 0.5)


@pytest.mark.parametrize(
    "value",
    [
        {"shape": [2], "data": [1]},
        {"shape": [0], "data": []},
        {"shape": [1] * 9, "data": [1]},
        {"shape": [1 << 40], "data": [1]},
        {"shape": [65_536, 65_536], "data": []},
        {"shape": [1], "data": ["1"]},
        {"shape": [1], "data": [None]},
        {"shape": [1], "data": [float("nan")]},
        {"shape": 1, "data": [1]},
        {"shape": [True], "data": [1]},
        {"shape": [1], "data": [1], "dtype": "FP32"},
        [1],
    ],
)
def test_a_tensor_that_is_none_is_refused(value):
    with pytest.raises(ManifestInvalid):
        tensor_examples([Fields(TENSOR | {"inputs": {"x": value}}, "g")], ["x"], ["y"])


@pytest.mark.parametrize(
    "changes", [{"inputs": {}}, {"inputs": {"x": {}, "z": {}}}, {"tolerance": -1}, {"more": 1}]
)
def test_an_example_of_other_tensors_is_refused(changes):
    with pytest.raises(ManifestInvalid):
        tensor_examples([Fields(TENSOR | changes, "g")], ["x"], ["y"])


def test_a_label_that_the_model_has_not_is_refused():
    with pytest.raises(ManifestInvalid, match=r"g\.label"):
        text_examples([Fields(TEXT | {"label": "maybe"}, "g")], ["no", "yes"])
    with pytest.raises(ManifestInvalid, match=r"g\.labels"):
        token_examples([Fields({"text": "a", "labels": ["maybe"]}, "g")], ["no", "yes"])
