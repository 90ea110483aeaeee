"""Other taggers on the same notes, to know what each way of reading costs and finds.

`linear`: hashed log-linear model of a window of five pieces. `characters`: dilated convolutions
over characters. `MiniLM`: the first layers of all-MiniLM-L6-v2, fine-tuned: slow and able.
None of them ships.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from training.phi.features import Batch, Window, Words, collate, windows
from training.phi.lexicon import BITS, minilm_folder
from training.phi.model import Shape, Tagger
from training.phi.notes import TAGS, Note
from training.phi.train import Recipe, Run, judge

from wardgate.deid.tagger_features import AFFIXES, SHAPES, SPECIALS

_AROUND = (-2, -1, 0, 1, 2)


class Linear(nn.Module):
    """Every feature of five pieces votes for every tag; nothing is learnt of features together."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        votes = len(TAGS) * len(_AROUND)
        self.row = nn.Embedding(SPECIALS + vocabulary, votes)
        self.lists = nn.Linear(len(BITS), votes)
        self.affixes = nn.Embedding(AFFIXES + 1, votes, padding_idx=AFFIXES)
        self.shapes = nn.Embedding(SHAPES, votes)
        for table in (self.row, self.affixes, self.shapes):
            nn.init.zeros_(table.weight)

    def forward(self, batch: Batch) -> Tensor:
        """Logits, float32 [windows, length, tags]."""
        bits = ((batch.code.unsqueeze(1) >> torch.arange(len(BITS))) & 1).float()
        row = self.row(batch.row)
        if self.training:
            row = row * (torch.rand(len(row), 1) > 0.15)
        votes = row + self.lists(bits) + self.affixes(batch.affixes).sum(1)
        seen = (votes[batch.word] + self.shapes(batch.shape)) * batch.mask.unsqueeze(-1)
        parts = seen.unflatten(2, (len(_AROUND), len(TAGS))).unbind(2)
        return torch.stack(
            [torch.roll(p, -at, 1) for p, at in zip(parts, _AROUND, strict=True)]
        ).sum(0)


class Characters(nn.Module):
    """Reads the letters of each piece and how it is written; a tag where a piece ends."""

    def __init__(
        self, words: Words, width: int = 96, steps: Sequence[int] = (1, 2, 4, 8, 16, 32, 64)
    ) -> None:
        super().__init__()
        self.words, self.steps = words, steps
        self.letters = nn.Embedding(128, width)
        self.shapes = nn.Embedding(SHAPES, width)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, 3, dilation=s, padding=s) for s in steps
        )
        self.head = nn.Linear(width, len(TAGS))
        self.drop = nn.Dropout(0.1)

    def forward(self, batch: Batch) -> Tensor:
        """Logits, float32 [windows, length, tags]."""
        pieces = [self.words.texts[n][:24] for n in batch.unique.tolist()]
        sizes = torch.tensor([len(p) for p in pieces])[batch.word]
        ends = sizes.cumsum(1)
        letters = torch.zeros(len(sizes), int(ends[:, -1].max()), dtype=torch.long)
        shapes = torch.zeros_like(letters)
        for i, row in enumerate(batch.word.tolist()):
            text = "".join([pieces[at] for at in row])
            letters[i, : len(text)] = torch.tensor([min(ord(c), 127) for c in text])
            shapes[i, : len(text)] = batch.shape[i].repeat_interleave(sizes[i])
        hidden = (self.letters(letters) + self.shapes(shapes)).transpose(1, 2)
        for layer in self.layers:
            hidden = torch.relu(hidden + layer(self.drop(hidden)))
        at = (ends - 1).unsqueeze(1).expand(-1, hidden.shape[1], -1)
        return self.head(hidden.gather(2, at).transpose(1, 2))


class MiniLM(nn.Module):
    """A pruned MiniLM: the tag of a piece at its first word piece, its shape added."""

    def __init__(self, words: Words, layers: int) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

        self.words = words
        self.tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
        self.model = AutoModel.from_pretrained(minilm_folder())
        self.model.encoder.layer = self.model.encoder.layer[:layers]
        self.shapes = nn.Embedding(SHAPES, 64)
        self.head = nn.Sequential(
            nn.Linear(384 + 64, 192), nn.ReLU(), nn.Dropout(0.1), nn.Linear(192, len(TAGS))
        )

    def forward(self, batch: Batch) -> Tensor:
        """Logits, float32 [windows, length, tags]."""
        pieces = [self.words.texts[n] for n in batch.unique.tolist()]
        ids = self.tokenizer([p.strip() or "\u2028" for p in pieces], add_special_tokens=False)[
            "input_ids"
        ]
        ids = [own[:4] or [self.tokenizer.unk_token_id] for own in ids]
        rows, firsts = [], torch.zeros_like(batch.word)
        for i, row in enumerate(batch.word.tolist()):
            tokens = [self.tokenizer.cls_token_id]
            for j, at in enumerate(row):
                if batch.mask[i, j]:
                    firsts[i, j] = len(tokens)
                    tokens += ids[at]
            rows.append(tokens[:512])
        longest = max(map(len, rows))
        firsts = firsts.clamp(max=longest - 1)
        given = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        hidden = self.model(input_ids=given, attention_mask=mask).last_hidden_state
        at = firsts.unsqueeze(2).expand(-1, -1, hidden.shape[2])
        return self.head(torch.cat([hidden.gather(1, at), self.shapes(batch.shape)], 2))


@torch.inference_mode()
def milliseconds(model: nn.Module, window: Window, words: Words) -> float:
    """Return the least time of one window on one thread, in torch as all that are compared."""
    model.eval()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    batch = collate([window], words)
    best = float("inf")
    for _ in range(15):
        start = time.process_time()
        model(batch)
        best = min(best, time.process_time() - start)
    torch.set_num_threads(before)
    return best * 1e3


SAMPLE = 8_000
"""Notes that all the compared taggers learn from: a fifth of what the shipped one does."""


def compare(  # noqa: PLR0917 -- what all have in common
    train: list[Note], dev: list[Note], words: Words, meanings: Tensor, work: Path, minutes: float
) -> dict[str, Any]:
    """Train each kind on the same sample; return dev figures, weights, milliseconds of 1 kB."""
    sample = train[:SAMPLE]
    kinds: dict[str, tuple[Recipe, Callable[[], nn.Module]]] = {
        "linear": (Recipe(epochs=3, rate=0.02), lambda: Linear(len(meanings))),
        "words": (Recipe(epochs=3), lambda: Tagger(Shape(), meanings)),
        "words, narrow": (
            Recipe(epochs=3, shape=Shape(width=64, dilations=(1, 2, 4, 8))),
            lambda: Tagger(Shape(width=64, dilations=(1, 2, 4, 8)), meanings),
        ),
        "characters": (Recipe(epochs=2, pieces=2_048), lambda: Characters(words)),
        "MiniLM, 3 layers": (
            Recipe(epochs=1, pieces=2_048, length=160, rate=3e-4), lambda: MiniLM(words, 3),
        ),
    }  # fmt: skip
    long = max(windows(dev, words, 290, None, 0), key=lambda w: len(w[0]))
    found: dict[str, Any] = {}
    for name, (recipe, make) in kinds.items():
        torch.manual_seed(recipe.seed)
        run = Run(
            train=sample, dev=dev, words=words, meanings=meanings, recipe=recipe, model=make(),
            work=work / name.replace(", ", "-").replace(" ", "-"),
        )  # fmt: skip
        run.go(minutes)
        model = run.load_best()
        judged = judge(model, dev, words, 160)
        found[name] = {
            "epochs": run.epoch, "seconds_of_training": round(run.seconds),
            "weights": sum(w.numel() for w in model.parameters()),
            "ms_290_pieces_torch": round(milliseconds(model, long, words), 2),
            "dev": {k: {m: round(float(v), 4) for m, v in f.items()} for k, f in judged.items()},
        }  # fmt: skip
        print(name, found[name]["dev"]["all"], found[name]["ms_290_pieces_torch"], flush=True)
    return found
