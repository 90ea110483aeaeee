"""Makes the golden examples of a text model that is added: given ones judged, or some observed.

An example that somebody gave must come out as it says. Without any, texts of a sample are taken
with what the model itself gives: they notice a damaged file, not a bad model, and are marked so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wardgate.errors import ManifestInvalid
from wardgate.registry.trial import TextTrial, softmax

TOLERANCE = 0.05
"""Of a golden score, where none was given: what other processors may make of int8."""
EXAMPLES = 6
"""Golden examples that are taken from texts, where none are given."""
NEUTRAL = (
    "the patient was seen today and feels well .",
    "no acute distress , lungs clear , abdomen soft .",
    "[NAME] was kind and explained everything very well .",
    "i waited for hours and nobody told me anything .",
    "severe chest pain since [DATE] , started on aspirin .",
    "follow up in two weeks , continue current medication .",
)
"""Texts for golden examples where nobody gave any; they hold no PHI."""


def chosen(
    trial: TextTrial,
    labels: Sequence[str],
    given: Sequence[Mapping[str, Any]],
    sample: Sequence[str],
    *,
    tokens: bool,
) -> list[dict[str, Any]]:
    """Return the examples as a manifest writes them, `labels` in the order of the logits.

    Raises ManifestInvalid where a given one does not come out, or no text can be one.
    """
    if given:
        return [judged(trial, labels, each, at, tokens=tokens) for at, each in enumerate(given)]
    pool = [text for text in dict.fromkeys(sample) if text.strip() and trial.fits(text)]
    observed = (_observed(trial, labels, text, tokens=tokens) for text in (pool[:200] or NEUTRAL))
    made = [each for each in observed if each is not None]
    if not tokens:  # the surest of each label first: a close call is a poor witness
        made.sort(key=lambda each: -each["score"])
        seen: dict[str, int] = {}
        for each in made:
            seen[each["label"]] = seen.get(each["label"], 0) + 1
            each["turn"] = seen[each["label"]]
        made.sort(key=lambda each: each.pop("turn"))
    if not made:
        raise ManifestInvalid("No text of the sample can be a golden example: give --golden.")
    return made[:EXAMPLES]


def _observed(
    trial: TextTrial, labels: Sequence[str], text: str, *, tokens: bool
) -> dict[str, Any] | None:
    """Return an example with what the model gives, None where a text has no token."""
    scores = softmax(trial.logits(text))
    if tokens:
        found = _token_labels(trial, labels, text)
        return {"text": text, "labels": found, "source": "model"} if found else None
    best = int(scores.argmax())
    return {
        "text": text,
        "label": labels[best],
        "score": round(float(scores[best]), 4),
        "tolerance": TOLERANCE,
        "source": "model",
    }


def judged(
    trial: TextTrial,
    labels: Sequence[str],
    example: Mapping[str, Any],
    at: int,
    *,
    tokens: bool,
) -> dict[str, Any]:
    """Return a given example, made whole, once it came out.

    `at` is its place in the list. Raises ManifestInvalid where the model gives something else.
    """
    text = example.get("text")
    if not isinstance(text, str) or not text:
        raise ManifestInvalid(f"golden[{at}].text: expected a text.")
    if not trial.fits(text):
        raise ManifestInvalid(f"golden[{at}].text: it is longer than one row.")
    if tokens:
        if example.get("labels") != _token_labels(trial, labels, text):
            raise ManifestInvalid(f"golden[{at}].labels: the model gives other labels.")
        return {"source": "given", **example}
    scores = softmax(trial.logits(text))
    if example.get("label") != labels[int(scores.argmax())]:
        raise ManifestInvalid(f"golden[{at}].label: the model gives another label.")
    score = round(float(scores.max()), 4)
    made = {"source": "given", "score": score, "tolerance": TOLERANCE, **example}
    if not isinstance(made["score"], int | float) or not isinstance(made["tolerance"], int | float):
        raise ManifestInvalid(f"golden[{at}]: expected numbers as score and tolerance.")
    if abs(made["score"] - score) > made["tolerance"]:
        raise ManifestInvalid(f"golden[{at}].score: the model gives {score}.")
    return made


def _token_labels(trial: TextTrial, labels: Sequence[str], text: str) -> list[str]:
    numbers = trial.logits(text).argmax(axis=-1)
    inner = trial.inner(text)
    return [labels[int(n)] for n, of_text in zip(numbers, inner, strict=False) if of_text]
