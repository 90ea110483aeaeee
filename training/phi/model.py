"""The tagger in torch: what a piece is, summed; dilated convolutions over pieces; one tag a piece.

A word's vector is a sum of parts that can each be missing: its own row, what MiniLM takes it for,
the lists it is on, its affixes. Training drops parts by chance, so that a name never seen
is found by its place and its make. At export each word's sum becomes one row of a table.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from training.phi.features import Batch
from training.phi.lexicon import BITS
from training.phi.notes import TAGS

from wardgate.deid.tagger_features import AFFIXES, SHAPES, SPECIALS, UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of the net."""

    width: int = 160
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 1)
    meaning: int = 64
    dropout: float = 0.15
    no_row: float = 0.15
    """How often a word of the vocabulary is shown as one of none."""
    no_delta: float = 0.35
    no_lists: float = 0.1
    no_piece: float = 0.04
    """How often a piece is not shown at all: its tag must follow from those around it."""


class WordVectors(nn.Module):
    """Vectors of words and other pieces: float32 [n, width] for the unique words of a batch."""

    def __init__(self, shape: Shape, meanings: Tensor) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        self.special = nn.Embedding(SPECIALS, width)
        self.delta = nn.Embedding(len(meanings), width)
        self.register_buffer("meanings", meanings, persistent=False)
        self.project = nn.Linear(meanings.shape[1], width, bias=False)
        self.lists = nn.Parameter(torch.randn(len(BITS), width) * 0.3)
        self.affixes = nn.Embedding(AFFIXES + 1, width, padding_idx=AFFIXES)
        for table, spread in ((self.special, 0.5), (self.delta, 0.05), (self.affixes, 0.5)):
            nn.init.normal_(table.weight, std=spread)
        with torch.no_grad():
            self.affixes.weight[AFFIXES] = 0

    def known(self, rows: Tensor) -> Tensor:
        """Return the part of words of the vocabulary, by row from 0."""
        return self.delta(rows) + self.project(self.meanings[rows])

    def forward(self, batch: Batch) -> Tensor:
        """Return the vectors of the unique words."""
        count, shape = len(batch.row), self.shape
        word = batch.row >= SPECIALS
        vectors = torch.zeros(count, shape.width)
        rows = (batch.row - SPECIALS).clamp(min=0)
        bits = ((batch.code.unsqueeze(1) >> torch.arange(len(BITS))) & 1).float()
        shown = word
        delta = self.delta(rows)
        if self.training:
            dice = torch.rand(3, count)
            sign = batch.affixes[:, 0] == AFFIXES  # signs keep their rows: they have nothing else
            shown = word & ((dice[0] > shape.no_row) | sign)
            delta = delta * ((dice[1] > shape.no_delta) | sign).unsqueeze(1)
            bits = bits * (dice[2] > shape.no_lists).unsqueeze(1)
        own = (delta + self.project(self.meanings[rows])) * shown.unsqueeze(1)
        other = self.special(torch.where(word, UNKNOWN, batch.row)) * (~shown).unsqueeze(1)
        return vectors + own + other + bits @ self.lists + self.affixes(batch.affixes).mean(1)


class Tagger(nn.Module):
    """Logits of tags, float32 [windows, length, len(TAGS)]."""

    def __init__(self, shape: Shape, meanings: Tensor) -> None:
        super().__init__()
        self.shape = shape
        self.words = WordVectors(shape, meanings)
        self.shapes = nn.Embedding(SHAPES, shape.width)
        nn.init.normal_(self.shapes.weight, std=0.5)
        self.layers = nn.ModuleList(
            nn.Linear(3 * shape.width, shape.width) for _ in shape.dilations
        )
        for i, layer in enumerate(self.layers):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if i:
                with torch.no_grad():
                    layer.weight *= 0.5
        self.head = nn.Linear(shape.width, len(TAGS))
        self.drop = nn.Dropout(shape.dropout)

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits of a batch."""
        hidden = self.words(batch)[batch.word] + self.shapes(batch.shape)
        if self.training:
            hidden = hidden * (torch.rand(batch.word.shape) > self.shape.no_piece).unsqueeze(-1)
        return self.net(hidden, batch.mask.unsqueeze(-1))

    def net(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Do what the exported graph does: float32 [windows, length, width] to logits."""
        hidden = hidden * mask
        for i, (layer, step) in enumerate(zip(self.layers, self.shape.dilations, strict=True)):
            seen = self.drop(hidden)
            nothing = seen.new_zeros(seen.shape[0], step, seen.shape[2])
            left = torch.cat([nothing, seen[:, :-step]], 1)[:, : seen.shape[1]]
            right = torch.cat([seen[:, step:], nothing], 1)[:, : seen.shape[1]]
            out = layer(torch.cat([left, seen, right], 2))
            hidden = torch.relu(out + hidden if i else out) * mask
        return self.head(self.drop(hidden))
