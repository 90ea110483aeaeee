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
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from wardgate.audit.digest import BodyDigest
from wardgate.audit.keys import load_public_keys, open_signing_key, secret_file
from wardgate.audit.record import Recorder
from wardgate.audit.sink import SqliteSink
from wardgate.auth import issuer as development
from wardgate.auth.admit import Admission
from wardgate.auth.authenticate import Authenticator, TrustedIssuer
from wardgate.auth.authorize import authorize
from wardgate.auth.issuer import DevelopmentIssuer
from wardgate.auth.keys import FileKeys, StaticKeys
from wardgate.auth.permissions import permit
from wardgate.deid.detector import Detector
from wardgate.engine.base import Engine
from wardgate.engine.onnx import OnnxEngine
from wardgate.errors import ModelUnknown, Overloaded, SettingsInvalid
from wardgate.flow import Flow, ServedModel
from wardgate.nlp.postprocess import predict
from wardgate.nlp.tokenize import Tokenizer
from wardgate.registry.store import SHIPPED, LoadedModel, Store
from wardgate.settings import Settings
from wardgate.types import PHI, CheckState, Priority, RequestContext
from wardgate.web.health import Health, Readiness
from wardgate.web.middleware import App, Door
from wardgate.web.oauth import OAuth
from wardgate.web.pages import Pages
from wardgate.web.problems import SCHEMA
from wardgate.web.process import give_way
from wardgate.web.rest import Rest
from wardgate.web.routes import Dispatch, Endpoint, add
from wardgate.web.schemas import (
    BulkReply,
    DeidentifyBody,
    DeidentifyReply,
    JwksReply,
    PredictBody,
    PredictReply,
    ReadyReply,
    TokenBody,
    TokenReply,
)

log = logging.getLogger("wardgate")
VERSION = metadata.version("wardgate")
_GOLDEN_SECONDS = 5.0
"""Deadline of one golden example."""
_BODIES = (
    PredictBody,
    PredictReply,
    BulkReply,
    DeidentifyBody,
    DeidentifyReply,
    ReadyReply,
    TokenBody,
    TokenReply,
    JwksReply,
)


@dataclass(slots=True)
class Gateway:
    """One process's gateway: the application and all that it stands on."""

    app: App
    flow: Flow
    readiness: Readiness
    document: bytes
    """The OpenAPI document."""
    _parts: contextlib.AsyncExitStack

    @classmethod
    async def open(cls, settings: Settings, *, chain: str, engine: Engine | None = None) -> Gateway:
        """Make every part; `engine` None starts the embedded one. Raises a WardgateError."""
        async with contextlib.AsyncExitStack() as parts:
            app, document, flow, readiness = await _open(settings, chain, engine, parts)
            return cls(app, flow, readiness, document, parts.pop_all())

    async def close(self) -> None:
        """End every part, in reverse."""
        await self._parts.aclose()


async def _open(
    settings: Settings, chain: str, engine: Engine | None, parts: contextlib.AsyncExitStack
) -> tuple[App, bytes, Flow, Readiness]:
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
    loaded = load_models(settings)
    if engine is None:
        engine = await start_engine(settings, loaded)
    parts.push_async_callback(engine.close)
    detector = Detector(
        settings.deid.policy,
        pseudonym_key=secret_file(settings.state / "pseudonym.key", lambda: os.urandom(32)),
        inline_chars=settings.deid.inline_chars,
        processes=settings.deid.processes,
    )
    await detector.start()
    parts.push_async_callback(detector.close)
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
    parts.push_async_callback(recorder.close)
    flow = Flow(
        authenticator=authenticator,
        permit=permit,
        admission=admission,
        authorize=functools.partial(
            authorize, default_policy=settings.deid.policy, policies=detector.strengths
        ),
        detector=detector,
        engine=engine,
        recorder=recorder,
        models=Served(_served(model) for model in loaded),
        aside=parts.enter_context(
            ThreadPoolExecutor(2, thread_name_prefix="aside", initializer=give_way)
        ),
        direct_only=issuer is not None,
        trusts_peer=_peers(settings),
    )

    async def keys() -> CheckState:
        return authenticator.ready()

    readiness = Readiness([Golden(flow, loaded), detector.check, recorder.check, keys])
    app, document = application(settings, flow, readiness, issuer)
    watch = asyncio.create_task(readiness.run(), name="readiness")
    parts.push_async_callback(_cancel, watch)
    return app, document, flow, readiness


def application(
    settings: Settings, flow: Flow, readiness: Readiness, issuer: DevelopmentIssuer | None
) -> tuple[App, bytes]:
    """Return the ASGI application and its OpenAPI document."""
    api = FastAPI(
        title="Wardgate", version=VERSION, openapi_url=None, docs_url=None, redoc_url=None
    )
    pages = Pages()
    digest = BodyDigest(settings.state)
    endpoints: list[Endpoint] = [
        *Rest(flow, settings.limits, digest).endpoints(),
        *Health(readiness).endpoints(),
        *pages.endpoints(),
    ]
    if issuer is not None:
        endpoints += OAuth(issuer, flow, settings.limits.body_seconds, digest).endpoints()
    add(api, endpoints)
    pages.document = orjson.dumps(_document(api))
    door = Door(Dispatch(api, refused=flow.turn_away), unavailable=readiness.poke)
    return door, pages.document


def load_models(settings: Settings) -> list[LoadedModel]:
    """Read and verify every model that shall be served. Raises ManifestInvalid."""
    folders = (
        (SHIPPED,) if settings.registry.folder is None else (settings.registry.folder, SHIPPED)
    )
    store = Store(folders)
    return [store.load(name) for name in settings.registry.models]


async def start_engine(settings: Settings, loaded: Sequence[LoadedModel]) -> Engine:
    """Start the embedded engine and warm it."""
    engine = OnnxEngine(
        {model.id.digest: model for model in loaded},
        sessions=settings.engine.sessions,
        threads=settings.engine.threads,
        queue_tokens=settings.engine.queue_tokens,
        bulk_age_seconds=settings.engine.bulk_age_seconds,
    )
    log.info("engine: %s", await engine.start())
    return engine


class Served:
    """The models that serve, one version of each name."""

    def __init__(self, models: Iterable[ServedModel]) -> None:
        self._models = {model.id.name: model for model in models}

    def route(self, name: str, version: str | None = None) -> ServedModel:
        """As `flow.Models.route`."""
        model = self._models.get(name)
        if model is None or version not in (None, model.id.version):
            raise ModelUnknown
        return model

    def served(self) -> Sequence[ServedModel]:
        """As `flow.Models.served`."""
        return tuple(self._models.values())


class Golden:
    """The readiness check of models: each one's golden examples, through the whole path."""

    name = "models"

    def __init__(self, flow: Flow, loaded: Sequence[LoadedModel]) -> None:
        self._flow = flow
        self._loaded = loaded
        self._turn = 0

    async def __call__(self) -> CheckState:
        """Run every example the first time, then one example of each model in turn.

        The engine must serve the very manifests that this process verified.
        """
        served = {model.digest for model in await self._flow.engine.check()}
        if not served.issuperset(model.id.digest for model in self._loaded):
            return CheckState(self.name, ok=False, detail="the engine serves other model files")
        try:
            return await self._examples()
        except Overloaded:  # no room says nothing about the models; load balancers must not flap
            return CheckState(self.name, ok=self._turn > 0, detail="waits for room in the engine")

    async def _examples(self) -> CheckState:
        for model in self._loaded:
            golden = model.manifest.golden
            chosen = golden if self._turn == 0 else [golden[self._turn % len(golden)]]
            for example in chosen:
                if not await self._right(
                    model, example.text, example.label, example.score, example.tolerance
                ):
                    return CheckState(
                        self.name, ok=False, detail=f"{model.id.name} got a golden example wrong"
                    )
        self._turn += 1
        return CheckState(self.name, ok=True)

    async def _right(
        self, model: LoadedModel, text: str, label: str, score: float, tolerance: float
    ) -> bool:
        flow, deadline = self._flow, time.monotonic() + _GOLDEN_SECONDS
        served = flow.models.route(model.id.name)
        clean = await flow.detector.deidentify(
            PHI(text), policy="safe_harbor", context=RequestContext(), deadline=deadline
        )
        logits = await flow.engine.infer(
            model.id.digest,
            served.tokenize(clean.text),
            deadline=deadline,
            priority=Priority.INTERACTIVE,
        )
        found = served.postprocess(logits)
        return found.label == label and abs(found.score - score) <= tolerance


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


def _served(model: LoadedModel) -> ServedModel:
    manifest = model.manifest
    windows = manifest.windows
    tokenizer = Tokenizer(
        model.tokenizer, manifest.max_length, windows.overlap if windows else None
    )
    return ServedModel(
        id=model.id,
        labels=manifest.labels,
        tokenize=tokenizer.encode,
        postprocess=functools.partial(
            predict, labels=manifest.labels, join=windows.join if windows else None
        ),
    )


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
