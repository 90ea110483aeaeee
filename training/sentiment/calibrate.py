"""How far the numbers in the network reach, met on training text: what fixes the int8 steps.

Decides the text: phrases of SST-2 train as training shows them, with tags and joined, and passages
of visit notes, as the gateway is there for such. Never dev.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from tokenizers import Tokenizer
from training.sentiment.data import AFTER, BEFORE, Augment, Example, Gazetteer, change
from training.sentiment.export import Graph, Ranges, Weights, float32
from training.sentiment.shape import Shape

SEED = 20261201
PHRASES, PASSAGES = 800, 100
LENGTH = 256  # tokens, as in one window
NOTES = Path("aci_bench_text/text_dev.jsonl")
"""Clinical prose (ACI-Bench, CC BY 4.0), beside the name lists."""
AUGMENT = Augment(carrier=0.25, joined=0.3, several=0.1)


def calibration(train: list[Example], gazetteer: Gazetteer, folder: Path) -> list[str]:
    """Return the same texts whenever asked; `folder` holds `NOTES`."""
    rng = random.Random(SEED)
    phrases = rng.sample(train, min(PHRASES, len(train)))
    texts = [change(phrase, phrases, gazetteer, AUGMENT, rng) for phrase in phrases]
    lines = (folder / NOTES).read_text(encoding="utf-8").splitlines()
    for note in rng.sample([json.loads(line)["text"] for line in lines], min(PASSAGES, len(lines))):
        start = rng.randrange(max(1, len(note) - 800))
        passage = note[start : start + rng.randint(100, 800)]
        texts.append(f"{rng.choice(BEFORE)} {passage} {rng.choice(AFTER)}")
    return texts


def ranges(weights: Weights, shape: Shape, tokenizer: Tokenizer, texts: Iterable[str]) -> Ranges:
    """Return the largest absolute value that goes into each product."""
    graph = Graph()
    model = float32(weights, shape, graph)
    names = sorted(set(graph.taken.values()))
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    largest: Ranges = {}
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids[:LENGTH]])
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        for name, value in zip(names, session.run(names, given), strict=True):
            largest[name] = max(largest.get(name, 0.0), float(np.abs(value).max()))
    return {product: largest[name] for product, name in graph.taken.items()}
