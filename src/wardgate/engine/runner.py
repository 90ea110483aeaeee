"""Runs tensor models: a caller's own tensors in, the graph's outputs out, checked both ways.

Each model has one session of ONNX Runtime on the processor. Runs go through a bounded pool of
threads; a run whose deadline passes, or whose caller leaves, is told to stop and its thread is free
for the next once it has. Nothing is batched: the graph alone knows what its dimensions mean.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from wardgate.errors import (
    BodyInvalid,
    DeadlineExceeded,
    EngineUnavailable,
    ManifestInvalid,
    ModelOutputInvalid,
    ModelUnknown,
    Overloaded,
)
from wardgate.types import DTYPES, ModelId

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output; open dimensions have a name, and one name is one size."""

    name: str
    dtype: str
    """A key of `DTYPES`."""
    shape: tuple[str | int, ...]

    @property
    def sizes(self) -> list[int]:
        """The shape with -1 for an open dimension."""
        return [-1 if isinstance(size, str) else size for size in self.shape]


@dataclass(frozen=True, slots=True)
class TensorModel:
    """A model whose inputs hold no PHI, as its signed manifest says."""

    id: ModelId
    graph: bytes
    """The verified ONNX graph."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


class TensorRunner:
    """`infer` until `close`."""

    def __init__(self, models: Sequence[TensorModel], *, threads: int, queue: int) -> None:
        """Load the models. `threads` run side by side, and `queue` calls may be there in all.

        Raises ManifestInvalid for a graph that is not as declared.
        """
        self._models = {model.id.digest: (model, _session(model)) for model in models}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tensor")
        self._room = queue

    async def infer(self, digest: str, inputs: Tensors, *, deadline: float) -> dict[str, Any]:
        """Return every output by name; `deadline` is in seconds of `time.monotonic()`.

        Raises ModelUnknown, BodyInvalid for tensors that are not as declared, Overloaded,
        DeadlineExceeded, ModelOutputInvalid, EngineUnavailable once closed.
        """
        found = self._models.get(digest)
        if found is None:
            raise ModelUnknown
        model, session = found
        sizes = _fit(model.inputs, inputs)
        if self._room <= 0:
            raise Overloaded(reason="tensor-queue-full", retry_after=1.0)
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        names = [port.name for port in model.outputs]
        loop = asyncio.get_running_loop()
        try:
            run = self._pool.submit(session.run, names, dict(inputs), options)
        except RuntimeError:
            raise EngineUnavailable from None
        self._room -= 1
        run.add_done_callback(lambda _: loop.call_soon_threadsafe(self._left))
        outputs = dict(zip(names, await _answer(run, options, deadline), strict=True))
        _check(model.outputs, outputs, sizes)
        return outputs

    def run(self, digest: str, inputs: Tensors) -> dict[str, Any]:
        """Return every output by name, at once and in this thread: for examples at the start.

        Raises BodyInvalid and ModelOutputInvalid as `infer`.
        """
        model, session = self._models[digest]
        sizes = _fit(model.inputs, inputs)
        names = [port.name for port in model.outputs]
        outputs = dict(zip(names, session.run(names, dict(inputs)), strict=True))
        _check(model.outputs, outputs, sizes)
        return outputs

    def close(self) -> None:
        """Take no more calls; returns when the last run has ended."""
        self._pool.shutdown(cancel_futures=True)

    def _left(self) -> None:
        self._room += 1


async def _answer(run: Future[Any], options: Any, deadline: float) -> Any:
    """Await a run; one that is not waited for any longer is told to stop."""
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            return await asyncio.wrap_future(run)
    except TimeoutError:
        raise DeadlineExceeded from None
    except asyncio.CancelledError:
        raise
    except Exception:  # noqa: BLE001 -- the runtime's own errors have no common class
        raise ModelOutputInvalid(reason="tensor-run-failed") from None
    finally:
        if not run.done() or run.cancelled():
            options.terminate = True


def _fit(ports: Sequence[Port], tensors: Tensors) -> dict[str, int]:
    """Return the sizes of the open dimensions. Raises BodyInvalid where a tensor does not fit."""
    sizes: dict[str, int] = {}
    if tensors.keys() != {port.name for port in ports}:
        raise BodyInvalid("Give each input of the model once.", reason="tensor-inputs")
    for port in ports:
        tensor = tensors[port.name]
        if tensor.dtype != DTYPES[port.dtype] or not _same(port, tensor, sizes):
            raise BodyInvalid(
                f"Input '{port.name}' is {port.dtype} of shape {port.sizes}.", reason="tensor-shape"
            )
    return sizes


def _same(port: Port, tensor: NDArray[Any], sizes: dict[str, int]) -> bool:
    """Whether a tensor has the shape of a port, and sizes that agree with those seen before."""
    return len(port.shape) == tensor.ndim and all(
        size == (sizes.setdefault(dim, size) if isinstance(dim, str) else dim)
        for dim, size in zip(port.shape, tensor.shape, strict=True)
    )


def _check(ports: Sequence[Port], tensors: dict[str, Any], sizes: dict[str, int]) -> None:
    """Raise ModelOutputInvalid unless every output is as declared and finite."""
    for port in ports:
        tensor = tensors[port.name]
        if (
            not isinstance(tensor, np.ndarray)
            or tensor.dtype != DTYPES[port.dtype]
            or not _same(port, tensor, sizes)
            or (tensor.dtype.kind == "f" and not np.isfinite(tensor).all())
        ):
            raise ModelOutputInvalid


def _session(model: TensorModel) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its messages go to stderr, past our own log
    options.enable_mem_pattern = False
    # Weights outside the verified bytes would be read from the working folder.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", os.devnull
    )
    try:
        session = onnxruntime.InferenceSession(
            model.graph, options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # noqa: BLE001 -- the runtime's own errors have no common class
        raise ManifestInvalid("model.onnx: expected a graph that ONNX Runtime can load.") from None
    inputs = {item.name for item in session.get_inputs()}
    outputs = {item.name for item in session.get_outputs()}
    if inputs != {port.name for port in model.inputs} or not outputs.issuperset(
        port.name for port in model.outputs
    ):
        raise ManifestInvalid("model.onnx: expected the inputs and outputs of the manifest.")
    return session
