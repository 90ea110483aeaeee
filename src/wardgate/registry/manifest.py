"""What a model declares about itself: a manifest is right in every field, or it is refused.

Decides nothing about the files themselves: `registry/store.py` holds them against the sizes and
digests that stand here. It refuses an unknown field, a field twice, a wrong type, a file name that
could leave the model's folder, a text model without golden examples or with any tensor but its
task's, and a tensor model that does not say `phi_free`. The digest is the SHA-256 of the manifest's
bytes as stored: it covers every file by its own digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from wardgate.errors import ManifestInvalid
from wardgate.registry import golden
from wardgate.registry.fields import Fields, integer, read
from wardgate.registry.golden import Golden, TensorGolden, TokenGolden
from wardgate.types import DTYPES, ModelId

FORMAT = 1
"""The only format there is."""
MANIFEST_BYTES = 1 << 20
"""Largest manifest, bytes."""
FILE_BYTES = 1 << 34
"""Largest file of a model, bytes."""
GRAPH_BYTES = (1 << 31) - 1
"""Largest graph, bytes: a protobuf message holds no more, and needs files beside it."""
MANIFEST, SIGNATURE = "manifest.json", "signature.json"
"""Files beside a model's own, which no manifest may list."""
GRAPH, TOKENIZER, CARD = "model.onnx", "tokenizer.json", "README.md"
"""The graph, which every model has; the tokenizer of a text model; the model card."""
TORCH_FILES = ("weights.safetensors", "config.json")
"""Weights in bfloat16 and the configuration of transformers: what torch runs on a GPU in place of
the graph. A text model that was exported from Hugging Face has both."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")

_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_TENSOR = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./:-]{0,127}")
_PRECISION = re.compile(r"fp32|fp16|bf16|int8")
_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]{1,200}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)

Kind = Literal["text", "tensor"]
Task = Literal["text-classification", "token-classification"]


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
    """A key of `DTYPES`. BYTES is none of them: a tensor model takes no text."""
    shape: tuple[str | int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape as the Open Inference Protocol writes it: -1 for an open dimension."""
        return tuple(-1 if isinstance(size, str) else size for size in self.shape)


@dataclass(frozen=True, slots=True)
class Windows:
    """How a note past the model's length is handled: windows that share `overlap` tokens."""

    overlap: int
    join: Literal["mean", "max"]
    """Rule of `nlp/postprocess.py` that makes one prediction of all windows."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """How often the int8 graph gave the label of the fp32 graph, on a sample."""

    compared: int
    """Texts, or tokens for a token classifier."""
    agreed: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A model by name, version and digest; its files, tensors, labels and limits."""

    name: str
    version: str
    kind: Kind
    """`text`: reached through text alone. `tensor`: a caller's own tensors are its input."""
    phi_free: bool
    """Whoever signs says that its inputs hold no PHI. Tensor models have it, text models not."""
    task: Task | None
    """None for a tensor model."""
    precision: str
    quantised: Quantised | None
    files: Mapping[str, FileEntry]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    labels: tuple[str, ...]
    """In the order of the logits; empty for a tensor model."""
    max_length: int
    """Longest row, tokens with the special ones; 0 for a tensor model."""
    windows: Windows | None
    """None refuses a note past `max_length`; a note is never cut."""
    golden: tuple[Golden, ...]
    """Examples of a text classifier."""
    token_golden: tuple[TokenGolden, ...]
    """Examples of a token classifier."""
    tensor_golden: tuple[TensorGolden, ...]
    """Examples of a tensor model, which may have none."""
    source: str | None
    """Where it came from: a file's name, or an id of Hugging Face with its commit."""
    added_by: str
    added_at: str
    """UTC, `YYYY-MM-DDThh:mm:ssZ`."""
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
    top = read(raw, "manifest")
    manifest = _manifest(top, hashlib.sha256(raw).hexdigest())
    top.end()
    return manifest


def _manifest(top: Fields, digest: str) -> Manifest:
    top.take("format", f"{FORMAT}", lambda value: integer(value) and value == FORMAT)
    kind = cast("Kind", top.one_of("kind", "text", "tensor"))
    text = kind == "text"
    phi_free = not text
    task: Task | None = None
    labels: tuple[str, ...] = ()
    max_length, windows = 0, None
    if text:
        task = cast("Task", top.one_of("task", "text-classification", "token-classification"))
        labels = top.texts("labels", "at least two different labels", least=2, unique=True)
        max_length = top.whole("max_length", least=8, most=8192)
        windows = _windows(top)
        inputs = _tensors(top, "inputs", text_inputs())
        outputs = _tensors(top, "outputs", text_outputs(task, len(labels)))
    else:
        top.take(
            "phi_free", "true, as its inputs are not de-identified", lambda value: value is True
        )
        inputs, outputs = _tensors(top, "inputs", None), _tensors(top, "outputs", None)
    examples = top.items("golden", least=1 if text else 0)
    return Manifest(
        name=top.text("name", NAME, "a name of a-z, 0-9, '-' and '_', at most 64 long"),
        version=top.text("version", VERSION, "a version such as '1' or '1.2.0'"),
        kind=kind,
        phi_free=phi_free,
        task=task,
        precision=top.text("precision", _PRECISION, "fp32, fp16, bf16, int8"),
        quantised=_quantised(top),
        files=_files(top, (GRAPH, TOKENIZER) if text else (GRAPH,)),
        inputs=inputs,
        outputs=outputs,
        labels=labels,
        max_length=max_length,
        windows=windows,
        golden=golden.text_examples(examples, labels) if task == "text-classification" else (),
        token_golden=(
            golden.token_examples(examples, labels) if task == "token-classification" else ()
        ),
        tensor_golden=(
            ()
            if text
            else golden.tensor_examples(
                examples, [item.name for item in inputs], [item.name for item in outputs]
            )
        ),
        source=(
            top.text("source", _LINE, "where the model came from, on one line")
            if top.has("source")
            else None
        ),
        added_by=top.text("added_by", _LINE, "who added the model, on one line"),
        added_at=top.text("added_at", _TIME, "a time such as 2026-11-22T10:00:00Z"),
        digest=digest,
    )


def text_inputs() -> tuple[Tensor, ...]:
    """Return the inputs that every text model has."""
    return tuple(
        Tensor(name, "INT64", ("batch", "length")) for name in ("input_ids", "attention_mask")
    )


def text_outputs(task: Task, labels: int) -> tuple[Tensor, ...]:
    """Return the one output that a text model of `labels` labels has."""
    token = task == "token-classification"
    shape = ("batch", "length", labels) if token else ("batch", labels)
    return (Tensor("logits", "FP32", shape),)


def _files(top: Fields, needed: tuple[str, ...]) -> dict[str, FileEntry]:
    found: dict[str, FileEntry] = {}
    for name, entry in top.mapping("files").items():
        fields = Fields(entry, f"files[{len(found)}]")
        if not _FILE.fullmatch(name) or name in (MANIFEST, SIGNATURE):
            raise ManifestInvalid(f"{fields.path}: expected a plain file name without separators.")
        found[name] = FileEntry(
            sha256=fields.text("sha256", _DIGEST, "64 lower-case hex digits"),
            bytes=fields.whole("bytes", least=1, most=FILE_BYTES),
        )
        fields.end()
    for name in needed:
        if name not in found:
            raise ManifestInvalid(f"files: expected an entry for {name}.")
    return found


def _tensors(top: Fields, name: str, expected: tuple[Tensor, ...] | None) -> tuple[Tensor, ...]:
    """Return the tensors of a graph; `expected` are those of a task, None takes any."""

    def shape_fits(value: object) -> bool:
        return isinstance(value, list) and all(
            (isinstance(size, str) and _TENSOR.fullmatch(size)) or (integer(size) and size > 0)
            for size in value
        )

    found = []
    for fields in top.items(name):
        found.append(
            Tensor(
                name=fields.text("name", _TENSOR, "a tensor's name"),
                dtype=fields.one_of("dtype", *DTYPES),
                shape=tuple(fields.take("shape", "a list of names and sizes", shape_fits)),
            )
        )
        fields.end()
    if expected is not None and tuple(found) != expected:
        want = ", ".join(f"{item.name} {item.dtype} {list(item.shape)}" for item in expected)
        raise ManifestInvalid(f"{name}: expected {want}.")
    if len({item.name for item in found}) != len(found):
        raise ManifestInvalid(f"{name}: expected tensors of different names.")
    return tuple(found)


def _windows(top: Fields) -> Windows | None:
    value = top.take(
        "windows", "an object or null", lambda value: value is None or isinstance(value, dict)
    )
    if value is None:
        return None
    fields = Fields(value, "windows")
    windows = Windows(
        overlap=fields.whole("overlap", least=0, most=4096),
        join=cast("Literal['mean', 'max']", fields.one_of("join", "mean", "max")),
    )
    fields.end()
    return windows


def _quantised(top: Fields) -> Quantised | None:
    if not top.has("quantised"):
        return None
    fields = Fields(top.mapping("quantised"), "quantised")
    compared = fields.whole("compared", least=1, most=1 << 40)
    found = Quantised(compared, fields.whole("agreed", least=0, most=compared))
    fields.end()
    return found
