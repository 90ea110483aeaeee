"""Loads models from folders: every file is read once, and what was verified is what runs.

A file's size and SHA-256 are checked on the very bytes that are handed on, so that nothing can be
swapped between check and use. Links are refused wherever they point; so is anything that is not a
plain file. Nothing is unpickled or imported: a model is an ONNX graph and a tokenizer, as data.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wardgate.errors import ManifestInvalid, ModelUnknown
from wardgate.registry.manifest import GRAPH, MANIFEST_BYTES, TOKENIZER, Manifest, parse
from wardgate.types import ModelId

SHIPPED = Path(__file__).parent / "shipped"
"""Folder of the models that come with the package."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PLAIN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A manifest and the verified bytes of each of its files."""

    manifest: Manifest
    files: Mapping[str, bytes]

    @property
    def id(self) -> ModelId:
        """The model as replies, records and metrics name it."""
        return self.manifest.id

    @property
    def graph(self) -> bytes:
        """The ONNX graph."""
        return self.files[GRAPH]

    @property
    def tokenizer(self) -> bytes:
        """The `tokenizer.json` of the tokenizers library."""
        return self.files[TOKENIZER]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the logits."""
        return self.manifest.labels

    @property
    def max_length(self) -> int:
        """Longest row, tokens with the special ones."""
        return self.manifest.max_length


class Store:
    """Models in `<folder>/<name>/`, the first folder that has the name wins."""

    def __init__(self, folders: Sequence[Path] = (SHIPPED,)) -> None:
        self._folders = tuple(folders)

    def load(self, name: str) -> LoadedModel:
        """Read and verify the model `name`.

        Raises ModelUnknown where no folder has it, ManifestInvalid where the manifest or a file is
        not what was declared.
        """
        if not _NAME.fullmatch(name):
            raise ModelUnknown
        for folder in self._folders:
            try:
                root = os.open(folder, _FOLDER)
            except OSError:
                continue
            try:
                home = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=root)
            except FileNotFoundError:
                continue
            except OSError:
                raise ManifestInvalid(f"{name}: expected a folder, and no link.") from None
            finally:
                os.close(root)
            try:
                return _load(home, name)
            finally:
                os.close(home)
        raise ModelUnknown


def _load(home: int, name: str) -> LoadedModel:
    manifest = parse(_read(home, "manifest.json", most=MANIFEST_BYTES))
    if manifest.name != name:
        raise ManifestInvalid(f"name: expected '{name}', as the folder is called.")
    files = {}
    for file, entry in manifest.files.items():
        content = _read(home, file, most=entry.bytes)
        if len(content) != entry.bytes:
            raise ManifestInvalid(f"{file}: expected {entry.bytes} bytes, found {len(content)}.")
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise ManifestInvalid(f"{file}: its SHA-256 is not the one in the manifest.")
        files[file] = content
    return LoadedModel(manifest, files)


def _read(home: int, file: str, *, most: int) -> bytes:
    """Return the whole of a plain file, in one reading of at most `most` bytes."""
    try:
        descriptor = os.open(file, _PLAIN, dir_fd=home)
    except OSError:
        raise ManifestInvalid(f"{file}: expected a readable file, and no link.") from None
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ManifestInvalid(f"{file}: expected a plain file.")
        content = stream.read(most + 1)
    if len(content) > most:
        raise ManifestInvalid(f"{file}: it is larger than the {most} bytes allowed.")
    return content
