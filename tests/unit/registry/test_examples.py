"""Golden examples, with small classifiers made on the spot."""

from __future__ import annotations

import pytest

import tiny_models
from tiny_classifiers import classifier, texts
from wardgate.errors import ManifestInvalid
from wardgate.registry import graph as graphs
from wardgate.registry.examples import EXAMPLES, NEUTRAL, chosen, judged
from wardgate.registry.trial import TextTrial

LABELS = ("no", "yes")


def trial(*, tokens=False, seed=0, labels=2) -> TextTrial:
    made = graphs.adapt(classifier(tokens=tokens, seed=seed, labels=labels), labels, tokens=tokens)
    return TextTrial(graphs.write(made), tiny_models.tokenizer_json(), labels, 64)


def test_the_surest_texts_of_each_label_are_taken() -> None:
    found = chosen(trial(), LABELS, [], texts(100), tokens=False)
    assert len(found) == EXAMPLES
    assert {each["label"] for each in found[:2]} == set(LABELS)
    assert all(each["text"] in texts(100) and each["source"] == "model" for each in found)
    every = [trial().logits(text) for text in texts(100)]
    surest = max(float(abs(each[0] - each[1])) for each in every)
    first = trial().logits(found[0]["text"])
    assert float(abs(first[0] - first[1])) == pytest.approx(surest)


def test_without_a_sample_neutral_sentences_are_taken_and_long_texts_never() -> None:
    assert {each["text"] for each in chosen(trial(), LABELS, [], [], tokens=False)} == set(NEUTRAL)
    found = chosen(trial(), LABELS, [], ["w1 " * 100, "w2"], tokens=False)
    assert [each["text"] for each in found] == ["w2"]


def test_what_is_missing_of_a_given_example_is_filled_in() -> None:
    (seen,) = chosen(trial(), LABELS, [], ["w1 w2"], tokens=False)
    given = {"text": "w1 w2", "label": seen["label"]}
    assert chosen(trial(), LABELS, [given], [], tokens=False) == [seen | {"source": "given"}]
    other = LABELS[seen["label"] == "no"]
    with pytest.raises(ManifestInvalid, match=r"golden\[0\].label: the model gives another"):
        chosen(trial(), LABELS, [given | {"label": other}], [], tokens=False)


def test_a_label_for_each_token_and_none_for_special_ones() -> None:
    labels = ("O", "A", "B")
    (seen,) = chosen(trial(tokens=True, labels=3), labels, [], ["w1 w2 w3"], tokens=True)
    assert len(seen["labels"]) == 3
    again = judged(trial(tokens=True, labels=3), labels, seen, 0, tokens=True)
    assert again == seen
    wrong = seen | {"labels": seen["labels"][:2]}
    with pytest.raises(ManifestInvalid, match=r"golden\[4\].labels: the model gives other"):
        judged(trial(tokens=True, labels=3), labels, wrong, 4, tokens=True)
