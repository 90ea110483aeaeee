"""Training of the tagger: seeded, resumable, shows where it is.

Keeps the running average of the weights that does best on dev. A run may be cut off at any moment:
`state.pt` holds weights, average and optimiser after each epoch, and the next run of the same
recipe and notes goes on from there. Held-out files are not read here.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from training.phi.features import Augment, Batch, Window, Words, batches, collate, windows
from training.phi.model import Shape, Tagger
from training.phi.notes import LEFT_OUT, Note


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights, given the data."""

    seed: int = 20261122
    epochs: int = 3
    pieces: int = 8_192
    """In a batch."""
    length: int = 320
    rate: float = 3e-3
    warmup: float = 0.03
    weight_decay: float = 0.01
    average: float = 0.995
    smoothing: float = 0.01
    bfloat16: bool = True
    shape: Shape = field(default_factory=Shape)
    augment: Augment = field(default_factory=Augment)

    def mark(self, data: str) -> str:
        """Short name of recipe and data together."""
        told = json.dumps([asdict(self), data], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def loss_of(model: nn.Module, batch: Batch, recipe: Recipe) -> Tensor:
    """Mean cross entropy of the pieces that count."""
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
        logits = model(batch)
    return functional.cross_entropy(
        logits.float().flatten(0, 1), batch.tag.flatten(),
        ignore_index=LEFT_OUT, label_smoothing=recipe.smoothing,
    )  # fmt: skip


@torch.no_grad()
def told(model: nn.Module, made: Sequence[Window], words: Words) -> list[Tensor]:
    """Return the probabilities of the tags of each window, float32 [length, tags]."""
    model.eval()
    out: list[Tensor] = []
    for start in range(0, len(made), 16):
        part = made[start : start + 16]
        logits = functional.softmax(model(collate(part, words)), -1)
        out += [row[: len(window[0])] for row, window in zip(logits, part, strict=True)]
    return out


def judge(
    model: nn.Module, notes: Sequence[Note], words: Words, length: int = 4096
) -> dict[str, dict[str, float]]:
    """Return for each kind recall and precision of pieces at even odds, and a `score` of all."""
    made, kinds = [], []
    for note in notes:
        for window in windows([note], words, length, None, 0):
            made.append(window)
            kinds.append(note.kind)
    counts: dict[str, np.ndarray[Any, Any]] = defaultdict(lambda: np.zeros(3))
    for window, kind, found in zip(made, kinds, told(model, made, words), strict=True):
        gold, phi = window[2], (1 - found[:, 0]).numpy() > 0.5
        counts[kind] += (
            (phi & (gold > 0)).sum(), (phi & (gold == 0)).sum(), (~phi & (gold > 0)).sum()
        )  # fmt: skip
    out = {}
    for kind, (right, wrong, missed) in counts.items():
        out[kind] = {
            "recall": right / max(right + missed, 1), "precision": right / max(right + wrong, 1),
            "pieces": right + missed,
        }  # fmt: skip
    right, wrong, missed = sum(counts.values())
    out["all"] = {"recall": right / (right + missed), "precision": right / (right + wrong)}
    out["all"]["score"] = right / (right + 0.6 * missed + 0.4 * wrong)
    return out


def rate_at(step: int, total: int, warmup: float) -> float:
    """Share of the peak rate: up in a line, then down a half cosine."""
    rise = max(1, int(total * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


class Run:
    """One run in a folder of its own."""

    def __init__(
        self, *, train: list[Note], dev: list[Note], words: Words, meanings: Tensor,
        recipe: Recipe, work: Path, model: nn.Module | None = None,
    ) -> None:  # fmt: skip
        """Take what to learn from; `work` is made where it is not there."""
        torch.manual_seed(recipe.seed)
        self.model = model or Tagger(recipe.shape, meanings)
        self.train, self.dev, self.words = train, dev, words
        self.recipe, self.work = recipe, work
        self.history: list[dict[str, Any]] = []
        self.best = 0.0
        self.epoch = 0
        self.seconds = 0.0
        work.mkdir(parents=True, exist_ok=True)
        self.average = {k: v.clone().float() for k, v in self.model.state_dict().items()}
        decay = [w for w in self.model.parameters() if w.ndim > 1]
        plain = [w for w in self.model.parameters() if w.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": decay, "weight_decay": recipe.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=recipe.rate, betas=(0.9, 0.99), fused=True,
        )  # fmt: skip

    def begin(self, folder: Path) -> None:
        """Take the best weights of an earlier run with the same words to start from."""
        self.model.load_state_dict(torch.load(folder / "best.pt"))
        self.average = {k: v.clone().float() for k, v in self.model.state_dict().items()}

    def go(self, minutes: float = 1e9) -> None:
        """Train what is left of the epochs, or for `minutes`."""
        self._resume()
        recipe, began = self.recipe, time.monotonic()
        while self.epoch < recipe.epochs and time.monotonic() - began < minutes * 60:
            seed = recipe.seed + self.epoch
            torch.manual_seed(seed)
            made = windows(self.train, self.words, recipe.length, recipe.augment, seed)
            parts = batches(made, recipe.pieces, seed)
            total, done = len(parts) * recipe.epochs, len(parts) * self.epoch
            self.model.train()
            start, mean = time.monotonic(), 0.0
            bar = tqdm(parts, desc=f"epoch {self.epoch + 1}/{recipe.epochs}", mininterval=5)
            for step, part in enumerate(bar):
                for group in self.optimiser.param_groups:
                    group["lr"] = recipe.rate * rate_at(done + step, total, recipe.warmup)
                loss = loss_of(self.model, collate(part, self.words), recipe)
                self.optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimiser.step()
                self._blend()
                mean += (loss.item() - mean) / min(step + 1, 50)
                bar.set_postfix(loss=f"{mean:.4f}", refresh=False)
            self.epoch += 1
            self.seconds += time.monotonic() - start
            self._check(mean)

    def _blend(self) -> None:
        keep = self.recipe.average
        with torch.no_grad():
            for name, weight in self.model.state_dict().items():
                self.average[name].mul_(keep).add_(weight.float(), alpha=1 - keep)

    def _check(self, loss: float) -> None:
        own = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        figures = judge(self.model, self.dev, self.words)
        self.history.append({"epoch": self.epoch, "loss": loss, **figures["all"]})
        print(
            {k: (round(v["recall"], 4), round(v["precision"], 4)) for k, v in figures.items()},
            flush=True,
        )
        if figures["all"]["score"] > self.best:
            self.best = figures["all"]["score"]
            _put(self.work / "best.pt", {k: v.clone() for k, v in self.average.items()})
        self.model.load_state_dict(own)
        state = {
            "model": own, "average": self.average, "optimiser": self.optimiser.state_dict(),
            "epoch": self.epoch, "seconds": self.seconds, "best": self.best,
            "history": self.history,
        }  # fmt: skip
        _put(self.work / "state.pt", state)

    def _resume(self) -> None:
        path = self.work / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=False)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.seconds = state["epoch"], state["seconds"]
        self.best, self.history = state["best"], state["history"]

    def load_best(self) -> nn.Module:
        """Return the model with the best weights."""
        self.model.load_state_dict(torch.load(self.work / "best.pt"))
        return self.model.eval()


def _put(path: Path, state: object) -> None:
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)
