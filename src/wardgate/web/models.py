"""Which models this gateway serves and may serve: from the registry, by the control store."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from wardgate.audit.record import Recorder
from wardgate.control.store import ControlStore
from wardgate.engine.base import ServedModel
from wardgate.errors import ManifestInvalid, WardgateError
from wardgate.registry.store import LoadedModel, Store, open_store
from wardgate.settings import Settings
from wardgate.types import ModelChange, ModelId
from wardgate.web.driver import Driver, Engine, adopt
from wardgate.web.follow import Load, load_pinned

log = logging.getLogger("wardgate")


def load_models(settings: Settings) -> list[LoadedModel]:
    """Read and verify every model that an engine shall serve, by what the control store says.

    What serves of a tensor model is written down here too; each worker reads it for itself.
    Raises ManifestInvalid, also for a model that no route serves, and RegistryUnavailable.
    """
    load = loader(settings)
    control = ControlStore(settings.state)
    try:
        standings = adopt(control, load, settings.registry.names)
    finally:
        control.close()
    texts = {name: standings[name] for name in settings.registry.models}
    loaded = [load_pinned(load, name, each.stable) for name, each in texts.items()]
    for name, each in texts.items():
        if each.shared and each.candidate is not None:
            try:
                loaded.append(load_pinned(load, name, each.candidate))
            except WardgateError as error:  # the driver takes it back
                log.warning("%s %s: %s", name, each.candidate.version, error.detail)
    return loaded


def open_registry(settings: Settings) -> Store:
    """Return the models that may serve. Raises SettingsInvalid for a key or a URL that is none."""
    registry = settings.registry
    if registry.insecure_allow_unsigned:
        log.warning(
            "registry.insecure_allow_unsigned is on: text models that nobody has signed are served"
        )
    return open_store(
        folder=registry.folder or settings.state / "registry",
        url=registry.url,
        cache=settings.state / "models",
        trusted=registry.trusted_keys,
        allow_unsigned=registry.insecure_allow_unsigned,
    )


def loader(settings: Settings) -> Load:
    """Return what loads the models that the settings name. Raises as `open_registry`."""
    return servable(open_registry(settings), settings.registry.tensor_models)


def servable(registry: Store, tensor_models: Sequence[str] = ()) -> Load:
    """Return what loads a model from the registry, and refuses one that no route can serve.

    Those of `tensor_models` must be of that kind, and no other may.
    """

    def load(name: str, version: str | None = None, *, digest: str | None = None) -> LoadedModel:
        model = registry.load(name, version, digest=digest)
        if model.kept:
            log.warning(
                "the registry does not answer: %s %s serves from the bytes that were verified "
                "before, sha256:%s",
                *(model.id.name, model.id.version, model.id.digest),
            )
        if model.manifest.task == "token-classification":
            raise ManifestInvalid(f"{name}: token classifiers cannot be served yet.")
        tensor = model.manifest.kind == "tensor"
        if tensor and name not in tensor_models:
            raise ManifestInvalid(f"{name}: name a tensor model in registry.tensor_models.")
        if not tensor and name in tensor_models:
            raise ManifestInvalid(f"{name}: expected a tensor model that is phi_free.")
        return model

    return load


class Holding:
    """An engine, and beside it the tensor models, which each worker runs for itself.

    The driver takes those as loaded at once. Whether one can be run, and comes out right, is what
    every worker says before it serves.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tensors: dict[str, ModelId] = {}

    async def check(self) -> tuple[ModelId, ...]:
        """As `driver.Engine.check`."""
        return (*await self._engine.check(), *self._tensors.values())

    async def load(self, model: ServedModel) -> None:
        """As `driver.Engine.load`."""
        if isinstance(model, LoadedModel) and model.manifest.kind == "tensor":
            self._tensors[model.id.digest] = model.id
        else:
            await self._engine.load(model)

    async def unload(self, digest: str) -> None:
        """As `driver.Engine.unload`."""
        if self._tensors.pop(digest, None) is None:
            await self._engine.unload(digest)


def open_driver(
    settings: Settings, control: ControlStore, engine: Engine, recorder: Recorder
) -> Driver:
    """Return the driver of changes; it runs where the engine runs."""

    async def record(change: ModelChange) -> None:
        await recorder.change(change)

    return Driver(
        control,
        settings.registry.names,
        load=loader(settings),
        engine=Holding(engine),
        record=record,
    )
