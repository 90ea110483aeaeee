"""Other taggers on the same notes, to know what each way of reading costs and finds.

`linear`: hashed log-linear model of a window of five pieces. `characters`: dilated convolutions over
characters. `minilm`: the first layers of all-MiniLM-L6-v2, fine-tuned, as the slow and able reader.
None of them ships.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from training.phi.features import Batch, Window, Words, collate
from training.phi.lexicon import BITS, minilm_folder
from training.phi.notes import TAGS
from wardgate.deid.tagger_features import GRAMS, SHAPES, SPECIALS

_AROUND = (-2, -1, 0, 1, 2)


class Linear(nn.Module):
    """Every feature of five pieces votes for every tag; nothing is learnt of features together."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        votes = len(TAGS) * len(_AROUND)
        self.row = nn.Embedding(SPECIALS + vocabulary, votes)
        self.lists = nn.Linear(len(BITS), votes)
        self.grams = nn.Embedding(GRAMS + 1, votes, padding_idx=GRAMS)
        self.shapes = nn.Embedding(SHAPES, votes)
        for table in (self.row, self.grams, self.shapes):
            nn.init.zeros_(table.weight)

    def forward(self, batch: Batch) -> Tensor:
        """Logits, float32 [windows, length, tags]."""
        bits = ((batch.code.unsqueeze(1) >> torch.arange(len(BITS))) & 1).float()
        row = self.row(batch.row)
        if self.training:
            row = row * (torch.rand(len(row), 1) > 0.15)  # noqa: PLR2004
        votes = row + self.lists(bits) + self.grams(batch.grams).sum(1)
        seen = (votes[batch.word] + self.shapes(batch.shape)) * batch.mask.unsqueeze(-1)
        parts = seen.unflatten(2, (len(_AROUND), len(TAGS))).unbind(2)
        return torch.stack(
            [torch.roll(p, -at, 1) for p, at in zip(parts, _AROUND, strict=True)]
        ).sum(0)


class Characters(nn.Module):
    """Reads characters of lower-case pieces and how each piece is written; a tag where a piece ends."""

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
    """Least time of one window, one thread, in torch: the same runtime for all that are compared."""
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


def size(model: nn.Module) -> dict[str, Any]:
    """Number of weights."""
    return {"weights": sum(w.numel() for w in model.parameters())}
