"""Makes the engine that the settings ask for: embedded, a Triton of our own, or one elsewhere.

With several workers the engine process owns it. The embedded engine is then reached over its
socket; with Triton each worker calls it directly, so that its batcher joins the calls of all, and
learns from a file beside the socket where it is and what serves there.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypedDict

from wardgate.engine.base import Engine, Loader, ServedModel
from wardgate.engine.onnx import OnnxEngine
from wardgate.engine.remote import RemoteEngine
from wardgate.errors import EngineUnavailable, SettingsInvalid
from wardgate.registry import export
from wardgate.registry.store import LoadedModel
from wardgate.settings import Settings

if TYPE_CHECKING:  # gRPC takes 0.2 s to load: only where Triton is asked for
    from wardgate.engine.triton import TritonEngine
    from wardgate.engine.tritonlink import Endpoint
    from wardgate.engine.tritonmodels import Models
    from wardgate.engine.tritonshare import Shape

log = logging.getLogger("wardgate")
_SHARE = "triton.json"
"""Beside the engine's socket."""
_PEM_BYTES = 1 << 20


class OwnEngine(Engine, Loader, Protocol):
    """An engine whose models this process manages."""


class _Common(TypedDict):
    lengths: Callable[[int], Sequence[int]]
    rows: int
    queue_tokens: int
    keepalive_seconds: float
    message_bytes: int
    cancels: bool


async def start_engine(
    settings: Settings, loaded: Sequence[LoadedModel], socket: Path | None = None
) -> OwnEngine:
    """Start the engine and warm it. `socket` is where workers of other processes look for it.

    Raises ManifestInvalid, ModelOutputInvalid, EngineUnavailable, SettingsInvalid.
    """
    if settings.engine.kind == "triton":
        return await _start_triton(settings, loaded, socket)
    engine = OnnxEngine(
        {model.id.digest: model for model in loaded},
        sessions=settings.engine.sessions,
        threads=settings.engine.threads,
        queue_tokens=settings.engine.queue_tokens,
        bulk_age_seconds=settings.engine.bulk_age_seconds,
    )
    log.info("engine: %s", await engine.start())
    return engine


async def join_engine(settings: Settings, socket: Path) -> Engine:
    """Return the engine that the engine process owns."""
    if settings.engine.kind == "triton":
        from wardgate.engine.triton import TritonEngine  # noqa: PLC0415 -- see above
        from wardgate.engine.tritonshare import Shared  # noqa: PLC0415

        shared = Shared(socket.with_name(_SHARE))
        engine = TritonEngine(shared.endpoint, shapes=shared.shapes, **_common(settings))
        await engine.start()
        return engine
    remote = RemoteEngine(socket)
    await remote.start()
    return remote


async def _start_triton(
    settings: Settings, loaded: Sequence[LoadedModel], socket: Path | None
) -> OwnEngine:
    from wardgate.engine.triton import TritonEngine  # noqa: PLC0415 -- see above
    from wardgate.engine.tritonmodels import Managed, Present  # noqa: PLC0415
    from wardgate.engine.tritonshare import publish  # noqa: PLC0415

    def tell(endpoint: Endpoint, shapes: Sequence[Shape]) -> None:
        if socket is not None:
            publish(socket.with_name(_SHARE), endpoint, shapes)

    repository = settings.engine.triton_repository or settings.state / "triton" / "models"
    managed = partial(
        Managed, repository=repository, export=_export, lengths=export.buckets, rows=_ROWS
    )
    if settings.engine.triton_url is None:
        engine = await _own_triton(settings, repository, managed, tell)
    else:
        at = _elsewhere(settings)
        models: Models = managed() if at.header else Present(lengths=export.buckets, rows=_ROWS)
        engine = TritonEngine(lambda: at, models, on_models=tell, **_common(settings))
    await engine.start(loaded)
    log.info("engine: Triton serves %s", ", ".join(model.id.name for model in loaded))
    return engine


async def _own_triton(
    settings: Settings,
    repository: Path,
    managed: Callable[..., Models],
    tell: Callable[[Endpoint, Sequence[Shape]], None],
) -> TritonEngine:
    """Start a server of our own, and return the engine that ends it."""
    from wardgate.engine.triton import TritonEngine  # noqa: PLC0415 -- see above
    from wardgate.engine.tritonlink import Endpoint  # noqa: PLC0415
    from wardgate.engine.tritonserver import TritonServer  # noqa: PLC0415

    await asyncio.to_thread(_empty, repository)
    there = True

    def changed(up: bool) -> None:
        nonlocal there
        there = up
        engine.changed()

    server = TritonServer(
        repository,
        home=settings.state / "triton" / "home",
        threads=settings.engine.threads,
        on_change=changed,
        on_notice=partial(log.info, "%s"),
    )
    access = await server.start()
    at = Endpoint(access.address, access.ca, access.cert, access.key, access.header, access.secret)
    close: Callable[[], Awaitable[None]] = server.close
    engine = TritonEngine(
        lambda: at if there else None,
        managed(aside=server.aside, runs=server.runs),
        on_models=tell,
        on_close=close,
        **_common(settings),
    )
    return engine


def _empty(repository: Path) -> None:
    """Make the folder, without what an earlier run left: models are written from verified bytes."""
    shutil.rmtree(repository, ignore_errors=True)
    repository.mkdir(mode=0o755, parents=True)


def _elsewhere(settings: Settings) -> Endpoint:
    """Return how the settings say to reach a Triton elsewhere. Raises SettingsInvalid."""
    from wardgate.engine.tritonlink import Endpoint  # noqa: PLC0415 -- see above

    engine = settings.engine
    assert engine.triton_url is not None
    header = secret = None
    if engine.triton_control is not None:
        content = _read(engine.triton_control).decode("ascii", "replace").strip()
        header, separator, secret = (part.strip() for part in content.partition(":"))
        if not separator or not header or not secret or header != header.lower():
            raise SettingsInvalid("engine.triton_control: expected one line 'header: secret'.")
    ca, cert, key = (
        None if file is None else _read(file)
        for file in (engine.triton_ca, engine.triton_cert, engine.triton_key)
    )
    return Endpoint(engine.triton_url, ca, cert, key, header, secret)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_PEM_BYTES)
    except OSError as error:
        raise SettingsInvalid(f"A file for Triton cannot be read: {error.strerror}.") from None


def _common(settings: Settings) -> _Common:
    engine = settings.engine
    return {
        "lengths": export.buckets,
        "rows": export.Options().max_batch_size,
        "queue_tokens": engine.queue_tokens,
        "keepalive_seconds": engine.triton_keepalive_seconds,
        "message_bytes": engine.triton_message_bytes,
        "cancels": engine.triton_cancel,
    }


def _export(model: ServedModel, folder: Path) -> None:
    """Write a model into Triton's repository; the registry's own are all that comes here."""
    if not isinstance(model, LoadedModel):
        raise EngineUnavailable(reason="not-of-the-registry")
    export.write(model, folder)


_ROWS = (1,)
"""Rows in the runs that prove a model's output; Triton's own warm-up runs the largest batches."""
