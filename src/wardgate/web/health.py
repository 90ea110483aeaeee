"""Whether the process lives and whether it may take traffic.

Readiness is a state kept in the background by the checks of its parts: a golden example of every
served model through the whole path, a write that the audit sink takes, keys that can check a
token. A probe reads the state and starts no work, so probes cannot load the gateway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import orjson

from wardgate.errors import NotReady, WardgateError
from wardgate.telemetry import READY
from wardgate.types import CheckState, Permission
from wardgate.web.middleware import Receive, Scope, Send, send_reply
from wardgate.web.problems import problem
from wardgate.web.routes import Endpoint
from wardgate.web.schemas import ReadyReply

Check = Callable[[], Awaitable[CheckState]]
log = logging.getLogger("wardgate")
_JSON = (b"content-type", b"application/json")


@dataclass(slots=True)
class Readiness:
    """The state behind `/readyz`, refreshed by `run` every `every` seconds and after `poke`."""

    checks: Sequence[Check]
    every: float = 2.0
    timeout: float = 5.0
    """Seconds after which a check that gives no answer counts as failed."""
    states: tuple[CheckState, ...] = ()
    draining: bool = False
    first: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the gateway has been ready."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ready(self) -> bool:
        """Whether every check held when last made, and the gateway is not shutting down."""
        return bool(self.states) and not self.draining and all(s.ok for s in self.states)

    @property
    def missing(self) -> str:
        """What does not hold, in our own words."""
        return "; ".join(f"{s.name} {s.detail}" for s in self.states if not s.ok)

    def poke(self) -> None:
        """Ask for the checks to be made now: something has just failed."""
        self._wake.set()

    async def refresh(self) -> None:
        """Make every check once."""
        self.states = tuple([await self._make(check) for check in self.checks])
        for state in self.states:
            READY.labels(state.name).set(state.ok)

    async def run(self) -> None:
        """Refresh for ever; cancel to end."""
        while True:
            was = self.ready
            await self.refresh()
            if self.ready:
                self.first.set()
            if was != self.ready and not self.draining:
                level = logging.INFO if self.ready else logging.WARNING
                log.log(level, "ready" if self.ready else f"not ready: {self.missing}")
            self._wake.clear()
            try:
                async with asyncio.timeout(self.every):
                    await self._wake.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(0.1)  # a burst of failures makes one round of checks

    async def _make(self, check: Check) -> CheckState:
        """Make one check; whatever it raises is a failure, told in our own words."""
        name = str(getattr(check, "name", getattr(check, "__name__", "check")))
        try:
            async with asyncio.timeout(self.timeout):
                return await check()
        except TimeoutError:
            return CheckState(name, ok=False, detail="gave no answer in time")
        except WardgateError as error:
            return CheckState(name, ok=False, detail=error.detail)
        except Exception as error:  # noqa: BLE001 -- fails closed; the type alone is told
            return CheckState(name, ok=False, detail=f"failed with {type(error).__name__}")


@dataclass(frozen=True, slots=True)
class Health:
    """The routes `/livez` and `/readyz`."""

    readiness: Readiness

    def endpoints(self) -> list[Endpoint]:
        """Return the declarations of the routes."""
        return [
            Endpoint(
                method="GET",
                path="/livez",
                permission=Permission.PUBLIC,
                handler=self.livez,
                tag="Health",
                summary="Whether the process lives",
                description="Answers as long as the process runs its event loop.",
                reply_example={"live": True},
            ),
            Endpoint(
                method="GET",
                path="/readyz",
                permission=Permission.PUBLIC,
                handler=self.readyz,
                tag="Health",
                summary="Whether the gateway may take traffic",
                description=(
                    "Ready when a golden example of every served model came out right, the audit "
                    "sink took a write, and keys are there. The state is kept in the background."
                ),
                errors=(NotReady,),
                reply=ReadyReply,
                reply_example={"ready": True, "checks": {"models": "ok", "audit": "ok"}},
            ),
        ]

    async def livez(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer `GET /livez`."""
        await send_reply(send, 200, [_JSON], b'{"live":true}')

    async def readyz(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer `GET /readyz`."""
        readiness = self.readiness
        # what holds may still have something to say, such as that new policies were refused
        checks = {s.name: s.detail or "ok" if s.ok else s.detail for s in readiness.states}
        if readiness.draining:
            checks["gateway"] = "is shutting down"
        if readiness.ready:
            await send_reply(send, 200, [_JSON], orjson.dumps({"ready": True, "checks": checks}))
            return
        status, headers, body = problem(
            NotReady(retry_after=readiness.every),
            request_id=scope["wardgate"].request_id,
            extra={"ready": False, "checks": checks},
        )
        await send_reply(send, status, headers, body)
