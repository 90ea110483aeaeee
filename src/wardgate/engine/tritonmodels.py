"""How models come to be at a Triton, and what is checked before they serve there.

`Managed`: this process loads them, over the control channel. `Present`: somebody else has loaded
them. Either way Triton must describe the model as its manifest does, under a name that holds the
manifest's digest, and the model must give valid output for every bucket length before it serves.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from tritonclient.grpc import service_pb2

from wardgate.aside import aside
from wardgate.engine.base import ServedModel
from wardgate.engine.join import Joined, Row
from wardgate.engine.tensors import VERSION, finite, infer_request, logits_of, served_name
from wardgate.engine.tritonlink import Link, is_lost
from wardgate.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    ManifestInvalid,
    ModelOutputInvalid,
    WardgateError,
)
from wardgate.types import ModelId, Priority

LOAD_SECONDS = 600.0
"""For loading one model, its warm-up in Triton included."""
UNLOAD_SECONDS = 60.0
ASK_SECONDS = 10.0
"""For a question about a model."""
RUN_SECONDS = 60.0
"""For one run of a model that is being warmed."""


class Models(Protocol):
    """Brings models to a Triton and takes them away again."""

    async def load(self, link: Link, model: ServedModel, *, yielding: bool = False) -> None:
        """Return once the model serves there; does nothing where it does.

        `yielding`: nobody waits for it, and what serves goes first.

        Raises ManifestInvalid, ModelOutputInvalid, EngineUnavailable.
        """

    async def unload(self, link: Link, model: ModelId) -> None:
        """Let the model go; its calls have been answered."""

    def alive(self, model: ModelId) -> bool:
        """Tell whether the model can run, as far as this can be known without asking Triton."""
        ...


class Managed:
    """Writes models into the folder `repository` with `export` and has Triton load them.

    Each is tried with every length of `lengths(max_length)` and each number of rows in `rows`
    before it serves; Triton's own warm-up comes before. Until then the process of one that is
    loaded `yielding` is `aside`.
    """

    def __init__(
        self,
        *,
        repository: Path,
        export: Callable[[ServedModel, Path], object],
        lengths: Callable[[int], Sequence[int]],
        rows: Sequence[int] = (1,),
        aside: Callable[[str], AbstractAsyncContextManager[None]] | None = None,
        runs: Callable[[str], bool] | None = None,
    ) -> None:
        """Load into a Triton; where it is our own, `runs` tells if a model's process lives."""
        self._repository = repository
        self._aside = aside or (lambda _: nullcontext())
        self._runs = runs or (lambda _: True)
        self._export = export
        self._lengths, self._rows = lengths, tuple(rows)
        self._tried: set[str] = set()

    async def load(self, link: Link, model: ServedModel, *, yielding: bool = False) -> None:
        """As `Models.load`."""
        name = served_name(model.id)
        ready = await link.ready(name, ASK_SECONDS)
        alive = self.alive(model.id)
        if ready and alive and name in self._tried:
            return
        async with self._aside(name) if yielding else nullcontext():
            if ready and not alive:
                await self.unload(link, model.id)
                ready = False
            if not ready:
                self._tried.discard(name)
                await self._bring(link, name, model)
            try:
                await _described(link, name, model)
                await _tried(link, name, model, self._lengths(model.max_length), self._rows)
            except (ManifestInvalid, ModelOutputInvalid):
                await self.unload(link, model.id)  # nobody may come to use it
                raise
        self._tried.add(name)
        self.alive(model.id)  # from here on its end is noticed

    def alive(self, model: ModelId) -> bool:
        """As `Models.alive`."""
        return self._runs(served_name(model))

    async def _bring(self, link: Link, name: str, model: ServedModel) -> None:
        await aside(self._export, model, self._repository)
        request = service_pb2.RepositoryModelLoadRequest(model_name=name)
        try:
            await link.command("RepositoryModelLoad", request, LOAD_SECONDS)
        except WardgateError as error:
            if is_lost(error):
                raise
            raise ManifestInvalid("Triton cannot load the model.") from None

    async def unload(self, link: Link, model: ModelId) -> None:
        """As `Models.unload`; the exported files go too."""
        name = served_name(model)
        self._tried.discard(name)
        request = service_pb2.RepositoryModelUnloadRequest(model_name=name)
        await link.command("RepositoryModelUnload", request, UNLOAD_SECONDS)
        await aside(shutil.rmtree, self._repository / name, ignore_errors=True)


class Present:
    """Takes models that a Triton elsewhere has; it loads and unloads none."""

    def __init__(
        self, *, lengths: Callable[[int], Sequence[int]], rows: Sequence[int] = (1,)
    ) -> None:
        self._lengths, self._rows = lengths, tuple(rows)
        self._tried: set[str] = set()

    async def load(self, link: Link, model: ServedModel, *, yielding: bool = False) -> None:  # noqa: ARG002 -- as `Models.load`
        """As `Models.load`."""
        name = served_name(model.id)
        if not await link.ready(name, ASK_SECONDS):
            self._tried.discard(name)
            raise EngineUnavailable(
                f"Triton has no model {name}; export it with 'wardgate models export --to triton'.",
                reason="triton-model-missing",
                retry_after=1.0,
            )
        if name not in self._tried:
            await _described(link, name, model)
            await _tried(link, name, model, self._lengths(model.max_length), self._rows)
            self._tried.add(name)

    async def unload(self, link: Link, model: ModelId) -> None:
        """As `Models.unload`: it stays there, unused."""

    def alive(self, model: ModelId) -> bool:  # noqa: ARG002 -- as `Models.alive`
        """As `Models.alive`: nobody here knows better than Triton."""
        return True


async def _described(link: Link, name: str, model: ServedModel) -> None:
    """Compare Triton's description with the manifest's. Raises ManifestInvalid, EngineUnavailable.

    Where Triton says -1 it takes any size: [batch, length] in, [batch, labels] out.
    """
    request = service_pb2.ModelMetadataRequest(name=name, version=VERSION)
    try:
        found = await link.command("ModelMetadata", request, ASK_SECONDS)
    except EngineUnavailable as error:
        if link.controls or is_lost(error):
            raise
        # Triton answers UNAVAILABLE where a protocol is restricted.
        raise EngineUnavailable(
            "Triton does not describe its models to the gateway; take 'metadata' out of its "
            "restricted protocols, or set engine.triton_control.",
            reason="triton-refused",
            retry_after=1.0,
        ) from None
    inputs = {each.name: (each.datatype, tuple(each.shape)) for each in found.inputs}
    outputs = {each.name: (each.datatype, tuple(each.shape)) for each in found.outputs}
    ids = ("INT64", (-1, -1))
    if (
        found.name != name
        or VERSION not in found.versions
        or inputs != {"input_ids": ids, "attention_mask": ids}
        or outputs != {"logits": ("FP32", (-1, len(model.labels)))}
    ):
        raise ManifestInvalid("Triton describes the model otherwise than its manifest does.")


async def _tried(
    link: Link, name: str, model: ServedModel, lengths: Sequence[int], sizes: Sequence[int]
) -> None:
    """Run every shape once, one at a time at low priority. Raises as `Models.load`.

    Rows of ones, as in Triton's own warm-up; the last is none, and tells the model that it serves.
    """
    for length in lengths:
        for size in sizes:
            await _run(link, name, model, length, [[1] * length] * size)
    await _run(link, name, model, lengths[0], [[0]])


async def _run(
    link: Link, name: str, model: ServedModel, length: int, ids: Sequence[list[int]]
) -> None:
    now = time.monotonic()
    rows = tuple(Row(0, index, each) for index, each in enumerate(ids))
    call = Joined(model.id.digest, length, Priority.BULK, now + RUN_SECONDS, rows)
    try:
        reply = await link.infer(infer_request(name, call, now), RUN_SECONDS)
        if not all(finite(logits_of(reply, name, len(rows), len(model.labels)))):
            raise ModelOutputInvalid  # noqa: TRY301 -- told as any other fault of output
    except ModelOutputInvalid:
        raise ModelOutputInvalid("The model gave no valid output when it was warmed up.") from None
    except DeadlineExceeded:
        raise EngineUnavailable(reason="warm-up-late", retry_after=1.0) from None
