"""Makes a registry entry of a graph: adapted, tried, with golden examples, card and manifest.

It decides whether a model is fit to be registered: its graph does what the engines will ask of it,
its golden examples come out as they were given, and int8 gives the label of fp32 on at least 99 %
of a sample. It never signs. Texts come de-identified: some of them end in the manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from wardgate.errors import ManifestInvalid
from wardgate.registry import graph as graphs
from wardgate.registry.fields import Fields
from wardgate.registry.golden import tensor_examples
from wardgate.registry.manifest import (
    CARD,
    FORMAT,
    GRAPH,
    MANIFEST,
    TOKENIZER,
    Tensor,
    parse,
    text_inputs,
    text_outputs,
)
from wardgate.registry.quantize import quantize
from wardgate.registry.trial import TensorTrial, TextTrial, softmax

AGREEMENT = 0.99
"""Least share of a sample on which int8 gives the label of fp32."""
TOLERANCE = 0.05
"""Of a golden score, where none was given: what other processors may make of int8."""
DRIFT = {"fp32": 0.01, "fp16": 0.05, "bf16": 0.1, "int8": 0.1, "batch": 1.0}
"""Largest change of a logit that padding may make, by precision; a graph that ignores its mask is
far above. `batch`: activations rounded by one scale of a batch are known to move."""
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


@dataclass(frozen=True, slots=True)
class Origin:
    """What a manifest and a card say about where a model comes from."""

    name: str
    version: str
    source: str
    """A name without a path of this machine."""
    added_by: str
    added_at: str
    """UTC, `YYYY-MM-DDThh:mm:ssZ`."""
    card: str | None = None
    """The model's own card; None writes a short one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A registry entry, ready to be written."""

    name: str
    version: str
    files: Mapping[str, bytes]
    """All files but the signature, the manifest among them."""
    notes: tuple[str, ...]
    """What whoever adds the model should know, in sentences."""


@dataclass(frozen=True, slots=True)
class TextModel:
    """A text model to be registered."""

    graph: bytes
    tokenizer: bytes
    labels: tuple[str, ...]
    max_length: int
    join: Literal["mean", "max"] | None = None
    """How windows of a long note are joined; None refuses a long note."""


def text_entry(
    model: TextModel,
    origin: Origin,
    *,
    golden: Sequence[Mapping[str, Any]] = (),
    sample: Sequence[str] = (),
    int8: bool = False,
) -> Entry:
    """Return the entry of a text model.

    `golden` are examples as the manifest writes them, where `score` and `tolerance` may be missing;
    without any, some of `sample` are taken, or neutral sentences, with what the model gives.
    `sample` is what int8 is judged on. Raises ManifestInvalid, saying what is not fit.
    """
    read = graphs.read(model.graph)
    tokens = _is_token(read, model)
    exact = graphs.adapt(read, len(model.labels), tokens=tokens)
    graph, precision = exact, graphs.precision(exact)
    notes: list[str] = []
    trial = _tried(exact, model, notes)
    quantised = None
    if int8:
        graph, trial, quantised = _rounded(exact, trial, model, sample, notes, tokens=tokens)
        precision = "int8"
    examples = _golden(trial, model, golden, sample, tokens=tokens)
    if not golden:
        notes.append("No golden examples were given: they hold what the model itself gives.")
    task: Literal["text-classification", "token-classification"] = (
        "token-classification" if tokens else "text-classification"
    )
    tree = {
        "kind": "text",
        "task": task,
        "precision": precision,
        **({} if quantised is None else {"quantised": quantised}),
        "inputs": [_tensor(each) for each in text_inputs()],
        "outputs": [_tensor(each) for each in text_outputs(task, len(model.labels))],
        "labels": list(model.labels),
        "max_length": model.max_length,
        "windows": (
            None if model.join is None else {"overlap": model.max_length // 8, "join": model.join}
        ),
        "golden": examples,
    }
    facts = [f"Task: {task}; labels: {', '.join(model.labels)}; up to {model.max_length} tokens."]
    files = {GRAPH: graphs.write(graph), TOKENIZER: model.tokenizer}
    return _entry(origin, files, tree, [*facts, *notes], notes)


def tensor_entry(
    graph: bytes, origin: Origin, *, golden: Sequence[Mapping[str, Any]] = ()
) -> Entry:
    """Return the entry of a tensor model, whose inputs hold no PHI: its signer answers for that.

    `golden` are examples as the manifest writes them. Raises ManifestInvalid, saying what is wrong.
    """
    read = graphs.read(graph)
    inputs, outputs = graphs.signature(read)
    content = graphs.write(read)
    trial = TensorTrial(content, inputs, outputs)
    examples = tensor_examples(
        [Fields(dict(each), f"golden[{at}]") for at, each in enumerate(golden)],
        [each.name for each in inputs],
        [each.name for each in outputs],
    )
    for at, example in enumerate(examples):
        if not trial.right(example):
            raise ManifestInvalid(f"golden[{at}]: the model does not give what was given.")
    tree = {
        "kind": "tensor",
        "phi_free": True,
        "precision": graphs.precision(read),
        "inputs": [_tensor(each) for each in inputs],
        "outputs": [_tensor(each) for each in outputs],
        "golden": list(golden),
    }
    notes = () if golden else ("No golden examples were given: only finite outputs are checked.",)
    facts = [
        "A tensor model: its inputs are not de-identified, and hold no PHI by promise.",
        *notes,
    ]
    return _entry(origin, {GRAPH: content}, tree, facts, notes)


def _is_token(model: onnx.ModelProto, given: TextModel) -> bool:
    """Tell whether the graph gives logits for each token; where it does not say, try it."""
    found = graphs.rank(model)
    if found is not None:
        return found == 3  # noqa: PLR2004 -- batch, length, labels
    blind = graphs.write(graphs.adapt(model, len(given.labels), tokens=False))
    trial = TextTrial(blind, given.tokenizer, len(given.labels), given.max_length)
    return trial.run([trial.ids("a")]).ndim == 3  # noqa: PLR2004 -- as above


def _tried(graph: onnx.ModelProto, model: TextModel, notes: list[str]) -> TextTrial:
    trial = TextTrial(graphs.write(graph), model.tokenizer, len(model.labels), model.max_length)
    scaled = graphs.batch_scaled(graph)
    drift = trial.examine(DRIFT["batch"] if scaled else DRIFT[graphs.precision(graph)])
    if scaled:
        notes.append(
            "The graph rounds a whole batch by one scale, so that answers move with their "
            f"neighbours (by {drift:.3f} of a logit when tried)."
        )
    return trial


def _rounded(
    exact: onnx.ModelProto,
    trial: TextTrial,
    model: TextModel,
    sample: Sequence[str],
    notes: list[str],
    *,
    tokens: bool,
) -> tuple[onnx.ModelProto, TextTrial, dict[str, int]]:
    """Return the int8 graph, its trial and its agreement; vocabularies stay fp32 if that helps.

    Raises ManifestInvalid where labels of the sample change too often.
    """
    if graphs.precision(exact) != "fp32":
        raise ManifestInvalid("--int8 starts from an fp32 graph; this one is not.")
    if not sample:
        raise ManifestInvalid("--int8 needs a sample of texts to be judged on (--sample).")
    wanted = [_chosen(trial, text, tokens=tokens) for text in sample]
    unit, figures = "tokens" if tokens else "texts", []
    for tables in (True, False):
        graph = quantize(exact, len(model.labels), tables=tables)
        rounded = _tried(graph, model, [])
        given = [_chosen(rounded, text, tokens=tokens) for text in sample]
        found = {
            "compared": sum(np.size(each) for each in wanted),
            "agreed": sum(int(np.sum(a == b)) for a, b in zip(wanted, given, strict=True)),
        }
        if not found["compared"]:
            raise ManifestInvalid("--int8: no text of the sample has a token to be judged on.")
        share = found["agreed"] / found["compared"]
        figures.append(f"{share:.2%}")
        if share >= AGREEMENT:
            kept = "" if tables else ", its vocabulary kept in fp32"
            notes.append(
                f"int8 gives the label of fp32 on {share:.2%} of {found['compared']} {unit}{kept}."
            )
            return graph, rounded, found
    raise ManifestInvalid(
        f"int8 gives the label of fp32 on {' or '.join(dict.fromkeys(figures))} of "
        f"{found['compared']} {unit}; at least {AGREEMENT:.0%} are needed. Nothing is added."
    )


def _chosen(trial: TextTrial, text: str, *, tokens: bool) -> NDArray[np.int64]:
    """Return the label's number, or those of the text's own tokens: special ones prove nothing."""
    numbers: NDArray[np.int64] = trial.logits(text).argmax(axis=-1)
    return numbers[trial.inner(text)[: len(numbers)]] if tokens else numbers


def _golden(
    trial: TextTrial,
    model: TextModel,
    given: Sequence[Mapping[str, Any]],
    sample: Sequence[str],
    *,
    tokens: bool,
) -> list[dict[str, Any]]:
    if given:
        return [_judged(trial, model, dict(each), at, tokens) for at, each in enumerate(given)]
    pool = [text for text in dict.fromkeys(sample) if text.strip() and trial.fits(text)]
    observed = (_observed(trial, model, text, tokens) for text in (pool[:200] or NEUTRAL))
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


def _observed(trial: TextTrial, model: TextModel, text: str, tokens: bool) -> dict[str, Any] | None:
    """Return an example with what the model gives, None where a text has no token."""
    scores = softmax(trial.logits(text))
    if tokens:
        labels = _token_labels(trial, model, text)
        return {"text": text, "labels": labels, "source": "model"} if labels else None
    best = int(scores.argmax())
    return {
        "text": text,
        "label": model.labels[best],
        "score": round(float(scores[best]), 4),
        "tolerance": TOLERANCE,
        "source": "model",
    }


def _judged(
    trial: TextTrial, model: TextModel, example: dict[str, Any], at: int, tokens: bool
) -> dict[str, Any]:
    """Hold a given example against the model. Raises ManifestInvalid where it does not agree."""
    text = example.get("text")
    if not isinstance(text, str) or not text:
        raise ManifestInvalid(f"golden[{at}].text: expected a text.")
    if not trial.fits(text):
        raise ManifestInvalid(f"golden[{at}].text: it is longer than one row.")
    if tokens:
        if example.get("labels") != _token_labels(trial, model, text):
            raise ManifestInvalid(f"golden[{at}].labels: the model gives other labels.")
        return {"source": "given", **example}
    scores = softmax(trial.logits(text))
    if example.get("label") != model.labels[int(scores.argmax())]:
        raise ManifestInvalid(f"golden[{at}].label: the model gives another label.")
    score = round(float(scores.max()), 4)
    made = {"source": "given", "score": score, "tolerance": TOLERANCE, **example}
    if not isinstance(made["score"], int | float) or not isinstance(made["tolerance"], int | float):
        raise ManifestInvalid(f"golden[{at}]: expected numbers as score and tolerance.")
    if abs(made["score"] - score) > made["tolerance"]:
        raise ManifestInvalid(f"golden[{at}].score: the model gives {score}.")
    return made


def _token_labels(trial: TextTrial, model: TextModel, text: str) -> list[str]:
    numbers = trial.logits(text).argmax(axis=-1)
    inner = trial.inner(text)
    return [model.labels[int(n)] for n, of_text in zip(numbers, inner, strict=False) if of_text]


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def _entry(
    origin: Origin,
    files: dict[str, bytes],
    tree: dict[str, Any],
    facts: Sequence[str],
    notes: Sequence[str],
) -> Entry:
    """Write card and manifest, and parse what was written as a gateway would."""
    files[CARD] = _card(origin, facts).encode()
    whole = {
        "format": FORMAT,
        "name": origin.name,
        "version": origin.version,
        **tree,
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        },
        "added_by": origin.added_by,
        "added_at": origin.added_at,
    }
    raw = (json.dumps(whole, indent=2) + "\n").encode()
    parse(raw)
    return Entry(origin.name, origin.version, {**files, MANIFEST: raw}, tuple(notes))


def _card(origin: Origin, facts: Sequence[str]) -> str:
    """Return the model's card with what was found while adding it."""
    top = origin.card or (
        f"# {origin.name}, version {origin.version}\n\n"
        "Nobody has written a card: intended use, data, figures and limits are not known.\n"
    )
    lines = [f"From {origin.source}, added by {origin.added_by} at {origin.added_at}.", *facts]
    return (
        top.rstrip("\n") + "\n\n## Added to Wardgate\n\n" + "".join(f"* {line}\n" for line in lines)
    )
