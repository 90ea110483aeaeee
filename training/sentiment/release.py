"""Putting a trained model in its folder: graph, tokenizer, card and manifest.

Decides what the manifest says. Each file is written whole and then renamed, the manifest last,
so that a reader sees the old model or the new one. It refuses a graph over 25 MB.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from training.sentiment.evaluate import Model, softmax

LIMIT = 25_000_000  # bytes of model.onnx
LABELS = ("negative", "positive")
GOLDEN = (
    "a moving, beautifully acted and deeply satisfying film .",
    "a dull, clumsy and thoroughly unpleasant waste of time .",
    "[NAME] was wonderful: kind, patient and very helpful .",
    "on [DATE] the service was terrible and the staff were rude .",
    "i love it .",
    "this is the worst thing i have ever seen .",
)


def put(path: Path, content: bytes) -> None:
    """Write `content` so that `path` is at every moment the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)  # noqa: PTH105  # Path.replace is the same call


def golden(model: Model) -> list[dict[str, Any]]:
    """Clear-cut examples with the score this model gives; a changed file shows up in them."""
    cases = []
    for text in GOLDEN:
        shares = softmax(model.alone([text]))[0]
        best = int(shares.argmax())
        case = {"text": text, "label": LABELS[best], "score": round(float(shares[best]), 4)}
        cases.append({**case, "tolerance": 0.05})
    return cases


def release(folder: Path, graph: bytes, tokenizer: Tokenizer, card: str, version: str) -> None:
    """Write the four files of the model into `folder`."""
    if len(graph) > LIMIT:
        raise SystemExit(f"the model has {len(graph)} bytes, more than {LIMIT}")
    files = {
        "model.onnx": graph,
        "tokenizer.json": tokenizer.to_str().encode(),
        "README.md": card.encode(),
    }
    for name, content in files.items():
        put(folder / name, content)
    model = Model.load(folder / "model.onnx", folder / "tokenizer.json")
    manifest = {
        "format": 1,
        "name": "sentiment",
        "version": version,
        "kind": "text",
        "task": "text-classification",
        "precision": "int8",
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        },
        "inputs": [
            {"name": name, "dtype": "INT64", "shape": ["batch", "length"]}
            for name in ("input_ids", "attention_mask")
        ],
        "outputs": [{"name": "logits", "dtype": "FP32", "shape": ["batch", 2]}],
        "labels": list(LABELS),
        "max_length": model.length,
        "windows": {"overlap": 32, "join": "mean"},
        "golden": golden(model),
        "added_by": "wardgate training/sentiment",
        "added_at": dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    put(folder / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
