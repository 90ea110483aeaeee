"""The one place where the steps are wired together.

`Gateway.open` makes every part from the settings, in the order in which one needs the other, and
`close` ends them in reverse. Nothing else in the tree makes a collaborator of the flow.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from wardgate.aside import give_way
from wardgate.audit.digest import BodyDigest
from wardgate.audit.keys import load_public_keys, open_signing_key
from wardgate.audit.record import Recorder
from wardgate.audit.sink import SqliteSink
from wardgate.auth import issuer as development
from wardgate.auth.admit import Admission
from wardgate.auth.authenticate import Authenticator, TrustedIssuer
from wardgate.auth.authorize import authorize
from wardgate.auth.issuer import DevelopmentIssuer
from wardgate.auth.keys import FileKeys, StaticKeys
from wardgate.auth.permissions import permit
from wardgate.control.store import ControlStore
from wardgate.deid.vault import Vault
from wardgate.engine.base import Engine
from wardgate.engine.runner import TensorRunner
from wardgate.errors import SettingsInvalid
from wardgate.flow import Flow
from wardgate.settings import Settings
from wardgate.telemetry import IN_FLIGHT
from wardgate.types import CheckState
from wardgate.web.admin import Admin
from wardgate.web.engines import OwnEngine, start_engine
from wardgate.web.follow import Follow
from wardgate.web.golden import Models, Prover
from wardgate.web.health import Check, Health, Readiness
from wardgate.web.middleware import App, Door
from wardgate.web.model_schemas import (
    CanaryBody,
    ModelReply,
    ModelsReply,
    RollbackBody,
    VersionBody,
)
from wardgate.web.models import load_models, open_driver, open_registry, servable
from wardgate.web.oauth import OAuth
from wardgate.web.oip_http import OipHttp
from wardgate.web.oip_models import OipModels
from wardgate.web.pages import Pages
from wardgate.web.problems import SCHEMA
from wardgate.web.reidentify import Reidentify
from wardgate.web.reidentify_schemas import ReidentifyBody, ReidentifyReply
from wardgate.web.reload import open_detector
from wardgate.web.rest import Rest
from wardgate.web.routes import Dispatch, Endpoint, add
from wardgate.web.schemas import (
    BulkReply,
    DeidentifyBody,
    DeidentifyReply,
    InferBody,
    JwksReply,
    PredictBody,
    PredictReply,
    ReadyReply,
    TokenBody,
    TokenReply,
)
from wardgate.web.served import Served
from wardgate.web.shadow import Shadow
from wardgate.web.tensors import TensorPath, Tensors
from wardgate.web.vault import open_vault

__all__ = ["Gateway", "application", "load_models", "open_recorder", "start_engine"]

log = logging.getLogger("wardgate")
VERSION = metadata.version("wardgate")
_BODIES = (
    PredictBody,
    PredictReply,
    BulkReply,
    DeidentifyBody,
    DeidentifyReply,
    InferBody,
    ReidentifyBody,
    ReidentifyReply,
    ReadyReply,
    TokenBody,
    TokenReply,
    JwksReply,
    VersionBody,
    CanaryBody,
    RollbackBody,
    ModelReply,
    ModelsReply,
)


@dataclass(slots=True)
class Gateway:
    """One process's gateway: the application and all that it stands on."""

    app: App
    flow: Flow
    readiness: Readiness
    document: bytes
    """The OpenAPI document."""
    tensors: TensorPath | None
    _parts: contextlib.AsyncExitStack

    @classmethod
    async def open(cls, settings: Settings, *, chain: str, engine: Engine | None = None) -> Gateway:
        """Make every part; `engine` None starts the embedded one. Raises a WardgateError."""
        async with contextlib.AsyncExitStack() as parts:
            app, document, flow, readiness, tensors = await _open(settings, chain, engine, parts)
            return cls(app, flow, readiness, document, tensors, parts.pop_all())

    async def close(self) -> None:
        """End every part, in reverse."""
        await self._parts.aclose()


async def _open(
    settings: Settings, chain: str, engine: Engine | None, parts: contextlib.AsyncExitStack
) -> tuple[App, bytes, Flow, Readiness, TensorPath | None]:
    """Make every part and leave its end with `parts`."""
    issuer, trusted = _issuers(settings)
    authenticator = Authenticator(
        trusted,
        leeway=settings.auth.leeway_seconds,
        cache_tokens=settings.auth.cache_tokens,
        max_token_bytes=settings.limits.token_bytes,
    )
    admission = Admission(
        rate=settings.admission.rate,
        burst=settings.admission.burst,
        concurrency=settings.admission.concurrency,
        in_flight=settings.admission.in_flight,
        quota=settings.admission.quota,
    )
    IN_FLIGHT.set_function(lambda: admission.in_flight)
    loaded = load_models(settings)
    own: OwnEngine | None = None
    if engine is None:
        engine = own = await start_engine(settings, loaded)
    parts.push_async_callback(engine.close)
    control = ControlStore(settings.state)
    parts.callback(control.close)
    detector, reload = open_detector(settings)
    await detector.start()
    parts.push_async_callback(detector.close)
    if reload is not None:
        reload.start()
        parts.push_async_callback(reload.close)
    recorder = open_recorder(settings, chain)
    parts.push_async_callback(recorder.close)
    vault = open_vault(settings, policy=detector.chosen, pseudonym=detector.pseudonym)
    vault.start()
    parts.push_async_callback(vault.close)
    shadow = Shadow(engine)
    parts.push_async_callback(shadow.close)
    served = Served(mirror=shadow.show)
    prover = Prover(detector, engine)
    registry = open_registry(settings)
    numbers = Tensors()
    follow = Follow(
        control,
        chain,
        settings.registry.models,
        load=servable(registry, settings.registry.tensor_models),
        served=served,
        wrong=prover.wrong,
        others=dict.fromkeys(settings.registry.tensor_models, numbers),
    )
    parts.push_async_callback(follow.close)
    await follow.start()
    follow.run()
    if own is not None:
        driver = open_driver(settings, control, own, recorder)
        driver.start()
        parts.push_async_callback(driver.close)
    flow = Flow(
        authenticator=authenticator,
        permit=permit,
        admission=admission,
        authorize=functools.partial(
            authorize,
            default_policy=settings.deid.policy,
            policies=detector.strengths,
            safe_harbor=detector.safe_harbor,
        ),
        detector=detector,
        engine=engine,
        recorder=recorder,
        models=served,
        aside=parts.enter_context(
            ThreadPoolExecutor(2, thread_name_prefix="aside", initializer=give_way)
        ),
        codes=vault,
        direct_only=issuer is not None,
        trusts_peer=_peers(settings),
    )

    async def keys() -> CheckState:
        return authenticator.ready()

    checks: list[Check] = [Models(served, prover, engine), detector.check, recorder.check, keys]
    readiness = Readiness([*checks, reload.check] if reload is not None else checks)
    admin = Admin(
        flow,
        settings.limits,
        control,
        settings.registry.names,
        registry.versions,
        whole=frozenset(settings.registry.tensor_models),
    )
    tensors = None
    if settings.registry.tensor_models:
        runner = TensorRunner(
            threads=settings.engine.tensor_threads, queue=settings.engine.tensor_queue
        )
        parts.callback(runner.close)
        tensors = TensorPath(flow, runner, numbers, settings.limits)
    app, document = application(
        settings, flow, readiness, issuer, admin, tensors=tensors, vault=vault
    )
    watch = asyncio.create_task(readiness.run(), name="readiness")
    parts.push_async_callback(_cancel, watch)
    return app, document, flow, readiness, tensors


def application(
    settings: Settings,
    flow: Flow,
    readiness: Readiness,
    issuer: DevelopmentIssuer | None,
    admin: Admin,
    *,
    tensors: TensorPath | None = None,
    vault: Vault | None = None,
) -> tuple[App, bytes]:
    """Return the ASGI application and its OpenAPI document."""
    api = FastAPI(
        title="Wardgate", version=VERSION, openapi_url=None, docs_url=None, redoc_url=None
    )
    pages = Pages()
    digest = BodyDigest(settings.state)
    models = OipModels(flow, settings.limits, tensors)
    endpoints: list[Endpoint] = [
        *Rest(flow, settings.limits, digest).endpoints(),
        *OipHttp(models, readiness, digest, VERSION).endpoints(),
        *admin.endpoints(),
        *Health(readiness).endpoints(),
        *pages.endpoints(),
    ]
    if vault is not None:
        endpoints += Reidentify(flow, vault, settings.limits, digest).endpoints()
    if issuer is not None:
        endpoints += OAuth(issuer, flow, settings.limits.body_seconds, digest).endpoints()
    add(api, endpoints)
    pages.document = orjson.dumps(_document(api))
    door = Door(Dispatch(api, refused=flow.turn_away), unavailable=readiness.poke)
    return door, pages.document


def open_recorder(settings: Settings, chain: str) -> Recorder:
    """Open the audit chain of this process and start its writer. Raises StateInvalid."""
    recorder = Recorder(
        SqliteSink(
            settings.audit.folder or settings.state / "audit",
            chain,
            key=open_signing_key(settings.state),
            version=VERSION,
            public_keys=load_public_keys(settings.state),
        ),
        queue=settings.audit.queue,
    )
    recorder.start()
    return recorder


def _issuers(settings: Settings) -> tuple[DevelopmentIssuer | None, list[TrustedIssuer]]:
    """Return the development issuer, where it is on, and every trusted issuer."""
    configured = settings.auth.issuers
    if configured:
        return None, [
            TrustedIssuer(
                issuer=each.issuer,
                audience=each.audience,
                keys=FileKeys(each.jwks_file),
                algorithms=frozenset(each.algorithms),
                token_types=frozenset(each.token_types),
            )
            for each in configured
        ]
    if not settings.development_issuer:
        raise SettingsInvalid(
            "No token issuer is configured. The development issuer is on only where the address is "
            "loopback and no proxy is named; set WARDGATE_AUTH__ISSUERS."
        )
    issuer = DevelopmentIssuer.open(settings.state)
    return issuer, [
        TrustedIssuer(
            issuer=development.ISSUER,
            audience=development.AUDIENCE,
            keys=StaticKeys(issuer.jwks()),
            algorithms=frozenset({development.ALGORITHM}),
        )
    ]


def _peers(settings: Settings) -> Callable[[str | None], bool]:
    """Return whom the gateway answers: everybody, or the trusted proxy alone."""
    network = settings.server.trusted_proxy
    if network is None:
        return lambda _: True

    def trusts(peer: str | None) -> bool:
        if peer is None:
            return False
        address = ipaddress.ip_address(peer)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address) in network  # a dual-stack socket shows IPv4 as ::ffff:a.b.c.d

    return trusts


def _document(api: FastAPI) -> dict[str, object]:
    """Return the OpenAPI document of all declared routes."""
    document = get_openapi(
        title="Wardgate",
        version=VERSION,
        summary="The privacy boundary for clinical AI",
        description=(
            "Every error is RFC 9457 problem+json with our own sentence; none echoes what was sent."
        ),
        routes=api.routes,
    )
    _, schemas = models_json_schema(
        [(body, "validation") for body in _BODIES], ref_template="#/components/schemas/{model}"
    )
    components = document.setdefault("components", {})
    components["schemas"] = {**schemas["$defs"], "Problem": SCHEMA}
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT (RFC 9068)"}
    }
    return document


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
