"""Models that run in a Triton server, behind `Engine`.

What is ready in the same turn of the loop goes as one call of equal rows (`join`); Triton's
dynamic batcher joins the calls of all processes. Each caller keeps its own deadline and may leave:
what is at Triton then runs to its end for nobody (`tritoncalls`). Rows that are out are bounded.
Where Triton cannot be reached callers are refused at once (`breaker`), and the engine serves again
only when every model is back. What Triton answers is checked (`tensors`); what it says is not
passed on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from wardgate.engine.base import ServedModel
from wardgate.engine.breaker import Breaker
from wardgate.engine.join import Joiner
from wardgate.engine.tensors import RETRY_SECONDS, served_name
from wardgate.engine.tritoncalls import Calls
from wardgate.engine.tritonlink import Endpoint, Link, is_lost
from wardgate.engine.tritonmodels import Models
from wardgate.engine.tritonshare import Shape
from wardgate.errors import DeadlineExceeded, EngineUnavailable, ModelUnknown, WardgateError
from wardgate.telemetry import BREAKER_OPEN, RECONNECTS
from wardgate.types import Encoding, Logits, ModelId, Priority

CHECK_SECONDS = 2.0
"""A Triton that does not answer `check` for so long is taken for gone."""
PAUSE_FIRST, PAUSE_MOST = 0.05, 1.0
"""Pauses between attempts to bring the models back, seconds; each is twice the last."""
_MISSING = frozenset({"triton-model-missing", "triton-unavailable"})
"""What Triton answers for models that it has not: it may have started anew."""


@dataclass(slots=True)
class _Served:
    """A model that takes calls, or that is being drained."""

    shape: Shape
    name: str
    model: ServedModel | None
    """What brings it back after a restart; None where another process does."""
    callers: int = 0
    dropped: bool = False
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the last caller of a model that is being drained is gone."""


class TritonEngine:
    """Serves through the Triton at `endpoint()`, which is None while there is none.

    `models` brings models there; `on_models` is told where it is and what serves, at each change,
    and `on_close` ends a server that was started for it. In a process that leaves models to another
    `shapes` names those that serve instead. `lengths(max_length)` are a model's bucket lengths,
    `rows` the most in one call, `queue_tokens` bounds the tokens that are out, `cancels` is of
    `Calls`. Belongs to one event loop.
    """

    local = False

    def __init__(
        self,
        endpoint: Callable[[], Endpoint | None],
        models: Models | None = None,
        *,
        shapes: Callable[[], Sequence[Shape]] | None = None,
        on_models: Callable[[Endpoint, Sequence[Shape]], None] = lambda *_: None,
        on_close: Callable[[], Awaitable[None]] | None = None,
        lengths: Callable[[int], Sequence[int]],
        rows: int = 32,
        queue_tokens: int = 65_536,
        keepalive_seconds: float = 20.0,
        message_bytes: int = 64 << 20,
        cancels: bool = False,
    ) -> None:
        self._endpoint, self._models, self._shapes = endpoint, models, shapes
        self._on_models, self._on_close = on_models, on_close
        self._lengths, self._rows = lengths, rows
        self._keepalive, self._message_bytes = keepalive_seconds, message_bytes
        self._joiner = Joiner(queue_tokens=queue_tokens)
        self._calls = Calls(self._joiner, seen=self._saw, cancels=cancels)
        self._breaker = Breaker()
        self._served: dict[str, _Served] = {}
        self._serving = False
        self._closed = False
        self._changing = asyncio.Lock()
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self, models: Sequence[ServedModel] = ()) -> None:
        """Connect, bring all `models` there and try them. Raises as `load`."""
        for model in models:
            self._add(_shape(model), model)
        try:
            await self._restore()
        except BaseException:
            await self.close()
            raise
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def infer(
        self, model: str, encoding: Encoding, *, deadline: float, priority: Priority
    ) -> Logits:
        """As `Engine.infer`."""
        now = time.monotonic()
        if deadline <= now:
            raise DeadlineExceeded
        if not self._serving:
            raise _not_serving()
        if model not in self._served:
            self._follow()  # another process may have loaded it since
        served = self._served.get(model)
        if served is None or served.dropped:
            raise ModelUnknown
        self._breaker.enter(now)
        served.callers += 1
        try:
            return await self._calls.infer(
                served.shape, encoding, deadline=deadline, priority=priority
            )
        finally:
            served.callers -= 1
            if served.dropped and not served.callers:
                self._served.pop(model, None)
                served.idle.set()

    async def check(self) -> tuple[ModelId, ...]:
        """As `Engine.check`: Triton answers, and says that every model is ready."""
        link = self._calls.link
        if link is None or not self._serving:
            raise _not_serving()
        self._follow()
        served = tuple(each for each in self._served.values() if not each.dropped)
        try:
            ready = await asyncio.gather(*(link.ready(each.name, CHECK_SECONDS) for each in served))
        except WardgateError as error:
            self._saw(error)
            raise
        self._saw(None)
        if not all(ready) or not all(map(self._alive, served)):
            self._lost.set()
            raise EngineUnavailable(reason="triton-model-missing", retry_after=RETRY_SECONDS)
        return tuple(each.shape.id for each in served)

    async def load(self, model: ServedModel) -> None:
        """As `Loader.load`."""
        async with self._changing:
            if model.id.digest in self._served:
                return
            link = self._calls.link
            if link is None or self._models is None or not self._serving:
                raise _not_serving()
            await self._models.load(link, model, yielding=True)
            self._add(_shape(model), model)
            self._tell()

    async def unload(self, digest: str) -> None:
        """As `Loader.unload`."""
        async with self._changing:
            served = self._served.get(digest)
            if served is None or self._models is None:
                return
            self._drop(digest)
            self._tell()
            if served.callers:
                await served.idle.wait()  # each has a deadline
            if self._calls.link is not None:
                await self._models.unload(self._calls.link, served.shape.id)

    def changed(self) -> None:
        """Look again at the endpoint and at the models there: Triton may have started anew."""
        self._lost.set()

    async def close(self) -> None:
        """As `Engine.close`."""
        self._closed, self._serving = True, False
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        await self._calls.close()
        link, self._calls.link = self._calls.link, None
        if link is not None:
            await link.close()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            await on_close()

    # -- models -----------------------------------------------------------------------------------

    def _add(self, shape: Shape, model: ServedModel | None) -> None:
        digest = shape.id.digest
        self._served[digest] = _Served(shape, served_name(shape.id), model)
        self._joiner.serve(digest, self._lengths(shape.max_length), self._rows)

    def _drop(self, digest: str) -> None:
        """Take no more calls of a model; those that are out are answered."""
        served = self._served[digest]
        served.dropped = True
        self._joiner.drop(digest)
        if not served.callers:
            del self._served[digest]

    def _follow(self) -> None:
        """Serve what the process that manages the models says it serves."""
        if self._shapes is None:
            return
        found = {shape.id.digest: shape for shape in self._shapes()}
        for digest, served in tuple(self._served.items()):
            if digest not in found and not served.dropped:
                self._drop(digest)
        for digest in found.keys() - self._served.keys():
            self._add(found[digest], None)

    def _tell(self) -> None:
        if self._calls.link is not None:
            served = [each.shape for each in self._served.values() if not each.dropped]
            self._on_models(self._calls.link.endpoint, served)

    def _alive(self, served: _Served) -> bool:
        return self._models is None or served.model is None or self._models.alive(served.shape.id)

    # -- the connection ---------------------------------------------------------------------------

    def _saw(self, refusal: WardgateError | None) -> None:
        """Learn from the end of a call whether Triton is there, and its models with it."""
        if isinstance(refusal, DeadlineExceeded):
            return  # a model may be slow, or Triton hang: `check` finds out
        if refusal is not None and is_lost(refusal):
            self._breaker.failed(time.monotonic())
            self._lost.set()
        else:
            self._breaker.succeeded()
            if refusal is not None and (
                refusal.reason in _MISSING or not all(map(self._alive, self._served.values()))
            ):
                self._lost.set()
        BREAKER_OPEN.set(self._breaker.open)

    async def _keep(self) -> None:
        """Bring connection and models back whenever they may be gone."""
        while True:
            await self._lost.wait()
            self._lost.clear()
            pause = PAUSE_FIRST
            while not await self._restored():
                await asyncio.sleep(pause)
                pause = min(2 * pause, PAUSE_MOST)

    async def _restored(self) -> bool:
        try:
            await self._restore()
        except WardgateError:
            return False
        return True

    async def _restore(self) -> None:
        """Connect to where Triton is now; say that the engine serves once every model does.

        Calls go out meanwhile where the connection stands and models are there: most often only
        the connection was cut for a moment.
        """
        async with self._changing:
            endpoint = self._endpoint()
            if endpoint is None:
                self._serving = False
                raise _not_serving()
            link = self._calls.link
            if link is None or link.endpoint != endpoint:
                self._serving = False
                if link is not None:
                    await link.close()
                link = Link(
                    endpoint, keepalive_seconds=self._keepalive, message_bytes=self._message_bytes
                )
                self._calls.link = link
            self._follow()
            try:
                for served in tuple(self._served.values()):
                    await self._bring_back(link, served)
            except WardgateError as error:
                if is_lost(error):
                    self._breaker.failed(time.monotonic())
                    BREAKER_OPEN.set(self._breaker.open)
                raise
            if not self._serving:
                RECONNECTS.inc()
                self._tell()
            self._saw(None)
            self._serving = not self._closed

    async def _bring_back(self, link: Link, served: _Served) -> None:
        """Return once a model serves at Triton, as far as this process manages it."""
        ready = await link.ready(served.name, CHECK_SECONDS)
        if ready and self._serving and self._alive(served):
            return
        self._serving = self._serving and ready  # others go on while a dead process is replaced
        if self._models is not None and served.model is not None:
            await self._models.load(link, served.model)
        elif not await link.ready(served.name, CHECK_SECONDS):
            raise EngineUnavailable(reason="triton-model-missing", retry_after=RETRY_SECONDS)


def _shape(model: ServedModel) -> Shape:
    return Shape(model.id, len(model.labels), model.max_length)


def _not_serving() -> WardgateError:
    return EngineUnavailable(reason="triton-not-serving", retry_after=RETRY_SECONDS)
