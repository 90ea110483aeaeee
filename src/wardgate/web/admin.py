"""The routes that show models and change what serves: `/v1/models`.

A change is taken on, written down and answered with 202: the model's own address then shows how far
it is. What a change does is `registry/rollout.py`; who drives it is `web/driver.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from pydantic import BaseModel

from wardgate.control.store import ControlStore, Document, Follower, Superseded, live
from wardgate.errors import (
    AuditUnavailable,
    ChangeRefused,
    ControlUnavailable,
    ModelUnknown,
)
from wardgate.flow import Admitted, Flow
from wardgate.registry.rollout import ask
from wardgate.registry.standing import Goal, Limits, Stage, Standing, from_tree, to_tree
from wardgate.setting_groups import Limits as SettingsLimits
from wardgate.types import Permission
from wardgate.web.body import take
from wardgate.web.driver import record_of
from wardgate.web.follow import KIND, tally_of
from wardgate.web.middleware import Receive, Scope, Send, send_reply
from wardgate.web.model_schemas import (
    CanaryBody,
    ModelReply,
    ModelsReply,
    RollbackBody,
    VersionBody,
)
from wardgate.web.rest import BODY_ERRORS, DOOR_ERRORS, head
from wardgate.web.routes import Endpoint
from wardgate.web.schemas import parse

_JSON = (b"content-type", b"application/json")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """What tells one change from another."""

    body: type[BaseModel]
    example: dict[str, Any]
    summary: str
    description: str


_WAYS = {
    "promote": _Way(
        body=VersionBody,
        example={"version": "2"},
        summary="Let a version serve",
        description=(
            "Verifies, loads and warms the version beside the one that serves, has its golden "
            "examples come out right in every worker, gives it all requests, drains the old and "
            "lets it go."
        ),
    ),
    "canary": _Way(
        body=CanaryBody,
        example={"version": "2", "percent": 5},
        summary="Let a version answer a share of the requests",
        description=(
            "As `promote`, for a share of the requests. A request that it fails is answered by the "
            "version that serves. It is taken back by itself where it fails too many or is too "
            "slow."
        ),
    ),
    "shadow": _Way(
        body=VersionBody,
        example={"version": "2"},
        summary="Show requests to a version without returning its answers",
        description=(
            "As `promote`, but nothing of its answers is returned: only whether they agree is "
            "counted."
        ),
    ),
    "rollback": _Way(
        body=RollbackBody,
        example={},
        summary="Go back",
        description=(
            "Takes a candidate away where there is one, else goes back to the version that served "
            "before, through every step of a promotion."
        ),
    ),
    "retire": _Way(
        body=VersionBody,
        example={"version": "1"},
        summary="Take a version out for good",
        description="It can never serve again under this version. Refused while it serves.",
    ),
}
_AFTER = "Answers 202 at once; `GET /v1/models/{model}` shows how far it is. Scope `models:write`."
_EXAMPLE: dict[str, Any] = {
    "name": "sentiment",
    "version": "2",
    "digest": "9f2c" + "0" * 60,
    "previous": "1",
    "candidate": "3",
    "traffic": "canary",
    "percent": 5,
    "stage": "serving",
    "retired": [],
    "change": {
        "id": "6b0f3a52-5a1b-4a3e-9a53-2f4a4c3a9d10",
        "action": "canary",
        "version": "3",
        "by": "operator",
        "at": 1795351751.25,
        "state": "done",
        "reason": "",
    },
    "seen": {
        "stable": {"requests": 1900, "failed": 0, "p95_ms": 5.657},
        "candidate": {"requests": 100, "failed": 0, "p95_ms": 6.727},
    },
    "generation": 12,
    "workers": {"worker-0": 12},
}


@dataclass(frozen=True, slots=True)
class Admin:
    """The routes, with what they need."""

    flow: Flow
    limits: SettingsLimits
    store: ControlStore
    names: Sequence[str]
    versions: Callable[[str], list[str]]
    """The versions of a model in the registry; may block."""
    whole: frozenset[str] = frozenset()
    """Tensor models: a version of theirs serves all requests or none."""

    def endpoints(self) -> list[Endpoint]:
        """Return the declarations of the routes."""
        reads = (*DOOR_ERRORS, ControlUnavailable)
        found = [
            Endpoint(
                method="GET",
                path="/v1/models",
                permission=Permission.MODELS_READ,
                handler=self.show_all,
                tag="Models",
                summary="Where all models stand",
                description="What serves, what is on its way, and how far. Scope `models:read`.",
                errors=reads,
                reply=ModelsReply,
                reply_example={"models": [_EXAMPLE]},
            ),
            Endpoint(
                method="GET",
                path="/v1/models/{model}",
                permission=Permission.MODELS_READ,
                handler=self.show,
                tag="Models",
                summary="Where a model stands",
                description="As `GET /v1/models`, for one model. Scope `models:read`.",
                errors=(*reads, ModelUnknown),
                reply=ModelReply,
                reply_example=_EXAMPLE,
            ),
        ]
        for action, way in _WAYS.items():
            found.append(
                Endpoint(
                    method="POST",
                    path=f"/v1/models/{{model}}/{action}",
                    permission=Permission.MODELS_WRITE,
                    handler=_Handler(self, action),
                    tag="Models",
                    summary=way.summary,
                    description=f"{way.description} {_AFTER}",
                    errors=(
                        *reads, *BODY_ERRORS, ModelUnknown, ChangeRefused, AuditUnavailable,
                    ),
                    body=way.body,
                    body_example=way.example,
                    reply=ModelReply,
                    reply_example=_EXAMPLE,
                    status=202,
                )
            )  # fmt: skip
        return found

    async def show_all(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer `GET /v1/models`."""
        await self._enter_to_read(scope)
        documents, followers = await self._see()
        said = [
            view(from_tree(documents[name].body), documents[name].generation, followers)
            for name in sorted(self.names)
            if name in documents
        ]
        await send_reply(send, 200, [_JSON], orjson.dumps({"models": said}))

    async def show(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer `GET /v1/models/{model}`."""
        await self._enter_to_read(scope)
        documents, followers = await self._see()
        standing, at = self._find(documents, scope["path_params"]["model"])
        await send_reply(send, 200, [_JSON], orjson.dumps(view(standing, at, followers)))

    async def change(self, action: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `POST /v1/models/{model}/<action>`."""
        call = scope["wardgate"]
        admitted = await self.flow.enter(head(scope, Permission.MODELS_WRITE), call.hops)
        try:
            with self.flow.refusing(admitted):
                said = await self._change(action, admitted, scope, receive)
        finally:
            admitted.leave()
        place = (b"location", f"/v1/models/{scope['path_params']['model']}".encode())
        await send_reply(send, 202, [_JSON, place], orjson.dumps(said))

    async def _change(
        self, action: str, admitted: Admitted, scope: Scope, receive: Receive
    ) -> dict[str, Any]:
        name = scope["path_params"]["model"]
        raw = await take(scope, receive, self.limits)
        body = parse(_WAYS[action].body, raw, nesting=self.limits.nesting)
        documents, followers = await self._see()
        standing, at = self._find(documents, name)
        if name in self.whole and action in (Goal.CANARY, Goal.SHADOW):
            raise ChangeRefused(f"A tensor model has no {action}: promote the version.")
        known = await asyncio.to_thread(self.versions, name)
        after = ask(
            standing,
            action,
            getattr(body, "version", ""),
            known=known,
            id=admitted.head.request_id,
            by=admitted.principal.subject,
            now=time.time(),
            percent=getattr(body, "percent", 0),
            limits=_limits(body),
        )
        await self.flow.recorder.change(
            record_of(after, was=standing, principal=admitted.principal)
        )
        try:
            at = await asyncio.to_thread(self.store.put, KIND, name, to_tree(after), expected=at)
        except Superseded:
            raise ChangeRefused("The model has just changed; look again, and ask again.") from None
        return view(after, at, followers)

    async def _enter_to_read(self, scope: Scope) -> None:
        call = scope["wardgate"]
        (await self.flow.enter(head(scope, Permission.MODELS_READ), call.hops)).leave()

    async def _see(self) -> tuple[dict[str, Document], list[Follower]]:
        _, documents = await asyncio.to_thread(self.store.documents, KIND)
        return documents, live(await asyncio.to_thread(self.store.followers), time.time())

    def _find(self, documents: dict[str, Document], name: str) -> tuple[Standing, int]:
        if name not in self.names or name not in documents:
            raise ModelUnknown
        return from_tree(documents[name].body), documents[name].generation


@dataclass(frozen=True, slots=True)
class _Handler:
    admin: Admin
    action: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.admin.change(self.action, scope, receive, send)


def _limits(body: BaseModel) -> Limits:
    if not isinstance(body, CanaryBody):
        return Limits()
    return Limits(body.max_error_rate, body.max_latency_ratio, body.min_requests)


def view(standing: Standing, generation: int, followers: Sequence[Follower]) -> dict[str, Any]:
    """Return where a model stands, as `ModelReply` describes it."""
    change = standing.change
    shared = standing.shared
    stage = standing.stage
    return {
        "name": standing.name,
        "version": standing.stable.version,
        "digest": standing.stable.digest,
        "previous": standing.previous.version if standing.previous else None,
        "candidate": standing.candidate.version if standing.candidate else None,
        "traffic": standing.goal.value if shared else "all",
        "percent": standing.percent if shared else 0,
        "stage": "draining" if stage is Stage.SERVING and standing.leaving else stage.value,
        "retired": list(standing.retired),
        "change": asdict(change) if change else None,
        "seen": _seen(standing, followers) if shared and change else None,
        "generation": generation,
        "workers": {each.process: each.generation for each in followers},
    }


def _seen(standing: Standing, followers: Sequence[Follower]) -> dict[str, Any]:
    assert standing.change is not None
    tally = tally_of(followers, standing.change.id)
    if standing.goal is Goal.SHADOW:
        compared = tally.agreed + tally.differed
        return {
            "agreed": tally.agreed,
            "differed": tally.differed,
            "failed": tally.candidate.errors,
            "dropped": tally.dropped,
            "agreement": round(tally.agreed / compared, 4) if compared else None,
        }
    return {
        arm: {
            "requests": found.requests,
            "failed": found.errors,
            "p95_ms": round(found.quantile(0.95) * 1e3, 3),
        }
        for arm, found in (("stable", tally.stable), ("candidate", tally.candidate))
    }
