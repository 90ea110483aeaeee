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


class TensorModel:
    """A model whose inputs hold no PHI, as its signed manifest says, and its session.

    The session goes with the last that holds the model: a version that no longer serves is let go
    once its calls have ended.
    """

    def __init__(
        self, model: ModelId, graph: bytes, inputs: Sequence[Port], outputs: Sequence[Port]
    ) -> None:
        """Load the verified ONNX graph. Raises ManifestInvalid where it is not as declared."""
        self.id = model
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._session = _session(graph, self.inputs, self.outputs)

    def sizes(self, inputs: Tensors) -> dict[str, int]:
        """Return the sizes of the open dimensions.

        Raises BodyInvalid for inputs that are not as declared.
        """
        return _fit(self.inputs, inputs)

    def run(self, inputs: Tensors, options: Any = None) -> dict[str, NDArray[Any]]:
        """Return every output by name, in this thread, unchecked; `options` can end the run."""
        names = [port.name for port in self.outputs]
        return dict(zip(names, self._session.run(names, dict(inputs), options), strict=True))

    def check(self, outputs: Tensors, sizes: dict[str, int], *, finite: bool = True) -> None:
        """Raise ModelOutputInvalid unless every output is as declared and finite.

        `finite` says that the inputs are: where they are not, BodyInvalid says whose fault it is.
        """
        _check(self.outputs, outputs, sizes, finite=finite)

    def prove(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run an example. Raises BodyInvalid and ModelOutputInvalid as `TensorRunner.infer`."""
        sizes = self.sizes(inputs)
        try:
            outputs = self.run(inputs)
        except Exception:  # noqa: BLE001 -- the runtime's own errors have no common class
            raise ModelOutputInvalid(reason="tensor-run-failed") from None
        self.check(outputs, sizes)
        return outputs


class TensorRunner:
    """`infer` until `close`."""

    def __init__(self, *, threads: int, queue: int) -> None:
        """Let `threads` runs go side by side, and `queue` calls be there in all."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="tensor")
        self._room = queue

    async def infer(
        self, model: TensorModel, inputs: Tensors, *, deadline: float
    ) -> dict[str, NDArray[Any]]:
        """Return every output by name; `deadline` is in seconds of `time.monotonic()`.

        Raises BodyInvalid for tensors that are not as declared, or not finite where that makes the
        outputs so; Overloaded, DeadlineExceeded, ModelOutputInvalid, EngineUnavailable once closed.
        """
        sizes = model.sizes(inputs)
        if self._room <= 0:
            raise Overloaded(reason="tensor-queue-full", retry_after=1.0)
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        loop = asyncio.get_running_loop()
        try:
            run = self._pool.submit(model.run, inputs, options)
        except RuntimeError:
            raise EngineUnavailable from None
        self._room -= 1
        run.add_done_callback(lambda _: loop.call_soon_threadsafe(self._left))
        outputs: dict[str, NDArray[Any]] = await _answer(run, options, deadline)
        model.check(outputs, sizes, finite=all(map(_finite, inputs.values())))
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


def _check(ports: Sequence[Port], tensors: Tensors, sizes: dict[str, int], *, finite: bool) -> None:
    for port in ports:
        tensor = tensors[port.name]
        if (
            not isinstance(tensor, np.ndarray)
            or tensor.dtype != DTYPES[port.dtype]
            or not _same(port, tensor, sizes)
        ):
            raise ModelOutputInvalid
        if not _finite(tensor):
            if finite:
                raise ModelOutputInvalid
            raise BodyInvalid(
                "The inputs are not finite, and so the outputs are not.", reason="tensor-finite"
            )


def _finite(tensor: NDArray[Any]) -> bool:
    return tensor.dtype.kind != "f" or bool(np.isfinite(tensor).all())


def _session(
    graph: bytes, inputs: Sequence[Port], outputs: Sequence[Port]
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its messages go to stderr, past our own log
    options.enable_mem_pattern = False
    # Weights outside the verified bytes would be read from the working folder.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", os.devnull
    )
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 -- the runtime's own errors have no common class
        raise ManifestInvalid("model.onnx: expected a graph that ONNX Runtime can load.") from None
    taken = {item.name for item in session.get_inputs()}
    given = {item.name for item in session.get_outputs()}
    if taken != {port.name for port in inputs} or not given.issuperset(
        port.name for port in outputs
    ):
        raise ManifestInvalid("model.onnx: expected the inputs and outputs of the manifest.")
    return session
