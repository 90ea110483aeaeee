"""Takes changes of models from stage to stage; one runs in the process that owns the engine.

It holds nothing that counts: each round it reads the standings and the followers' reports, decides
by `registry/rollout.py`, records the step, stores it, and brings the engine to what is stored. A
driver that died is followed by one that does the same with what it finds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Protocol

from wardgate.aside import aside
from wardgate.control.store import ControlStore, Document, Follower, Superseded, live
from wardgate.engine.base import ServedModel
from wardgate.errors import EngineUnavailable, RegistryUnavailable, WardgateError
from wardgate.registry.rollout import Facts, step
from wardgate.registry.standing import Stage, Standing, Version, from_tree, to_tree
from wardgate.registry.store import LoadedModel
from wardgate.types import ModelChange, ModelId, Principal
from wardgate.web.follow import KIND, Load, load_pinned, tally_of

log = logging.getLogger("wardgate")

ROUND_SECONDS = 0.2
_RETRY_SECONDS = 1.0
"""Pause before an engine or a registry that did not answer is asked again."""


_Piece = Coroutine[None, None, None]


class Engine(Protocol):
    """An engine whose models come and go; see `engine/base.py`."""

    async def check(self) -> tuple[ModelId, ...]:
        """Return the models served."""

    async def load(self, model: ServedModel) -> None:
        """Load a model beside the others."""

    async def unload(self, digest: str) -> None:
        """Drain a model and let it go."""


class Driver:
    """Drives the standings of `names`. `record` makes a step durable before it is taken."""

    def __init__(
        self,
        store: ControlStore,
        names: Sequence[str],
        *,
        load: Load,
        engine: Engine,
        record: Callable[[ModelChange], Awaitable[object]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._names = store, frozenset(names)
        self._load, self._engine, self._record, self._clock = load, engine, record, clock
        self._read: dict[str, LoadedModel] = {}  # candidates not yet in the engine, by change
        self._faults: dict[str, str] = {}  # by change
        self._work: dict[str, asyncio.Task[None]] = {}  # by name of the model
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Drive from now on, until `close`."""
        self._task = asyncio.create_task(self._run(), name="driver")

    async def close(self) -> None:
        """Stop; what is under way is taken up again by the next driver."""
        tasks = [task for task in (self._task, *self._work.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        said = ""
        while True:
            trouble = ""
            try:
                await self.round()
            except Superseded:  # somebody asked for a change meanwhile; the next round sees it
                pass
            except WardgateError as error:
                trouble = error.detail
            except Exception as error:  # noqa: BLE001 -- changes must go on
                trouble = f"failed with {type(error).__name__}"
            if trouble and trouble != said:
                log.warning("changes of models have to wait: %s", trouble)
            said = trouble
            await asyncio.sleep(_RETRY_SECONDS if trouble else ROUND_SECONDS)

    async def round(self) -> None:
        """Take every standing one step on, where it is ready for one, and see to the engine."""
        _, documents = await asyncio.to_thread(self._store.documents, KIND)
        followers = live(await asyncio.to_thread(self._store.followers), self._clock())
        loaded = frozenset(model.digest for model in await self._engine.check())
        standings: list[Standing] = []
        for name, document in documents.items():
            if name not in self._names:
                continue
            standing = from_tree(document.body)
            after = step(
                standing, self._facts(standing, document, followers, loaded), self._clock()
            )
            if after != standing:
                await self._take(standing, after, document.generation)
                standing = after
            standings.append(standing)
        self._see_to(standings, loaded)

    def _facts(
        self,
        standing: Standing,
        document: Document,
        followers: Sequence[Follower],
        loaded: frozenset[str],
    ) -> Facts:
        id_ = _id(standing)
        read = self._read.get(id_)
        refusals = [each.report.get("refusals", {}).get(id_) for each in followers]
        return Facts(
            digest=read.id.digest if read is not None else None,
            fault=self._faults.get(id_),
            loaded=loaded,
            applied=bool(followers)
            and all(each.generation >= document.generation for each in followers),
            drained=bool(followers)
            and all(each.drained >= document.generation for each in followers),
            refusals=[why for why in refusals if why],
            tally=tally_of(followers, id_),
        )

    async def _take(self, standing: Standing, after: Standing, expected: int) -> None:
        """Record a step, then store it."""
        change = record_of(after, was=standing)
        await self._record(change)
        await asyncio.to_thread(
            self._store.put, KIND, after.name, to_tree(after), expected=expected
        )
        said = f" ({change.reason})" if change.reason else ""
        log.info(
            "model %s: %s, %s, %s%s", after.name, change.action, change.stage, change.state, said
        )

    def _see_to(self, standings: Sequence[Standing], loaded: frozenset[str]) -> None:
        """Start what brings the engine to the standings: one piece of work for each model."""
        changes = {_id(standing) for standing in standings}
        self._read = {id_: model for id_, model in self._read.items() if id_ in changes}
        self._faults = {id_: why for id_, why in self._faults.items() if id_ in changes}
        wanted = {version.digest for each in standings for version in each.wanted}
        for standing in standings:
            if self._busy(standing.name):
                continue
            work = self._next(standing, loaded)
            if work is not None:
                self._work[standing.name] = asyncio.create_task(work, name=f"model-{standing.name}")
        if not self._busy(""):
            for digest in loaded - wanted:
                self._work[""] = asyncio.create_task(self._engine.unload(digest), name="unload")
                break

    def _next(
        self, standing: Standing, loaded: frozenset[str]
    ) -> Coroutine[None, None, None] | None:
        candidate = standing.candidate
        if standing.stable.digest not in loaded:
            return self._hold(standing, standing.stable, fault=False)
        if candidate is None or _id(standing) in self._faults:
            return None
        if standing.stage is Stage.VERIFYING:
            return self._verify(standing, candidate) if _id(standing) not in self._read else None
        if candidate.digest not in loaded:
            return self._hold(standing, candidate, fault=True)
        self._read.pop(_id(standing), None)
        return None

    async def _verify(self, standing: Standing, version: Version) -> None:
        """Have the registry vouch for a candidate."""
        try:
            self._read[_id(standing)] = await aside(self._load, standing.name, version.version)
        except RegistryUnavailable:
            await asyncio.sleep(_RETRY_SECONDS)
        except WardgateError as error:
            self._faults[_id(standing)] = error.detail
        except Exception as error:  # noqa: BLE001 -- whatever it is, the candidate is refused
            self._faults[_id(standing)] = f"it could not be read ({type(error).__name__})"

    async def _hold(self, standing: Standing, version: Version, *, fault: bool) -> None:
        """Load a version into the engine; where it cannot be, that is the candidate's fault."""
        id_ = _id(standing)
        try:
            model = self._read.get(id_)
            if model is None or model.id.digest != version.digest:
                model = await aside(load_pinned, self._load, standing.name, version)
            await self._engine.load(model)
        except (EngineUnavailable, RegistryUnavailable):
            await asyncio.sleep(_RETRY_SECONDS)
        except WardgateError as error:
            await self._failed(id_, error.detail, fault=fault)
        except Exception as error:  # noqa: BLE001 -- the runtime's own errors have no common class
            await self._failed(id_, f"it could not be run ({type(error).__name__})", fault=fault)

    async def _failed(self, id_: str, why: str, *, fault: bool) -> None:
        if fault:
            self._faults[id_] = why
        else:
            log.error("the model that serves cannot be loaded: %s", why)
            await asyncio.sleep(_RETRY_SECONDS)

    def _busy(self, name: str) -> bool:
        task = self._work.get(name)
        return task is not None and not task.done()


def record_of(
    standing: Standing, *, was: Standing, principal: Principal | None = None
) -> ModelChange:
    """Return the audit record of a step from one standing to the next."""
    change = standing.change
    candidate = standing.candidate or was.candidate
    return ModelChange(
        id=_id(standing),
        principal=principal,
        action=change.action if change else "",
        stage="drained" if was.leaving and not standing.leaving else standing.stage,
        state=change.state if change else "",
        reason=change.reason if change else "",
        serves=_model(standing, standing.stable),
        candidate=_model(standing, candidate) if candidate else None,
        percent=standing.percent,
    )


def _model(standing: Standing, version: Version) -> ModelId:
    return ModelId(standing.name, version.version, version.digest)


def _id(standing: Standing) -> str:
    return standing.change.id if standing.change is not None else ""


def adopt(store: ControlStore, load: Load, names: Sequence[str]) -> dict[str, Standing]:
    """Return the standing of each name; the highest version serves where none is known yet.

    What is so chosen is written down: a version added later never changes what serves by itself.
    Raises a WardgateError where the registry has no such model.
    """
    _, documents = store.documents(KIND)
    for name in names:
        if name not in documents:
            model = load(name, None)
            standing = Standing(name, Version(model.id.version, model.id.digest))
            try:
                store.put(KIND, name, to_tree(standing), expected=0)
            except Superseded:  # another process of this gateway was first
                continue
    return _standings(store.documents(KIND)[1], names)


def _standings(documents: Mapping[str, Document], names: Sequence[str]) -> dict[str, Standing]:
    return {name: from_tree(documents[name].body) for name in names}
