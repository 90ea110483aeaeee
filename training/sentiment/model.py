"""A BERT or MPNet encoder with a two-class head, in plain torch.

Decides the shape of the network and how published weights are laid into it: MiniLM for what is
shipped, MPNet for its teacher. It refuses weights whose names or shapes do not fit: a silently
random layer would train, only worse.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from training.sentiment.shape import Shape


class Layer(nn.Module):
    """One post-norm transformer layer: [batch, length, width] to the same."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.dropout = shape.dropout
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.norm1 = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.up = nn.Linear(shape.width, shape.inner)
        self.down = nn.Linear(shape.inner, shape.width)
        self.norm2 = nn.LayerNorm(shape.width, eps=shape.epsilon)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`bias` [batch or 1, heads or 1, length or 1, length] is added to the attention scores."""
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
        self.norm = nn.LayerNorm(shape.width, eps=shape.epsilon)
        if shape.relative:
            self.relative = nn.Embedding(shape.relative, shape.heads)
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
        if self.shape.relative:
            buckets = relative_buckets(input_ids.shape[1], self.shape.relative)
            bias = bias + self.relative(buckets).permute(2, 0, 1)
        for layer in self.layers:
            x = layer(x, bias)
        pooled = (x.float() * keep[:, :, None]).sum(1) / keep.sum(1, keepdim=True)
        hidden = torch.tanh(self.dense(functional.dropout(pooled, drop, self.training)))
        return self.head(functional.dropout(hidden, drop, self.training)).float()


def relative_buckets(length: int, count: int) -> Tensor:
    """Return the bucket of each pair of positions, int64 [length, length].

    As MPNet has them after T5 (arXiv 1910.10683, 2.1): half of the buckets for each direction;
    near distances one by one, far ones by their logarithm up to 128.
    """
    places = torch.arange(length)
    distance = places[:, None] - places[None, :]
    half = count // 2
    near = half // 2
    far = distance.abs().clamp(min=1).float()
    by_log = near + (torch.log(far / near) / math.log(128 / near) * (half - near)).long()
    bucket = torch.where(distance.abs() < near, distance.abs(), by_log.clamp(max=half - 1))
    return bucket + half * (distance < 0)


BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "out": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
}
MPNET = {
    "query": "attention.attn.q",
    "key": "attention.attn.k",
    "value": "attention.attn.v",
    "out": "attention.attn.o",
    "norm1": "attention.LayerNorm",
}


def load_pretrained(model: Sentiment, weights: Path) -> None:
    """Lay the published encoder weights into `model`; the two head layers keep their start."""
    source = load_file(weights)
    names = MPNET if model.shape.relative else BERT

    def both(name: str) -> dict[str, Tensor]:
        return {end: source[f"{name}.{end}"] for end in ("weight", "bias")}

    places = source["embeddings.position_embeddings.weight"]
    if model.shape.relative:
        places = places[2:]  # MPNet's first two rows are for padding
        model.relative.load_state_dict({"weight": source["encoder.relative_attention_bias.weight"]})
    else:
        places = places + source["embeddings.token_type_embeddings.weight"][0]
    model.words.load_state_dict({"weight": source["embeddings.word_embeddings.weight"]})
    model.places.load_state_dict({"weight": places})
    model.norm.load_state_dict(both("embeddings.LayerNorm"))
    for number, layer in enumerate(model.layers):
        assert isinstance(layer, Layer)
        base = f"encoder.layer.{number}"
        parts = [both(f"{base}.{names[part]}") for part in ("query", "key", "value")]
        layer.qkv.load_state_dict(
            {end: torch.cat([part[end] for part in parts]) for end in ("weight", "bias")}
        )
        layer.out.load_state_dict(both(f"{base}.{names['out']}"))
        layer.norm1.load_state_dict(both(f"{base}.{names['norm1']}"))
        layer.up.load_state_dict(both(f"{base}.intermediate.dense"))
        layer.down.load_state_dict(both(f"{base}.output.dense"))
        layer.norm2.load_state_dict(both(f"{base}.output.LayerNorm"))


def start_head(model: Sentiment, seed: int) -> None:
    """Give the two head layers BERT's usual start (normal, deviation 0.02), seeded."""
    generator = torch.Generator().manual_seed(seed)
    for linear in (model.dense, model.head):
        nn.init.normal_(linear.weight, std=0.02, generator=generator)
        nn.init.zeros_(linear.bias)
