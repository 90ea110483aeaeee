"""Which models this gateway serves and may serve: from the registry, by the control store."""

from __future__ import annotations

import logging

from wardgate.audit.record import Recorder
from wardgate.control.store import ControlStore
from wardgate.errors import ManifestInvalid, WardgateError
from wardgate.registry.store import LoadedModel, Store, open_store
from wardgate.settings import Settings
from wardgate.types import ModelChange
from wardgate.web.driver import Driver, Engine, adopt
from wardgate.web.follow import Load, load_pinned

log = logging.getLogger("wardgate")


def load_models(settings: Settings) -> list[LoadedModel]:
    """Read and verify every model that shall be served, by what the control store says.

    Raises ManifestInvalid, also for a model that no route serves, and RegistryUnavailable.
    """
    load = servable(open_registry(settings))
    control = ControlStore(settings.state)
    try:
        standings = adopt(control, load, settings.registry.models)
    finally:
        control.close()
    loaded = [load_pinned(load, name, each.stable) for name, each in standings.items()]
    for name, each in standings.items():
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
            "registry.insecure_allow_unsigned is on: models that nobody has signed are served"
        )
    return open_store(
        folder=registry.folder or settings.state / "registry",
        url=registry.url,
        cache=settings.state / "models",
        trusted=registry.trusted_keys,
        allow_unsigned=registry.insecure_allow_unsigned,
    )


def servable(registry: Store) -> Load:
    """Return what loads a model from the registry, and refuses one that no route can serve."""

    def load(name: str, version: str | None = None) -> LoadedModel:
        model = registry.load(name, version)
        if model.manifest.task == "token-classification":
            raise ManifestInvalid(f"{name}: token classifiers cannot be served yet.")
        if model.manifest.kind == "tensor":
            raise ManifestInvalid(f"{name}: name a tensor model in registry.tensor_models.")
        return model

    return load


def open_driver(
    settings: Settings, control: ControlStore, engine: Engine, recorder: Recorder
) -> Driver:
    """Return the driver of changes; it runs where the engine runs."""

    async def record(change: ModelChange) -> None:
        await recorder.change(change)

    return Driver(
        control,
        settings.registry.models,
        load=servable(open_registry(settings)),
        engine=engine,
        record=record,
    )
