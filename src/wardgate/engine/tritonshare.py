"""What the engine process tells the workers of its gateway: where Triton is, and what serves there.

A file of mode 0600 in a folder of the user's own, replaced whole at each change. It opens
inferences alone: the header of the control channel stays in the engine process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wardgate.engine.tritonlink import Endpoint
from wardgate.types import ModelId


@dataclass(frozen=True, slots=True)
class Shape:
    """What a client needs to know of a model that serves at Triton."""

    id: ModelId
    columns: int
    """Labels."""
    max_length: int
    """Longest row, tokens."""


def publish(path: Path, endpoint: Endpoint, shapes: Sequence[Shape]) -> None:
    """Write the file, in one step for whoever reads it."""
    tree = {
        "address": endpoint.address,
        "ca": _text(endpoint.ca),
        "cert": _text(endpoint.cert),
        "key": _text(endpoint.key),
        "models": [
            [each.id.name, each.id.version, each.id.digest, each.columns, each.max_length]
            for each in shapes
        ],
    }
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(tree, stream)
    draft.replace(path)


class Shared:
    """The file as a worker reads it: once after each change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._endpoint: Endpoint | None = None
        self._shapes: tuple[Shape, ...] = ()

    def endpoint(self) -> Endpoint | None:
        """Return where Triton is; None before the engine process has said so."""
        self._read()
        return self._endpoint

    def shapes(self) -> Sequence[Shape]:
        """Return the models that serve there."""
        self._read()
        return self._shapes

    def _read(self) -> None:
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns)
            if seen == self._seen:
                return
            tree = json.loads(self._path.read_text())
        except FileNotFoundError:  # the engine process is being replaced
            return
        ca, cert, key = (_bytes(tree[name]) for name in ("ca", "cert", "key"))
        self._endpoint = Endpoint(tree["address"], ca, cert, key)
        self._shapes = tuple(
            Shape(ModelId(name, version, digest), columns, max_length)
            for name, version, digest, columns, max_length in tree["models"]
        )
        self._seen = seen


def _text(pem: bytes | None) -> str | None:
    return None if pem is None else pem.decode()


def _bytes(pem: str | None) -> bytes | None:
    return None if pem is None else pem.encode()
