"""Accuracy of the shipped sentiment model on SST-2 dev: raw, and through `/v1/predict`.

    python benchmarks/accuracy.py ../shared/data/sst2/dev.tsv

The difference is what de-identification, windows and batching cost in right labels.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import httpx
import numpy as np
import onnxruntime
import servers
from tokenizers import Tokenizer

LABELS = ("negative", "positive")


def main(path: Path) -> None:
    """Judge both ways and write the result."""
    rows = [line.split("\t", 1) for line in path.read_text("utf-8").splitlines()[1:]]
    session = onnxruntime.InferenceSession(servers.SHIPPED / "model.onnx")
    tokenizer = Tokenizer.from_file(str(servers.SHIPPED / "tokenizer.json"))
    raw = through = touched = 0
    with servers.wardgate() as ours, httpx.Client() as client:
        for label, text in rows:
            ids = np.array([tokenizer.encode(text).ids])
            (logits,) = session.run(
                ["logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            )
            raw += int(logits[0].argmax()) == int(label)
            answer = client.post(
                ours.url,
                content=json.dumps({"model": "sentiment", "text": text}),
                headers={
                    "content-type": "application/json",
                    "authorization": f"Bearer {ours.token}",
                },
            ).json()
            through += answer["label"] == LABELS[int(label)]
            touched += answer["text"] != text
    servers.write(
        "accuracy",
        {
            "what": __doc__,
            "sentences": len(rows),
            "raw": round(raw / len(rows), 4),
            "through_the_gateway": round(through / len(rows), 4),
            "sentences_that_deidentification_changed": touched,
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
