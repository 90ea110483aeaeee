"""Makes a registry entry of a graph: adapted, tried, with golden examples, card and manifest.

It decides whether a model is fit to be registered: its graph does what the engines will ask of it,
its golden examples come out as they were given, and int8 gives the label of fp32 on at least 99 %
of a sample. Weights for torch are kept beside an exact graph where they answer as it does. It never
signs. Texts come de-identified: some of them end in the manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from wardgate.errors import ManifestInvalid
from wardgate.registry import graph as graphs
from wardgate.registry.examples import NEUTRAL, chosen, judged
from wardgate.registry.fields import Fields
from wardgate.registry.golden import tensor_examples
from wardgate.registry.huggingface import TorchRunner
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
from wardgate.registry.quantize import quantize, rounded_values
from wardgate.registry.ranges import reaches
from wardgate.registry.trial import TensorTrial, TextTrial

AGREEMENT = 0.99
"""Least share of a sample on which int8, or bfloat16, gives the label of fp32."""
SAMPLE_LEAST = 100
"""Least texts of a sample for int8: of fewer, not one may differ, and that says little."""
FIXED_AGREEMENT = 0.995
"""The same where steps are fixed: where more labels change, the slower form is worth its time."""
RANGE_TEXTS = 500
"""Most texts of a sample that fixed steps are taken from."""
TORCH_TEXTS = 200
"""Most texts of a sample that bfloat16 is judged on: processors are slow at it."""
DRIFT = {"fp32": 0.01, "fp16": 0.05, "bf16": 0.1, "int8": 0.1, "batch": 1.0}
"""Largest change of a logit that padding may make, by precision; a graph that ignores its mask is
far above. `batch`: activations rounded by one scale of a batch are known to move."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a manifest and a card say about where a model comes from."""

    name: str
    version: str
    source: str
    """A name without a path of this machine; of a download its id and commit."""
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
    torch: Mapping[str, bytes] = field(default_factory=dict)
    """`TORCH_FILES`, where the graph was made of them."""


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
    examples = chosen(trial, model.labels, golden, sample, tokens=tokens)
    if not golden:
        notes.append("No golden examples were given: they hold what the model itself gives.")
    torch = _for_torch(trial, model, examples, sample, notes, tokens=tokens) if not int8 else {}
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
    files = {GRAPH: graphs.write(graph), TOKENIZER: model.tokenizer, **torch}
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
    """Return the int8 graph, its trial and its agreement: of the quickest form that is good enough.

    Fixed steps are quicker than steps for each token, and a rounded vocabulary is smaller.
    Raises ManifestInvalid where labels of the sample change too often.
    """
    if graphs.precision(exact) != "fp32":
        raise ManifestInvalid("--int8 starts from an fp32 graph; this one is not.")
    if len(set(sample)) < SAMPLE_LEAST:
        raise ManifestInvalid(
            f"--int8 needs a sample (--sample) of at least {SAMPLE_LEAST} different texts to be "
            f"judged on; there are {len(set(sample))}."
        )
    wanted = [_chosen(trial, text, tokens=tokens) for text in sample]
    unit, figures = "tokens" if tokens else "texts", []
    rows = [trial.ids(text)[: model.max_length] for text in sample[:RANGE_TEXTS]]
    met = reaches(exact, rounded_values(exact, len(model.labels)), rows)
    for fixed, tables in ((met, True), (met, False), ({}, True), ({}, False)):
        graph = quantize(exact, len(model.labels), tables=tables, reaches=fixed)
        rounded = _tried(graph, model, [])
        given = [_chosen(rounded, text, tokens=tokens) for text in sample]
        found = _agreement(wanted, given)
        if not found["compared"]:
            raise ManifestInvalid("--int8: no text of the sample has a token to be judged on.")
        share = found["agreed"] / found["compared"]
        figures.append(f"{share:.2%}")
        if share >= (FIXED_AGREEMENT if fixed else AGREEMENT):
            kept = "" if tables else ", its vocabulary kept in fp32"
            how = "fixed steps" if fixed else "steps for each token"
            notes.append(
                f"int8 gives the label of fp32 on {share:.2%} of {found['compared']} {unit} "
                f"({how}{kept})."
            )
            return graph, rounded, found
    raise ManifestInvalid(
        f"int8 gives the label of fp32 on {' or '.join(dict.fromkeys(figures))} of "
        f"{found['compared']} {unit}; at least {AGREEMENT:.0%} are needed. Nothing is added."
    )


def _for_torch(
    trial: TextTrial,
    model: TextModel,
    examples: Sequence[Mapping[str, Any]],
    sample: Sequence[str],
    notes: list[str],
    *,
    tokens: bool,
) -> Mapping[str, bytes]:
    """Return the weights for torch; none, with a note, where bfloat16 answers otherwise."""
    if not model.torch:
        return {}
    texts = sample[:TORCH_TEXTS] or NEUTRAL
    try:
        half = TextTrial(
            TorchRunner(model.torch), model.tokenizer, len(model.labels), model.max_length
        )
        for at, example in enumerate(examples):
            judged(half, model.labels, example, at, tokens=tokens)
        found = _agreement(
            [_chosen(trial, text, tokens=tokens) for text in texts],
            [_chosen(half, text, tokens=tokens) for text in texts],
        )
    except ManifestInvalid as error:
        notes.append(f"No weights for torch on a GPU are kept. In bfloat16: {error.detail}")
        return {}
    said = f"{found['agreed']} of {found['compared']} labels in bfloat16 are those of fp32"
    if found["agreed"] < AGREEMENT * found["compared"]:
        notes.append(f"No weights for torch on a GPU are kept: {said}.")
        return {}
    notes.append(f"Weights for torch on a GPU are kept: {said}.")
    return model.torch


def _agreement(
    wanted: Sequence[NDArray[np.int64]], given: Sequence[NDArray[np.int64]]
) -> dict[str, int]:
    """Count the labels, and those that are the same."""
    return {
        "compared": sum(np.size(each) for each in wanted),
        "agreed": sum(int(np.sum(a == b)) for a, b in zip(wanted, given, strict=True)),
    }


def _chosen(trial: TextTrial, text: str, *, tokens: bool) -> NDArray[np.int64]:
    """Return the label's number, or those of the text's own tokens: special ones prove nothing."""
    numbers: NDArray[np.int64] = trial.logits(text).argmax(axis=-1)
    return numbers[trial.inner(text)[: len(numbers)]] if tokens else numbers


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
        "source": origin.source,
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
