"""Train, export and judge the tagger: `python -m training.phi --data ../shared/data/phi`.

Reads the notes that `python -m training.phi.generate` has written to the work folder; held-out ones
are only judged by `benchmarks/deid/layers.py`, after all is frozen.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from training.phi.compare import compare
from training.phi.features import Words, windows
from training.phi.notes import TAGS, labelled, read, settled
from training.phi.train import Recipe, Run, judge

from training.phi import export, lexicon, thresholds
from wardgate.deid.tagger import Tagger

LEAST, MOST = 2, 40_000
"""Notes in which a word of the vocabulary was seen at least, and most words."""
CALIBRATION = 600
"""Dev notes on which the ranges of the net's numbers are taken."""
WORDS = "words.txt"
RESULTS = Path(__file__).parents[1] / "results"


def save(name: str, found: dict[str, Any]) -> None:
    """Write figures to `training/results/`."""
    (RESULTS / name).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def finish(run: Run, vocabulary: list[str], codes: dict[str, int], out: Path) -> dict[str, Any]:
    """Export the best weights with thresholds chosen on dev, and return what is to be told."""
    model = run.load_best()
    sizes = export.ranges(
        model, windows(run.dev[:CALIBRATION], run.words, run.recipe.length, None, 0), run.words
    )
    open_ = {"start": dict.fromkeys(TAGS[1:], 0.5), "spread": thresholds.SPREAD, "vetoes": {}}
    files = export.files(model, vocabulary, codes, sizes, open_)
    chosen = thresholds.choose(Tagger(files), run.dev)
    files = export.files(model, vocabulary, codes, sizes, chosen)
    export.write(files, out)
    return {
        "recipe": asdict(run.recipe),
        "seconds": round(run.seconds),
        "history": run.history,
        "training_notes": len(run.train),
        "dev_notes": len(run.dev),
        "vocabulary": len(vocabulary),
        "dev": {
            kind: {name: round(float(value), 4) for name, value in figures.items()}
            for kind, figures in judge(model, run.dev, run.words).items()
        },
        "thresholds": chosen,
        "bytes": {name: len(data) for name, data in files.items()},
    }


def main() -> None:
    """Run the steps in order; training goes on from the state in the work folder."""
    parser = argparse.ArgumentParser(prog="python -m training.phi", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the public sets and lists")
    parser.add_argument("--work", type=Path, required=True, help="notes and checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tagger's files")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--rate", type=float, default=Recipe.rate, help="highest learning rate")
    parser.add_argument(
        "--start", type=Path, metavar="FOLDER",
        help="go on from the best.pt and words.txt of an earlier run, on other notes",
    )  # fmt: skip
    parser.add_argument("--compare", type=float, metavar="MINUTES", help="train the others instead")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    recipe = Recipe(epochs=given.epochs, rate=given.rate)
    notes = (given.work / "train.jsonl").read_bytes()
    work = given.work / recipe.mark(hashlib.sha256(notes).hexdigest())
    train = list(settled(read(given.work / "train.jsonl")))
    dev = list(read(given.work / "dev.jsonl"))
    if given.start:
        vocabulary = (given.start / WORDS).read_text("utf-8").split("\n")
    else:
        vocabulary = lexicon.vocabulary(labelled(train), LEAST, given.data, MOST)
    work.mkdir(parents=True, exist_ok=True)
    (work / WORDS).write_text("\n".join(vocabulary), "utf-8")
    codes = lexicon.codes(given.data)
    meanings = lexicon.meanings(vocabulary, recipe.shape.meaning, given.work)
    words = Words(vocabulary, codes, lexicon.strangers(codes, vocabulary))
    means = torch.from_numpy(meanings).float()
    print(f"{len(train)} notes, {len(vocabulary)} words in the vocabulary", flush=True)
    if given.compare:
        found = compare(train, dev, words, means, given.work / "compare", given.compare)
        save("phi-taggers.json", found)
        return
    run = Run(train=train, dev=dev, words=words, meanings=means, recipe=recipe, work=work)
    if given.start:
        run.begin(given.start)
    run.go()
    save("phi-tagger.json", finish(run, vocabulary, codes, given.out))


if __name__ == "__main__":
    main()
