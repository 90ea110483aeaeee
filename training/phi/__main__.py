"""Train, export and judge the tagger: `python -m training.phi --data ../shared/data/phi`.

Reads the notes that `python -m training.phi.generate` has written to the work folder.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch
from training.phi import lexicon
from training.phi.features import Words
from training.phi.notes import Note, labelled, read, settled
from training.phi.train import Recipe, Run

LEAST, MOST = 2, 40_000
"""Notes in which a word of the vocabulary was seen at least, and most words."""


def words_of(
    train: list[Note], data: Path, work: Path, meaning: int
) -> tuple[list[str], Words, torch.Tensor]:
    """Return the vocabulary, the words by number, and what MiniLM takes each word of it for."""
    vocabulary = lexicon.vocabulary(labelled(train), LEAST, data, MOST)
    meanings = torch.from_numpy(lexicon.meanings(vocabulary, meaning, work)).float()
    return vocabulary, Words(vocabulary, lexicon.codes(data)), meanings


def main() -> None:
    """Run the steps in order; training goes on from the state in the work folder."""
    parser = argparse.ArgumentParser(prog="python -m training.phi", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of the public sets and lists"
    )
    parser.add_argument("--work", type=Path, required=True, help="notes and checkpoints")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument(
        "--minutes", type=float, default=1e9, help="stop after the epoch that passes them"
    )
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    recipe = Recipe(epochs=given.epochs)
    digest = hashlib.sha256((given.work / "train.jsonl").read_bytes()).hexdigest()
    train = list(settled(read(given.work / "train.jsonl")))
    dev = list(read(given.work / "dev.jsonl"))
    vocabulary, words, meanings = words_of(train, given.data, given.work, recipe.shape.meaning)
    print(f"{len(train)} notes, {len(vocabulary)} words in the vocabulary", flush=True)
    run = Run(
        train=train, dev=dev, words=words, meanings=meanings, recipe=recipe,
        work=given.work / recipe.mark(digest),
    )  # fmt: skip
    (run.work / "words.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    run.go(given.minutes)


if __name__ == "__main__":
    main()
