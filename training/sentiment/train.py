"""Fine-tuning: seeded, resumable, one model out.

Decides the recipes (`TEACHER`, `MEMBERS`) and which weights are kept: the running average of the
weights that does best on held-out training phrases; `blend` takes the mean of runs from the same
start. Dev is not read here. A run may be cut off at
any moment: the state file holds weights, averages, optimiser and random state, and the next run
goes on at the step after it, over the same batches. It refuses a state file made by another recipe.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm
from training.sentiment.data import (
    FULL_WORDS,
    Augment,
    Example,
    Gazetteer,
    epoch_batches,
)
from training.sentiment.model import Sentiment, start_head

Batch = list[tuple[str, float]]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights, given the data."""

    seed: int = 20261122
    epochs: int = 4
    batch: int = 64
    rate: float = 5e-5  # peak learning rate of the top layer
    head_factor: float = 4.0  # the head starts from noise and may move faster
    layer_decay: float = 0.85  # each layer below the top learns this much slower
    warmup: float = 0.06  # share of all steps
    weight_decay: float = 0.01
    smoothing: float = 0.05  # of the labels
    average: float = 0.998  # decay of the running average, a step
    short_share: float = 0.5  # of phrases under four words
    length: int = 192  # tokens; longer texts are cut in training
    held_share: float = 0.035
    clip: float = 1.0  # gradient norm
    distil: float = 0.0  # share of the teacher in what is learnt; the rest is the label
    bfloat16: bool = True
    augment: Augment = field(default_factory=Augment)

    def mark(self) -> str:
        """Short name of this recipe, the same wherever it is the same."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


TEACHER = Recipe(
    epochs=1,
    batch=32,
    layer_decay=0.9,
    smoothing=0.0,
    average=0.99,
    augment=Augment(mention=0.3, carrier=0.05, joined=0.1, several=0.01),
)
LABELS = Recipe(
    epochs=2,
    rate=1e-4,
    layer_decay=0.95,
    head_factor=2.0,
    smoothing=0.1,
    short_share=0.6,
    augment=Augment(carrier=0.08, joined=0.1, several=0.01),
)
STUDENT = Recipe(
    epochs=3,
    rate=1e-4,
    layer_decay=0.95,
    head_factor=2.0,
    smoothing=0.0,
    distil=0.8,
    augment=Augment(carrier=0.08, joined=0.1, several=0.01),
)
MEMBERS = (LABELS, STUDENT)


def encode(tokenizer: Tokenizer, texts: list[str], length: int) -> tuple[Tensor, Tensor]:
    """Return ids and mask, int64 [batch, longest], of `texts` cut to `length` tokens."""
    encoded = [item.ids for item in tokenizer.encode_batch(texts)]
    encoded = [[*ids[: length - 1], ids[-1]] if len(ids) > length else ids for ids in encoded]
    longest = max(map(len, encoded))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in encoded])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in encoded])
    return ids, mask


@torch.no_grad()
def logits_of(
    model: Sentiment, tokenizer: Tokenizer, texts: list[str], *, length: int, bfloat16: bool = False
) -> Tensor:
    """Return logits, float32 [len(texts), 2], in the order of `texts`."""
    model.eval()
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    out = torch.zeros(len(texts), 2)
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            ids, mask = encode(tokenizer, [texts[at] for at in rows], length)
            out[rows] = model(ids, mask)
    return out


def judge(
    model: Sentiment, tokenizer: Tokenizer, examples: list[Example], recipe: Recipe
) -> dict[str, float]:
    """Return accuracy (share), all and of whole sentences, their mean `score`, and loss."""
    labels = torch.tensor([example.label for example in examples])
    texts = [example.text for example in examples]
    logits = logits_of(model, tokenizer, texts, length=recipe.length, bfloat16=recipe.bfloat16)
    right = (logits.argmax(1) == labels).float()
    full = torch.tensor([example.words >= FULL_WORDS for example in examples])
    accuracy = right.mean().item()
    accuracy_full = right[full].mean().item() if full.any() else accuracy
    return {
        "accuracy": accuracy,
        "accuracy_full": accuracy_full,
        # half by whole sentences, which the product sees, half by all phrases, which are more
        "score": 0.5 * (accuracy + accuracy_full),
        "loss": functional.cross_entropy(logits, labels).item(),
    }


def make_optimiser(model: Sentiment, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW with one group per depth and decay; each group holds its own rate factor."""
    depth = len(model.layers)
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, weight in model.named_parameters():
        if name.startswith(("dense", "head")):
            factor = recipe.head_factor
        elif name.startswith("layers."):
            factor = recipe.layer_decay ** (depth - 1 - int(name.split(".")[1]))
        else:
            factor = recipe.layer_decay**depth
        decay = recipe.weight_decay if weight.ndim > 1 else 0.0
        groups.setdefault((factor, decay), []).append(weight)
    return torch.optim.AdamW(
        [
            {"params": weights, "weight_decay": decay, "factor": factor}
            for (factor, decay), weights in groups.items()
        ],
        lr=recipe.rate,
        betas=(0.9, 0.98),
        fused=True,
    )


def rate_at(step: int, total: int, warmup: float) -> float:
    """Share of the peak rate at `step` of `total`: up in a line, then down a half cosine."""
    rise = max(1, int(total * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


class Run:
    """One training run in a work folder: `state.pt` to go on from, `best.pt` as the outcome."""

    def __init__(
        self,
        *,
        model: Sentiment,
        tokenizer: Tokenizer,
        train: list[Example],
        held: list[Example],
        gazetteer: Gazetteer,
        recipe: Recipe,
        work: Path,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.train = train
        self.held = held
        self.gazetteer = gazetteer
        self.recipe = recipe
        self.work = work
        self.step = 0
        self.seconds = 0.0
        self.best: dict[str, float] = {}
        self.history: list[dict[str, float]] = []
        work.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        start_head(model, recipe.seed)
        self.average = {name: weight.clone() for name, weight in model.state_dict().items()}
        self.optimiser = make_optimiser(model, recipe)
        if (work / "state.pt").exists():
            self._load()

    def batches(self, epoch: int) -> list[Batch]:
        """Return the batches of `epoch`, the same whenever asked."""
        recipe = self.recipe
        return list(
            epoch_batches(
                self.train,
                self.gazetteer,
                recipe.augment,
                size=recipe.batch,
                short_share=recipe.short_share,
                distil=recipe.distil,
                seed=recipe.seed,
                epoch=epoch,
            )
        )

    def go(
        self,
        *,
        save_every: int = 200,
        judge_every: int = 200,
        stop_at: int | None = None,
        progress: bool = True,
    ) -> dict[str, float]:
        """Train to the end (or to step `stop_at`) and return the figures of the best weights."""
        epochs = [self.batches(epoch) for epoch in range(self.recipe.epochs)]
        queue = [batch for epoch in epochs for batch in epoch]
        total = len(queue)
        end = total if stop_at is None else min(stop_at, total)
        bar = tqdm(total=total, initial=self.step, disable=not progress, unit="step", mininterval=5)
        try:
            while self.step < end:
                began = time.monotonic()
                loss = self._one(queue[self.step], total)
                self.step += 1
                self.seconds += time.monotonic() - began
                bar.update()
                bar.set_postfix(
                    loss=f"{loss:.3f}", best=f"{self.best.get('score', 0):.4f}", refresh=False
                )
                if self.step % judge_every == 0 or self.step == total:
                    self._judge()
                if self.step % save_every == 0 or self.step == end:
                    self.save()
        except KeyboardInterrupt:
            bar.write("stopped; the same command goes on from the last saved step")
            raise
        finally:
            bar.close()
        return self.best

    def _one(self, batch: Batch, total: int) -> float:
        self.model.train()
        share = rate_at(self.step, total, self.recipe.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate * group["factor"] * share
        ids, mask = encode(self.tokenizer, [text for text, _ in batch], self.recipe.length)
        positive = torch.tensor([share for _, share in batch])
        targets = torch.stack([1 - positive, positive], 1)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
            loss = functional.cross_entropy(
                self.model(ids, mask), targets, label_smoothing=self.recipe.smoothing
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        # a young average follows closely, or it would carry the untrained head along
        keep = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        averages = [self.average[name] for name, _ in self.model.named_parameters()]
        weights = [weight.detach() for weight in self.model.parameters()]
        torch._foreach_lerp_(averages, weights, 1 - keep)  # one pass, as optimisers do
        return loss.item()

    def take_best(self) -> None:
        """Put the best weights so far into the model."""
        self.model.load_state_dict(torch.load(self.work / "best.pt", weights_only=True)["model"])

    def _judge(self) -> None:
        began = time.monotonic()
        own = {name: weight.clone() for name, weight in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        figures = judge(self.model, self.tokenizer, self.held, self.recipe)
        figures["step"] = self.step
        self.history.append(figures)
        if figures["score"] >= self.best.get("score", 0.0):
            self.best = figures
            _replace({"model": self.average, "figures": figures}, self.work / "best.pt")
        self.model.load_state_dict(own)
        self.seconds += time.monotonic() - began
        tqdm.write(" ".join(f"{key} {value:.4f}" for key, value in figures.items()))

    def save(self) -> None:
        """Write the state from which a later run goes on."""
        state = {
            "recipe": self.recipe.mark(),
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "history": self.history,
            "model": self.model.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
        }
        _replace(state, self.work / "state.pt")

    def _load(self) -> None:
        state = torch.load(self.work / "state.pt", weights_only=True)
        if state["recipe"] != self.recipe.mark():
            raise SystemExit(f"{self.work} holds a run of another recipe; give another --work")
        self.step, self.seconds = state["step"], state["seconds"]
        self.best, self.history = state["best"], state["history"]
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"])


def blend(runs: list[Run]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return the mean of the best weights of `runs`, and its figures on held-out phrases.

    The runs start from the same weights, head included, so their outcomes lie close enough for
    the mean to be a good network too; it varies less than any one run (arXiv 2203.05482).
    """
    parts = [torch.load(run.work / "best.pt", weights_only=True)["model"] for run in runs]
    weights = {name: torch.stack([part[name] for part in parts]).mean(0) for name in parts[0]}
    first = runs[0]
    first.model.load_state_dict(weights)
    return weights, judge(first.model, first.tokenizer, first.held, first.recipe)


def _replace(content: dict[str, Any], path: Path) -> None:
    """Write `content` so that `path` is at every moment the old file or the new one."""
    part = path.with_suffix(".part")
    torch.save(content, part)
    os.replace(part, path)  # noqa: PTH105  # Path.replace is the same call
