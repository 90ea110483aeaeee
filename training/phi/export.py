"""From trained weights to the files that the gateway runs: tables of words and an integer net.

A word's parts become one row of 8-bit numbers with a scale. The net's products are of 8-bit
activations and 7-bit weights: a sum of two such products fits 16 bits on machines without VNNI.
Whole numbers have one sum in whatever order, so a piece's tag does not depend on what else is run
with it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from training.phi.features import Window, Words, collate
from training.phi.model import Tagger
from training.phi.notes import TAGS

from wardgate.deid.tagger_features import AFFIXES, AFFIXES_EACH, SPECIALS, affixes, all_codes

MICROSOFT = "com.microsoft"
LIMIT = 64
CHUNK = 4_096
"""Pieces that go through the net at once."""
Floats = NDArray[np.float32]


@torch.no_grad()
def ranges(model: Tagger, made: Sequence[Window], words: Words) -> tuple[list[float], list[float]]:
    """Return the size that nearly no value passes, of each layer's input and of its sums."""
    model.eval()
    layers = [*model.layers, model.head]
    sizes: list[list[float]] = [[] for _ in layers]
    outs: list[list[float]] = [[] for _ in layers]

    def most(values: torch.Tensor) -> float:
        return float(np.quantile(values.abs().flatten().numpy()[::3], 0.9999))

    hooks = [
        layer.register_forward_hook(
            lambda _, given, out, at=at: (
                (sizes[at].append(most(given[0])), outs[at].append(most(out)))[:0] or None
            )
        )
        for at, layer in enumerate(layers)
    ]
    for start in range(0, len(made), 16):
        model(collate(made[start : start + 16], words))
    for hook in hooks:
        hook.remove()
    # a layer's input comes three times over, shifted; its largest values are the same
    return [float(np.mean(part)) for part in sizes], [float(np.mean(part)) for part in outs]


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, given: list[str], name: str, **more: Any) -> str:
        self.nodes.append(helper.make_node(kind, given, [name], **more))
        return name


def _whole(weight: Floats, limit: int) -> tuple[NDArray[np.int8], Floats]:
    """Quantise weights [out, in, ...] by output."""
    steps = np.abs(weight).reshape(len(weight), -1).max(1) / limit
    steps[steps == 0] = 1.0
    shaped = steps.reshape(-1, *[1] * (weight.ndim - 1))
    return np.clip(np.rint(weight / shaped), -limit, limit).astype(np.int8), steps.astype(
        np.float32
    )


def net(model: Tagger, sizes: list[float], outs: list[float]) -> bytes:
    """Return the ONNX model: `pieces` float32 [n, width] to the odds of tags, float32 [n, tags].

    All between the first rounding and the last sum is of 8-bit numbers. A ReLU is where they end:
    nothing below zero can be told.
    """
    graph = _Graph()
    width = model.shape.width
    middle = graph.constant("middle", np.array(128, np.uint8))
    none = graph.constant("none", np.array(0, np.uint8))
    axis = graph.constant("axis", np.array([0]))

    def step(name: str, value: float) -> str:
        return graph.constant(name, np.array(value, np.float32))

    scale, zero = sizes[0] / 127, middle
    scale_name = step("scale0", scale)
    rounded = graph.node("QuantizeLinear", ["pieces", scale_name, zero], "rounded")
    turned = graph.node("Transpose", [rounded], "turned", perm=[1, 0])
    hidden = graph.node("Unsqueeze", [turned, axis], "hidden0")
    for at, (layer, dilation) in enumerate(zip(model.layers, model.shape.dilations, strict=True)):
        weight = layer.weight.detach().float().numpy().reshape(width, 3, width).transpose(0, 2, 1)
        bias = layer.bias.detach().float().numpy()
        whole, steps = _whole(weight, LIMIT)
        after = sizes[at + 1] / 255
        # the first layer ends in a ReLU; a later one is added to what it was given first
        out_scale = after if at == 0 else outs[at] / 127
        out_zero = none if at == 0 else middle
        after_name, out_name = step(f"scale{at + 1}", after), step(f"sum_scale{at}", out_scale)
        summed = graph.node(
            "QLinearConv",
            [
                hidden, scale_name, zero,
                graph.constant(f"weight{at}", whole), graph.constant(f"weight_scale{at}", steps),
                graph.constant(f"weight_zero{at}", np.zeros(width, np.int8)),
                out_name, out_zero,
                graph.constant(f"bias{at}", np.rint(bias / (steps * scale)).astype(np.int32)),
            ],
            f"sum{at}", dilations=[dilation], pads=[dilation, dilation], kernel_shape=[3],
        )  # fmt: skip
        if at:
            hidden = graph.node(
                "QLinearAdd",
                [summed, out_name, out_zero, hidden, scale_name, zero, after_name, none],
                f"hidden{at + 1}", domain=MICROSOFT,
            )  # fmt: skip
        else:
            hidden = summed
        scale, scale_name, zero = after, after_name, none
    flat = graph.node("Squeeze", [hidden, axis], "flat")
    back = graph.node("Transpose", [flat], "back", perm=[1, 0])
    weight = model.head.weight.detach().float().numpy()
    # two roundings, the second of what the first left over: the odds are to be exact
    coarse, steps = _whole(weight, LIMIT)
    rest, rest_steps = _whole(weight - coarse * steps[:, None], LIMIT)
    parts = []
    for name, whole, size in (("coarse", coarse, steps), ("rest", rest, rest_steps)):
        given = [
            back, graph.constant(name, np.ascontiguousarray(whole.T)), step("unit", 1.0),
            graph.constant(f"{name}_scale", (size * scale).astype(np.float32)), none,
        ]  # fmt: skip
        # not `ConvInteger`: that takes as long as half of the layers
        parts.append(graph.node("MatMulIntegerToFloat", given, f"{name}_sum", domain=MICROSOFT))
    both = graph.node("Add", parts, "both")
    bias = model.head.bias.detach().float().numpy()
    logits = graph.node("Add", [both, graph.constant("head_bias", bias)], "logits")
    graph.node("Softmax", [logits], "odds", axis=-1)
    made = helper.make_graph(
        graph.nodes, "tagger",
        [helper.make_tensor_value_info("pieces", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("odds", TensorProto.FLOAT, ["n", len(TAGS)])],
        list(graph.constants.values()),
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    proto = helper.make_model(made, opset_imports=opsets)
    proto.ir_version = 8
    return proto.SerializeToString()


def _small(values: Floats) -> tuple[NDArray[np.int8], Floats]:
    scale = np.maximum(np.abs(values).max(1), 1e-6) / 127
    return np.rint(values / scale[:, None]).astype(np.int8), scale.astype(np.float32)


@torch.no_grad()
def tables(
    model: Tagger, vocabulary: Sequence[str], codes: dict[str, int]
) -> dict[str, NDArray[Any]]:
    """Return the tables by name: words, affixes, lists, shapes, codes of other words."""
    words = model.words
    shares = words.affixes.weight.float().numpy() / AFFIXES_EACH
    lists = words.lists.float().numpy()
    own = words.known(torch.arange(len(vocabulary))).float().numpy()
    plain = [i for i, word in enumerate(vocabulary) if word.isalnum()]
    made = shares[[affixes(vocabulary[i]) for i in plain]].sum(1)
    of_code = all_codes(lists)
    own[plain] += made + of_code[[codes.get(vocabulary[i], 0) for i in plain]]
    table, table_scale = _small(np.concatenate([words.special.weight.float().numpy(), own]))
    small, small_scale = _small(shares[:AFFIXES])
    have = set(vocabulary)
    hashed = {crc32(w.encode()): code for w, code in codes.items() if w not in have}
    order = sorted(hashed)
    assert len(table) == SPECIALS + len(vocabulary)
    return {
        "table": table, "table_scale": table_scale, "affixes": small, "affixes_scale": small_scale,
        "lists": lists, "shapes": model.shapes.weight.float().numpy(),
        "hashes": np.array(order, np.uint32),
        "codes": np.array([hashed[h] for h in order], np.uint16),
    }  # fmt: skip


def files(
    model: Tagger,
    vocabulary: Sequence[str],
    codes: dict[str, int],
    sizes: list[float],
    thresholds: dict[str, Any],
) -> dict[str, bytes]:
    """Return the tagger's files by name."""
    packed = io.BytesIO()
    np.savez(packed, **tables(model, vocabulary, codes))
    about = {
        "tags": TAGS, "halo": sum(model.shape.dilations), "chunk": CHUNK,
    } | thresholds  # fmt: skip
    return {
        "net.onnx": net(model, *sizes),
        "tables.npz": packed.getvalue(),
        "words.txt": "\n".join(vocabulary).encode(),
        "tagger.json": (json.dumps(about, indent=1) + "\n").encode(),
    }


def write(made: dict[str, bytes], out: Path) -> None:
    """Write the files and the sums that pin them."""
    out.mkdir(parents=True, exist_ok=True)
    for name, data in made.items():
        (out / name).write_bytes(data)
    sums = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(made.items())
    )
    (out / "SHA256SUMS").write_text(sums, encoding="ascii")
