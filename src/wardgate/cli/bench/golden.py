"""Right answers, before a system is measured: those of the model file itself, run here one by one.

A system that answers quickly and wrongly is no system. The notes are some of the run's own that
hold no PHI, so that a gateway that removes it sends the model the same text as one that does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from wardgate.cli.bench import forms, generator
from wardgate.cli.bench.environment import Model
from wardgate.cli.bench.forms import Answer
from wardgate.cli.bench.generator import Job
from wardgate.cli.bench.launch import Failed
from wardgate.deid.deidentify import Deidentifier
from wardgate.nlp.postprocess import predict

COUNT = 8
CHARACTERS = 600
"""Longest golden note: one that every system reads in one piece."""
TOLERANCE = 0.05
"""Of a score; the rounding of an int8 model depends on the other rows of its batch."""
_GOOD = 200


def clean(texts: Sequence[str], count: int = COUNT) -> list[str]:
    """Return the first `count` short notes without PHI. Raises Failed where there is none."""
    deidentify = Deidentifier().deidentify
    found: list[str] = []
    for text in texts:
        if len(text) <= CHARACTERS and deidentify(text).text == text and text not in found:
            found.append(text)
        if len(found) == count:
            break
    if not found:
        raise Failed("no note is free of PHI: golden answers need some")
    return found


def expected(model: Model, texts: Sequence[str]) -> list[Answer]:
    """Return the model's own answers, one text at a time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(model.entry / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    tokenizer = Tokenizer.from_file(str(model.entry / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(model.manifest["max_length"])
    answers = []
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids], np.int64)
        logits = session.run(["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
        found = predict(logits, model.manifest["labels"], None)
        answers.append(Answer(found.label, found.score))
    return answers


def check(job: Job, texts: Sequence[str], wanted: Sequence[Answer]) -> dict[str, Any]:
    """Ask a system for these notes, one by one; return how many were right.

    Raises Failed at a wrong answer, with the two answers and no text.
    """
    lone = replace(job, texts=list(texts), load=replace(job.load, lanes=1))
    try:
        replies = asyncio.run(generator.ask(lone))
    except (OSError, TimeoutError) as error:
        raise Failed(f"it did not answer: {type(error).__name__}") from None
    farthest = 0.0
    for (status, body), right in zip(replies, wanted, strict=True):
        if status != _GOOD:
            raise Failed(f"a golden note was answered with status {status}")
        try:
            given = forms.answer(job.form, body, grpc=job.protocol == "grpc")
        except ValueError as error:
            raise Failed(str(error)) from None
        off = abs(given.score - right.score)
        if given.label != right.label or off > TOLERANCE:
            raise Failed(
                f"wrong answer: {given.label} {given.score:.3f}, "
                f"and the model says {right.label} {right.score:.3f}"
            )
        farthest = max(farthest, off)
    return {"notes": len(replies), "farthest_score": round(farthest, 4)}
