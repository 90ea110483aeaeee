"""The bodies of the routes that change models; see `web/schemas.py` for how they are checked."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

_VERSION = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"


class _Body(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )


class VersionBody(_Body):
    """What `promote`, `shadow` and `retire` take."""

    version: Annotated[str, Field(pattern=_VERSION)]
    """A version in the registry."""


class CanaryBody(_Body):
    """What `canary` takes."""

    version: Annotated[str, Field(pattern=_VERSION)]
    """A version in the registry."""
    percent: Annotated[int, Field(ge=1, le=99)] = 5
    """Share of requests that it answers, chosen at random."""
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.01
    """It is taken back where it fails more than this share of its requests."""
    max_latency_ratio: Annotated[float, Field(ge=1, le=100)] = 2.0
    """And where its 95th percentile is more than this multiple of the other's."""
    min_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Requests of each before latency is compared."""


class RollbackBody(_Body):
    """What `rollback` takes: an empty object."""


class ChangeReply(_Body):
    """A change of a model, and what became of it."""

    id: str
    """Id of the request that asked for it."""
    action: str
    """`promote`, `canary`, `shadow`, `rollback` or `retire`."""
    version: str
    """Version that it is about."""
    by: str
    """Subject of who asked."""
    at: float
    """When it was asked for, Unix seconds."""
    state: str
    """`running`, `done`, `refused`, or `rolled-back` by the gateway itself."""
    reason: str
    """Why it was refused or rolled back."""


class ModelReply(_Body):
    """Where a model stands."""

    name: str
    """Name of the model."""
    version: str
    """Version that serves."""
    digest: str
    """SHA-256 of its manifest, hex."""
    previous: str | None
    """Version that a rollback goes back to."""
    candidate: str | None
    """Version that is on its way, or serves as a canary or shadow."""
    traffic: str
    """`all`, `canary` or `shadow`."""
    percent: int
    """Share of requests that a canary answers."""
    stage: str
    """`verifying`, `loading`, `proving`, `shifting`, `draining` or `serving`."""
    retired: list[str]
    """Versions taken out for good."""
    change: ChangeReply | None
    """The last change that was asked for."""
    seen: dict[str, Any] | None
    """What the workers saw of a canary or shadow."""
    generation: int
    """Generation of the control store at which this was written."""
    workers: dict[str, int]
    """The generation that each live worker goes by."""


class ModelsReply(_Body):
    """Where all models stand."""

    models: list[ModelReply]
    """By name."""
