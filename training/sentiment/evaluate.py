"""Judging a shipped sentiment model with only onnxruntime, tokenizers and numpy.

    python -m training.sentiment.evaluate --model FOLDER --data FOLDER [--gazetteers FOLDER]

Recomputes what the model card says. It decides how each figure is counted and never writes to
the model folder; it refuses a model whose files do not have the digests of their manifest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer
from training.sentiment.data import AFTER, BEFORE, Example, Gazetteer, read_tsv, tag_mentions

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """A loaded model: ids in, logits out."""

    session: onnxruntime.InferenceSession
    tokenizer: Tokenizer
    length: int = 256  # tokens in one window, with [CLS] and [SEP]

    @classmethod
    def load(cls, model: Path, tokenizer: Path, threads: int = 1) -> Model:
        """Load the two files for the CPU with `threads` threads within an operator."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        return cls(session, Tokenizer.from_file(str(tokenizer)))

    def ids(self, text: str) -> list[int]:
        """Token ids of `text`, cut to one window."""
        ids: list[int] = self.tokenizer.encode(text).ids
        return ids if len(ids) <= self.length else [*ids[: self.length - 1], ids[-1]]

    def run(self, rows: list[list[int]], pad_to: int = 0) -> Logits:
        """Return logits [rows, 2] of one padded batch."""
        longest = max(pad_to, *map(len, rows))
        ids = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row
            mask[at, : len(row)] = 1
        fed = {"input_ids": ids, "attention_mask": mask}
        out: Logits = self.session.run(["logits"], fed)[0]
        return out

    def alone(self, texts: Iterable[str]) -> Logits:
        """Return logits [texts, 2], each text in a batch of its own."""
        return np.concatenate([self.run([self.ids(text)]) for text in texts])


def accuracy(logits: Logits, examples: list[Example]) -> float:
    """Share of `examples` whose larger logit is that of their label."""
    labels = np.array([example.label for example in examples])
    return float((logits.argmax(1) == labels).mean())


def drift(model: Model, texts: list[str], alone: Logits, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Compare each text's logits within mixed, padded batches with those it gets alone."""
    found: dict[str, Any] = {}
    order = list(range(len(texts)))
    random.Random(1).shuffle(order)
    for size in sizes:
        mixed = np.zeros_like(alone)
        for start in range(0, len(order), size):
            part = order[start : start + size]
            mixed[part] = model.run([model.ids(texts[at]) for at in part], pad_to=64)
        found[f"batch_{size}"] = {
            "labels_changed": int((mixed.argmax(1) != alone.argmax(1)).sum()),
            "largest_logit_difference": float(np.abs(mixed - alone).max()),
        }
    return found


def speed(model: Model, texts: list[str], repeats: int = 7) -> dict[str, float]:
    """Best time of `repeats`, in milliseconds, by batch and length in tokens, on these texts."""
    ids = model.ids(" ".join(texts))
    found = {}
    for batch in (1, 8, 16):
        for length in (16, 32, 64, 128):
            rows = [ids[:length]] * batch
            times = []
            for _ in range(repeats):
                began = time.perf_counter()
                model.run(rows)
                times.append(time.perf_counter() - began)
            found[f"{batch}x{length}"] = round(min(times) * 1000, 2)
    return found


def long_texts(examples: list[Example], count: int) -> list[Example]:
    """`count` texts of eight sentences of one label each, about 200 tokens."""
    rng = random.Random(2)
    by_label = [[e.text for e in examples if e.label == label] for label in (0, 1)]
    return [
        Example(" ".join(rng.sample(by_label[number % 2], 8)), number % 2)
        for number in range(count)
    ]


def with_carriers(examples: list[Example]) -> list[Example]:
    """Each text with a neutral phrase of tags before or after it, as in training."""
    rng = random.Random(3)
    out = []
    for example in examples:
        before = rng.random() < 0.5
        tag = rng.choice(BEFORE if before else AFTER)
        text = f"{tag} {example.text}" if before else f"{example.text} {tag}"
        out.append(Example(text, example.label))
    return out


def figures(model: Model, dev: list[Example], gazetteer: Gazetteer | None) -> dict[str, Any]:
    """Accuracy on `dev` as it is, tagged and long, and how far a batch moves the logits."""
    texts = [example.text for example in dev]
    alone = model.alone(texts)
    found: dict[str, Any] = {"examples": len(dev), "accuracy": accuracy(alone, dev)}
    if gazetteer is not None:
        tagged = [tag_mentions(text, gazetteer) for text in texts]
        found["accuracy_tagged"] = accuracy(model.alone(tagged), dev)
        found["tagged_examples"] = sum(a != b for a, b in zip(texts, tagged, strict=True))
    carried = with_carriers(dev)
    found["accuracy_with_tag_phrases"] = accuracy(model.alone(e.text for e in carried), carried)
    joined = long_texts(dev, 100)
    found["accuracy_eight_sentences"] = accuracy(model.alone(e.text for e in joined), joined)
    bare = model.alone(["[NAME]", "[DATE]", "seen by [NAME] on [DATE] in [LOCATION] ."])
    found["positive_share_of_bare_tags"] = [round(float(p), 3) for p in softmax(bare)[:, 1]]
    found["batch_drift"] = drift(model, texts, alone, (16, 32))
    return found


def softmax(logits: Logits) -> Logits:
    """Probabilities [rows, 2]."""
    raised = np.exp(logits - logits.max(1, keepdims=True))
    out: Logits = raised / raised.sum(1, keepdims=True)
    return out


def check_digests(folder: Path) -> dict[str, Any]:
    """Return the manifest of `folder` after checking the SHA-256 of each file it names."""
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for name, facts in manifest["files"].items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != facts["sha256"]:
            raise SystemExit(f"{name} is not the file that the manifest names")
    return manifest


def main() -> None:
    """Print the figures of a model folder as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of dev.tsv")
    parser.add_argument("--gazetteers", type=Path, help="folder of the gaz_* lists, to tag names")
    parser.add_argument("--speed", action="store_true", help="time it too, on one thread")
    given = parser.parse_args()
    manifest = check_digests(given.model)
    model = Model.load(given.model / "model.onnx", given.model / "tokenizer.json")
    gazetteer = Gazetteer.load(given.gazetteers) if given.gazetteers else None
    dev = read_tsv(given.data / "dev.tsv")
    found = figures(model, dev, gazetteer)
    golden = []
    for case in manifest["golden"]:
        shares = softmax(model.alone([case["text"]]))[0]
        label = manifest["labels"][int(shares.argmax())]
        close = abs(float(shares.max()) - case["score"]) <= case["tolerance"]
        golden.append(label == case["label"] and close)
    found["golden_right"] = f"{sum(golden)} of {len(golden)}"
    if given.speed:
        found["milliseconds_one_thread"] = speed(model, [example.text for example in dev])
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
