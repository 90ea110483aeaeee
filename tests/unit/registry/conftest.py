"""Registry entries made on the spot, and keys to sign them with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import tiny_models
from wardgate.registry import signature

FILES = {"model.onnx": b"graph", "tokenizer.json": b"words"}


@dataclass
class Signer:
    """A key pair; `text` is the public half as the setting takes it."""

    key: Ed25519PrivateKey

    @property
    def text(self) -> str:
        return signature.public_text(self.key.public_key())

    @property
    def id(self) -> str:
        return signature.key_id(self.key.public_key())


@pytest.fixture
def signer() -> Signer:
    return Signer(Ed25519PrivateKey.generate())


@pytest.fixture
def stranger() -> Signer:
    return Signer(Ed25519PrivateKey.generate())


def entry(files=FILES, name="tiny", version="1", sign=None, **changes) -> dict[str, bytes]:
    """The files of an entry, signed by `sign`."""
    tree = tiny_models.manifest(FILES, **{"name": name, "version": version, **changes})
    raw = tiny_models.as_json(tree)
    made = {**files, "manifest.json": raw}
    if sign is not None:
        made["signature.json"] = signature.sign(raw, sign.key)
    return made


def put(folder: Path, files=FILES, name="tiny", version="1", sign=None, **changes) -> Path:
    """Write an entry into a folder and return its home."""
    home = folder / name / version
    home.mkdir(parents=True)
    for file, content in entry(files, name, version, sign, **changes).items():
        (home / file).write_bytes(content)
    return home
