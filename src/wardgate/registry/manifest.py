"""What a model declares about itself: a manifest is right in every field, or it is refused.

Decides nothing about the files themselves: `registry/store.py` holds them against the sizes and
digests that stand here. It refuses an unknown field, a field twice, a wrong type, a file name that
could leave the model's folder, a model without golden examples, any tensor but the task's.
The digest is the SHA-256 of the manifest's bytes as stored: it covers every file by its own digest.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from wardgate.errors import ManifestInvalid
from wardgate.types import ModelId

FORMAT = 1
"""The only format there is."""
MANIFEST_BYTES = 1 << 20
"""Largest manifest, bytes."""
GRAPH, TOKENIZER = "model.onnx", "tokenizer.json"
"""Files that every text model has."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_PRECISION = re.compile(r"fp32|fp16|bf16|int8")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MISSING = object()


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a model: SHA-256 as hex, and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of the graph; `shape` names open dimensions and gives fixed ones."""

    name: str
    dtype: str
    shape: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Windows:
    """How a note past the model's length is handled: windows that share `overlap` tokens."""

    overlap: int
    join: Literal["mean", "max"]
    """Rule of `nlp/postprocess.py` that makes one prediction of all windows."""


@dataclass(frozen=True, slots=True)
class Golden:
    """An example that must come out right before the model takes traffic."""

    text: str
    label: str
    score: float
    """Softmax score of `label`, within `tolerance`."""
    tolerance: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """A model by name, version and digest; its files, tensors, labels and limits."""

    name: str
    version: str
    task: Literal["text-classification"]
    precision: str
    files: Mapping[str, FileEntry]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    labels: tuple[str, ...]
    max_length: int
    """Longest row, tokens with the special ones."""
    windows: Windows | None
    """None refuses a note past `max_length`; a note is never cut."""
    golden: tuple[Golden, ...]
    added_by: str
    digest: str
    """SHA-256 of the manifest's bytes, hex."""

    @property
    def id(self) -> ModelId:
        """The model as replies, records and metrics name it."""
        return ModelId(self.name, self.version, self.digest)


def parse(raw: bytes) -> Manifest:
    """Parse and check a manifest.

    Raises ManifestInvalid, naming the field and what was expected there.
    """
    if len(raw) > MANIFEST_BYTES:
        raise ManifestInvalid(f"The manifest is larger than {MANIFEST_BYTES} bytes.")
    try:
        tree = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ManifestInvalid("The manifest is not JSON in UTF-8.") from None
    return _manifest(_Fields(tree, "manifest"), hashlib.sha256(raw).hexdigest())


def _manifest(top: _Fields, digest: str) -> Manifest:
    top.take("format", f"{FORMAT}", lambda value: _integer(value) and value == FORMAT)
    labels = top.texts("labels", "at least two different labels", least=2)
    manifest = Manifest(
        name=top.text("name", _NAME, "a name of a-z, 0-9, '-' and '_', at most 64 long"),
        version=top.text("version", _VERSION, "a version such as '1' or '1.2.0'"),
        task=cast(
            "Literal['text-classification']",
            top.take("task", "'text-classification'", lambda value: value == "text-classification"),
        ),
        precision=top.text(
            "precision", re.compile(r"fp32|fp16|bf16|int8"), "fp32, fp16, bf16, int8"
        ),
        files=_files(top),
        inputs=_tensors(top, "inputs", _expected_inputs()),
        outputs=_tensors(top, "outputs", (Tensor("logits", "float32", ("batch", len(labels))),)),
        labels=labels,
        max_length=top.whole("max_length", least=8, most=8192),
        windows=_windows(top),
        golden=_golden(top, labels),
        added_by=top.text("added_by", re.compile(r".{1,200}"), "who added the model, on one line"),
        digest=digest,
    )
    top.end()
    return manifest


def _expected_inputs() -> tuple[Tensor, ...]:
    return tuple(
        Tensor(name, "int64", ("batch", "length")) for name in ("input_ids", "attention_mask")
    )


def _files(top: _Fields) -> dict[str, FileEntry]:
    found: dict[str, FileEntry] = {}
    for name, entry in top.mapping("files").items():
        fields = _Fields(entry, f"files[{len(found)}]")
        if not _FILE.fullmatch(name):
            raise ManifestInvalid(f"{fields.path}: expected a plain file name without separators.")
        found[name] = FileEntry(
            sha256=fields.text("sha256", _DIGEST, "64 lower-case hex digits"),
            bytes=fields.whole("bytes", least=1, most=1 << 34),
        )
        fields.end()
    for name in (GRAPH, TOKENIZER):
        if name not in found:
            raise ManifestInvalid(f"files: expected an entry for {name}.")
    return found


def _tensors(top: _Fields, name: str, expected: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    found = []
    for fields in top.items(name):
        found.append(
            Tensor(
                name=fields.text("name", re.compile(r"\w{1,64}"), "a tensor's name"),
                dtype=fields.text("dtype", re.compile(r"\w{1,16}"), "a type such as int64"),
                shape=tuple(
                    fields.take(
                        "shape",
                        "a list of names and sizes",
                        lambda value: (
                            isinstance(value, list)
                            and all(isinstance(size, str) or _integer(size) for size in value)
                        ),
                    )
                ),
            )
        )
        fields.end()
    if tuple(found) != expected:
        want = ", ".join(f"{item.name} {item.dtype} {list(item.shape)}" for item in expected)
        raise ManifestInvalid(f"{name}: expected {want}.")
    return tuple(found)


def _windows(top: _Fields) -> Windows | None:
    value = top.take("windows", "an object or null", lambda value: value is None or _object(value))
    if value is None:
        return None
    fields = _Fields(value, "windows")
    windows = Windows(
        overlap=fields.whole("overlap", least=0, most=4096),
        join=cast(
            "Literal['mean', 'max']",
            fields.take("join", "'mean' or 'max'", lambda rule: rule in ("mean", "max")),
        ),
    )
    fields.end()
    return windows


def _golden(top: _Fields, labels: tuple[str, ...]) -> tuple[Golden, ...]:
    found = []
    for fields in top.items("golden"):
        found.append(
            Golden(
                text=fields.text("text", re.compile(r".+", re.DOTALL), "a text"),
                label=fields.take("label", "one of the labels", lambda value: value in labels),
                score=fields.number("score", least=0.0, most=1.0),
                tolerance=fields.number("tolerance", least=0.0, most=0.5),
            )
        )
        fields.end()
    return tuple(found)


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _object(value: object) -> bool:
    return isinstance(value, dict)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ManifestInvalid("The manifest holds a field twice in one object.")
    return found


def _no_constant(_: str) -> None:
    raise ManifestInvalid("The manifest holds NaN or Infinity, which JSON has not.")


class _Fields:
    """The fields of one JSON object, taken one by one; what is left over at the end is refused."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise ManifestInvalid(f"{path}: expected an object.")
        self._left: dict[str, Any] = dict(value)
        self.path = path

    def take(self, name: str, expected: str, fits: Callable[[Any], bool]) -> Any:
        value = self._left.pop(name, _MISSING)
        if value is _MISSING or not fits(value):
            raise ManifestInvalid(f"{self._at(name)}: expected {expected}.")
        return value

    def text(self, name: str, pattern: re.Pattern[str], expected: str) -> str:
        found = self.take(
            name, expected, lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))
        )
        return str(found)

    def whole(self, name: str, *, least: int, most: int) -> int:
        expected = f"a whole number from {least} to {most}"
        return int(
            self.take(name, expected, lambda value: _integer(value) and least <= value <= most)
        )

    def number(self, name: str, *, least: float, most: float) -> float:
        def fits(value: object) -> bool:
            return (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and math.isfinite(value)
                and least <= value <= most
            )

        return float(self.take(name, f"a number from {least} to {most}", fits))

    def texts(self, name: str, expected: str, *, least: int) -> tuple[str, ...]:
        def fits(value: object) -> bool:
            return (
                isinstance(value, list)
                and len(value) >= least
                and all(isinstance(item, str) and item for item in value)
                and len(set(value)) == len(value)
            )

        return tuple(self.take(name, expected, fits))

    def mapping(self, name: str) -> dict[str, Any]:
        return dict(self.take(name, "an object", _object))

    def items(self, name: str) -> list[_Fields]:
        values = self.take(
            name,
            "a list of at least one object",
            lambda value: isinstance(value, list) and bool(value),
        )
        return [_Fields(value, f"{name}[{index}]") for index, value in enumerate(values)]

    def end(self) -> None:
        if self._left:
            # The name is the manifest's own, but it may be anything: it is quoted and cut.
            name = ascii(min(self._left))[:64]
            raise ManifestInvalid(f"{self.path}: the field {name} is not known.")

    def _at(self, name: str) -> str:
        return name if self.path == "manifest" else f"{self.path}.{name}"
