"""A registry of small real models for tests of changes; a version's label says which one answered."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import helper

import tiny_models
from wardgate.registry.signature import public_text, sign

LABEL = {"good": "yes", "other": "no"}
"""What each kind of model says to every text."""
NAME = "tiny"
KEY = Ed25519PrivateKey.generate()
"""Signs the models; made anew for each run."""
TRUSTED = json.dumps([public_text(KEY.public_key())])
"""The setting that trusts it."""


def other() -> tiny_models.Tiny:
    """The fingerprint model with its logits turned round: it says `no` where that says `yes`."""
    nodes = [
        *tiny_models._fingerprint_nodes("clean"),
        helper.make_node("Neg", ["clean"], ["logits"]),
    ]
    return tiny_models.Tiny(tiny_models._graph(nodes, "logits", ["kept", 2]))


def tokenizer(**ids: int) -> bytes:
    """The word tokenizer, with ids of one's own for some words: see `tiny_models.NAN_ID`."""
    tree = json.loads(tiny_models.tokenizer_json())
    tree["model"]["vocab"].update(ids)
    return tiny_models.as_json(tree)


def add(
    registry: Path,
    version: str,
    graph: bytes,
    label: str,
    *,
    ids: dict[str, int] | None = None,
    **manifest: object,
) -> Path:
    """Write a version of the model, signed, and return its folder."""
    home = registry / NAME / version
    home.mkdir(parents=True)
    files = {"model.onnx": graph, "tokenizer.json": tokenizer(**(ids or {}))}
    golden = [{"text": "a w1", "label": label, "score": 1.0, "tolerance": 0.01}]
    tree = tiny_models.manifest(files, version=version, **{"golden": golden, **manifest})
    for name, content in files.items():
        (home / name).write_bytes(content)
    raw = tiny_models.as_json(tree)
    (home / "manifest.json").write_bytes(raw)
    (home / "signature.json").write_bytes(sign(raw, KEY))
    return home
