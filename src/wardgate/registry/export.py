"""Writes a model as a complete Triton repository: nothing is left to write by hand.

The Triton model is called `<name>.<first 16 hex digits of the manifest's digest>`: versions stand
side by side, and the name proves the files. Lengths are bucketed (`buckets`): who calls pads each
row to a bucket, so that rows of many callers have equal shapes and Triton's batcher joins them.
A model is written whole and then renamed into place; one that is there is never overwritten.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from wardgate.errors import ManifestInvalid
from wardgate.registry.manifest import GRAPH, TORCH_FILES, Tensor
from wardgate.registry.store import LoadedModel

Backend = Literal["python", "onnxruntime", "tensorrt"]
DIGITS = 16
"""Hex digits of the digest in a Triton model's name."""
VERSION = "1"
"""The only version folder: a new version is a new Triton model."""
PYTHON_BACKEND = Path(__file__).parent / "triton_backend" / "model.py"


@dataclass(frozen=True, slots=True)
class Options:
    """How Triton runs the model."""

    backend: Backend = "python"
    """`python` for the server of the wheel; `onnxruntime` or `tensorrt` for NVIDIA's container."""
    gpus: int = 0
    """Instances, one on each GPU; 0 runs on the processor."""
    instances: int = 1
    """Instances on the processor; they share its cores."""
    max_batch_size: int = 32
    """Most rows in one run."""
    preferred: tuple[int, ...] = ()
    """Batch sizes that are sent at once; empty takes `max_batch_size` alone."""
    max_queue_delay_us: int = 0
    """How long a batch that is not full waits for company, microseconds. With 0 batches form
    while the instances are busy, and nobody waits for nobody."""
    queue_policy: bool | None = None
    """Whether Triton keeps priorities, a bounded queue and deadlines of its own; None for a
    container alone, which callers besides the gateway may share. The gateway keeps all three
    itself. Each of them alone ends the pre-fetching of Triton's batcher (core pull request 237),
    and without it calls were measured to lie for half a second beside an idle model (Triton 2.51,
    `benchmarks/triton_queue_policy.py`; server issue 8870)."""
    queue_calls: int = 4096
    """With `queues`: calls that may wait; above it Triton refuses."""
    timeout_us: int = 600_000_000
    """With `queues`: longest wait in the queue, microseconds. A call may ask for less, never
    for more, so it is above the longest deadline that the gateway gives."""

    @property
    def queues(self) -> bool:
        """Whether priority levels and a queue policy are written."""
        return self.backend != "python" if self.queue_policy is None else self.queue_policy

    @property
    def sizes(self) -> tuple[int, ...]:
        """The preferred batch sizes, smallest first."""
        return tuple(sorted(set(self.preferred))) or (self.max_batch_size,)


def model_name(name: str, digest: str) -> str:
    """Return the Triton model's name for a model and the SHA-256 of its manifest, hex."""
    return f"{name}.{digest[:DIGITS]}"


def buckets(max_length: int) -> tuple[int, ...]:
    """Return the lengths that rows are padded to: 16, 32, 48, 64, 96, 128, ... `max_length`.

    Padding within a bucket stays under a half, from 32 tokens on under a third. A tensor model,
    whose `max_length` is 0, has none.
    """
    return tuple(_edges(max_length)) if max_length else ()


def _edges(max_length: int) -> Iterator[int]:
    edge = 16
    while edge < max_length:
        yield edge
        middle = edge + edge // 2
        if edge > 16 and middle < max_length:  # noqa: PLR2004 -- 24 would be one shape more
            yield middle
        edge *= 2
    yield max_length


def write(model: LoadedModel, folder: Path, options: Options = Options()) -> Path:
    """Write the Triton model into the repository `folder` and return its own folder.

    The same model with the same options is left as it stands. Raises ManifestInvalid where there
    is another in its place, or the folder cannot be written.
    """
    name = model_name(model.id.name, model.id.digest)
    target = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
    except OSError:
        raise ManifestInvalid("The Triton repository's folder cannot be written.") from None
    try:
        _fill(draft, files(model, options))
        if target.exists():
            if _content(target) != _content(draft):
                raise ManifestInvalid(f"{name}: another model or other options stand there.")
            return target
        try:
            draft.rename(target)
        except OSError:  # another process was quicker, or the disk refuses
            if not target.is_dir() or _content(target) != _content(draft):
                raise ManifestInvalid(f"{name}: it cannot be put into its place.") from None
    except OSError:
        raise ManifestInvalid("The Triton repository's folder cannot be written.") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def files(model: LoadedModel, options: Options) -> dict[str, bytes]:
    """Return all files of the Triton model by their path in its folder."""
    found = {
        "config.pbtxt": config(model, options).encode(),
        f"{VERSION}/{GRAPH}": model.graph,
    }
    for length in buckets(model.max_length):
        found[f"warmup/ones-{length}"] = np.ones(length, np.int64).tobytes()
    if options.backend == "python":
        found[f"{VERSION}/model.py"] = PYTHON_BACKEND.read_bytes()
        if options.gpus and all(name in model.files for name in TORCH_FILES):
            found |= {f"{VERSION}/{name}": model.files[name] for name in TORCH_FILES}
    return found


def config(model: LoadedModel, options: Options) -> str:
    """Return the `config.pbtxt` (model_config.proto of Triton) of the model.

    Text models always take batches; a tensor model does where the first dimension of each of its
    tensors is open.
    """
    manifest = model.manifest
    tensors = (*manifest.inputs, *manifest.outputs)
    batched = all(tensor.shape and isinstance(tensor.shape[0], str) for tensor in tensors)
    # Without this, Triton's batcher ends a batch at the first row of another length. The Python
    # backend sorts the rows of a call by length itself; the others must have equal shapes.
    ragged = batched and options.backend == "python"
    lengths = buckets(manifest.max_length)
    parameters = {
        "digest": manifest.digest,
        "model": manifest.name,
        "version": manifest.version,
        "buckets": ",".join(map(str, lengths)),
    }
    parts = [
        f"name: {_text(model_name(manifest.name, manifest.digest))}",
        _runtime(manifest.inputs, lengths, options),
        f"version_policy: {{ specific {{ versions: [ {VERSION} ] }} }}",
        f"max_batch_size: {options.max_batch_size if batched else 0}",
        *(_tensor("input", tensor, batched, ragged=ragged) for tensor in manifest.inputs),
        *(_tensor("output", tensor, batched, ragged=False) for tensor in manifest.outputs),
        _instances(options),
        *([_batching(options)] if batched else []),
        *_warmup(manifest.inputs, lengths, options.max_batch_size),
        *(_parameter(name, value) for name, value in parameters.items()),
    ]
    return "\n".join(parts) + "\n"


def _batching(options: Options) -> str:
    lines = [
        f"preferred_batch_size: [ {', '.join(map(str, options.sizes))} ]",
        f"max_queue_delay_microseconds: {options.max_queue_delay_us}",
    ]
    if options.queues:
        lines.append(_policy(options))
    return "\n  ".join(["dynamic_batching {", *lines]) + "\n}"


def _policy(options: Options) -> str:
    return f"""priority_levels: 2
  default_priority_level: 1
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: {options.timeout_us}
    allow_timeout_override: true
    max_queue_size: {options.queue_calls}
  }}"""


def _runtime(inputs: tuple[Tensor, ...], lengths: tuple[int, ...], options: Options) -> str:
    if options.backend == "python":
        return 'backend: "python"'
    lines = [
        'backend: "onnxruntime"',
        f"default_model_filename: {_text(GRAPH)}",
        # A plan of memory would be kept for ever for each shape seen.
        _parameter("enable_mem_pattern", "0"),
    ]
    if options.backend == "tensorrt":
        lines.append(_tensorrt(inputs, lengths, options.max_batch_size))
    return "\n".join(lines)


def _tensorrt(inputs: tuple[Tensor, ...], lengths: tuple[int, ...], most: int) -> str:
    """Return the accelerator by which ONNX Runtime hands the graph to TensorRT.

    TensorRT builds its plan for the GPU at the first load: a plan file is bound to one GPU model
    and one TensorRT version, and no registry could verify it.
    """
    settings = {"precision_mode": "FP16"}
    if lengths:
        shapes = {"min": (1, lengths[0]), "opt": (most, lengths[len(lengths) // 2]),
                  "max": (most, lengths[-1])}  # fmt: skip
        for kind, (rows, length) in shapes.items():
            settings[f"trt_profile_{kind}_shapes"] = ",".join(
                f"{tensor.name}:{rows}x{length}" for tensor in inputs
            )
    lines = "\n".join(
        f"    parameters {{ key: {_text(key)} value: {_text(value)} }}"
        for key, value in settings.items()
    )
    return (
        "optimization { execution_accelerators {\n"
        f'  gpu_execution_accelerator {{\n    name: "tensorrt"\n{lines}\n  }}\n}} }}'
    )


def _instances(options: Options) -> str:
    if options.gpus == 0:
        return f"instance_group [ {{ kind: KIND_CPU count: {options.instances} }} ]"
    gpus = ", ".join(map(str, range(options.gpus)))
    return f"instance_group [ {{ kind: KIND_GPU count: 1 gpus: [ {gpus} ] }} ]"


def _tensor(kind: str, tensor: Tensor, batched: bool, *, ragged: bool) -> str:
    dims = ", ".join(map(str, tensor.sizes[1:] if batched else tensor.sizes))
    extra = " allow_ragged_batch: true" if ragged else ""
    return (
        f"{kind} [ {{ name: {_text(tensor.name)} data_type: TYPE_{tensor.dtype} "
        f"dims: [ {dims} ]{extra} }} ]"
    )


def _warmup(inputs: tuple[Tensor, ...], lengths: tuple[int, ...], most: int) -> Iterator[str]:
    for length in lengths:
        for rows in sorted({1, most}):
            tensors = "".join(
                f"\n  inputs {{ key: {_text(tensor.name)} value {{ data_type: TYPE_INT64 "
                f'dims: [ {length} ] input_data_file: "ones-{length}" }} }}'
                for tensor in inputs
            )
            yield f'model_warmup {{\n  name: "{rows}x{length}" batch_size: {rows}{tensors}\n}}'


def _parameter(key: str, value: str) -> str:
    return f"parameters {{ key: {_text(key)} value: {{ string_value: {_text(value)} }} }}"


def _text(value: str) -> str:
    """Quote a text for protobuf's text format; JSON's escapes of ASCII are a part of its own."""
    return json.dumps(value)


def _fill(folder: Path, content: Mapping[str, bytes]) -> None:
    """Write the files, readable for a user of Triton's own, and all of it to the disk."""
    folder.chmod(0o755)
    for path, data in content.items():
        file = folder / path
        file.parent.mkdir(mode=0o755, exist_ok=True)
        file.parent.chmod(0o755)
        with file.open("xb") as stream:
            stream.write(data)
            os.fchmod(stream.fileno(), 0o644)
            stream.flush()
            os.fsync(stream.fileno())


def _content(folder: Path) -> dict[str, bytes]:
    """Return the files of a model that stands; nothing where one is a link or no plain file."""
    found: dict[str, bytes] = {}
    with suppress(OSError):
        for path in (folder, *sorted(folder.rglob("*"))):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                return {}
            if path.is_file():
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found
