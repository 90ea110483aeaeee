"""A six-layer BERT encoder with a two-class head, in plain torch.

Decides the shape of the network and how the published MiniLM weights are laid into it. It refuses
weights whose names or shapes do not fit: a silently random layer would train, only worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of the encoder; the defaults are those of all-MiniLM-L6-v2."""

    vocabulary: int = 30522
    positions: int = 512
    width: int = 384
    inner: int = 1536
    heads: int = 12
    layers: int = 6
    dropout: float = 0.1


class Layer(nn.Module):
    """One post-norm transformer layer: [batch, length, width] to the same."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.dropout = shape.dropout
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.norm1 = nn.LayerNorm(shape.width, eps=1e-12)
        self.up = nn.Linear(shape.width, shape.inner)
        self.down = nn.Linear(shape.inner, shape.width)
        self.norm2 = nn.LayerNorm(shape.width, eps=1e-12)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`bias` [batch, 1, 1, length] is added to the attention scores: 0 or minus a lot."""
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        drop = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=bias.to(q.dtype), dropout_p=drop
        )
        mixed = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        x = self.norm1(x + functional.dropout(mixed, self.dropout, self.training))
        inner = self.down(functional.gelu(self.up(x)))
        return self.norm2(x + functional.dropout(inner, self.dropout, self.training))


class Sentiment(nn.Module):
    """Token ids and mask, int64 [batch, length], to logits, float32 [batch, 2].

    The sentence vector is the mean over the tokens, as the published encoder was trained; the
    token-type embedding is folded into the positions because only type 0 is ever used.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.vocabulary, shape.width)
        self.places = nn.Embedding(shape.positions, shape.width)
        self.norm = nn.LayerNorm(shape.width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.dense = nn.Linear(shape.width, shape.width)
        self.head = nn.Linear(shape.width, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits, in the order negative, positive."""
        drop = self.shape.dropout
        x = self.words(input_ids) + self.places.weight[: input_ids.shape[1]]
        x = functional.dropout(self.norm(x), drop, self.training)
        keep = attention_mask.to(x.dtype)
        bias = ((1.0 - keep) * -1e4)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, bias)
        pooled = (x.float() * keep[:, :, None]).sum(1) / keep.sum(1, keepdim=True)
        hidden = torch.tanh(self.dense(functional.dropout(pooled, drop, self.training)))
        return self.head(functional.dropout(hidden, drop, self.training)).float()


def load_pretrained(model: Sentiment, weights: Path) -> None:
    """Lay the published encoder weights into `model`; the two head layers keep their start."""
    source = load_file(weights)

    def both(name: str) -> dict[str, Tensor]:
        return {end: source[f"{name}.{end}"] for end in ("weight", "bias")}

    words = source["embeddings.word_embeddings.weight"]
    places = source["embeddings.position_embeddings.weight"]
    kind = source["embeddings.token_type_embeddings.weight"][0]
    model.words.load_state_dict({"weight": words})
    model.places.load_state_dict({"weight": places + kind})
    model.norm.load_state_dict(both("embeddings.LayerNorm"))
    for number, layer in enumerate(model.layers):
        assert isinstance(layer, Layer)
        base = f"encoder.layer.{number}"
        parts = [both(f"{base}.attention.self.{part}") for part in ("query", "key", "value")]
        layer.qkv.load_state_dict(
            {end: torch.cat([part[end] for part in parts]) for end in ("weight", "bias")}
        )
        layer.out.load_state_dict(both(f"{base}.attention.output.dense"))
        layer.norm1.load_state_dict(both(f"{base}.attention.output.LayerNorm"))
        layer.up.load_state_dict(both(f"{base}.intermediate.dense"))
        layer.down.load_state_dict(both(f"{base}.output.dense"))
        layer.norm2.load_state_dict(both(f"{base}.output.LayerNorm"))


def start_head(model: Sentiment, seed: int) -> None:
    """Give the two head layers BERT's usual start (normal, deviation 0.02), seeded."""
    generator = torch.Generator().manual_seed(seed)
    for linear in (model.dense, model.head):
        nn.init.normal_(linear.weight, std=0.02, generator=generator)
        nn.init.zeros_(linear.bias)
