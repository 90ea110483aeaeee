"""How a process keeps up with the control store, and tells it how far it has come.

It asks for the generation a few times a second. Where that has grown it prepares what the standings
name, has a candidate's golden examples come out right, goes by the new rules, and reports. What
cannot be done at the moment (a busy engine, a registry that does not answer) is tried again; what
is wrong with a candidate is reported as a refusal, and the candidate gets no request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol, TypeVar

from wardgate.aside import aside
from wardgate.control.store import ControlStore, Document, Follower
from wardgate.errors import (
    ControlUnavailable,
    DeadlineExceeded,
    DetectorFailed,
    EngineUnavailable,
    ManifestInvalid,
    ModelUnknown,
    Overloaded,
    RegistryUnavailable,
    WardgateError,
)
from wardgate.registry.standing import Goal, Stage, Standing, Tally, Version, from_tree
from wardgate.registry.store import LoadedModel
from wardgate.telemetry import CONTROL_GENERATION
from wardgate.web.served import Prepared, Recent, Rule, Score, Served

log = logging.getLogger("wardgate")

KIND = "model"
"""Kind of the documents that hold standings."""
POLL_SECONDS = 0.25
REPORT_SECONDS = 1.0
"""A report is renewed this often, though nothing has changed."""
_PASSING = (
    DeadlineExceeded,
    DetectorFailed,
    EngineUnavailable,
    Overloaded,
    RegistryUnavailable,
)
"""Failures that say nothing about a candidate."""


class Load(Protocol):
    """Reads and verifies a version of a model; may block. Raises a WardgateError."""

    def __call__(self, name: str, version: str | None, *, digest: str | None = None) -> LoadedModel:
        """Return it; one whose `digest` is known also while the registry does not answer."""
        ...


_Model = TypeVar("_Model")


class Host(Protocol[_Model]):
    """What answers with models of one kind in this process."""

    def prepare(self, model: LoadedModel) -> _Model:
        """Make what answering with a model needs; may block. Raises a WardgateError."""

    def differs(self, model: _Model, beside: _Model) -> str:
        """Say why a model cannot take another's place; empty where it can."""

    def take(self, generation: int, rules: Mapping[str, Rule[_Model]]) -> None:
        """Go by these rules from the next request on."""

    @property
    def drained(self) -> int:
        """The generation before which no request was routed that is still in flight."""


class Follow:
    """Keeps `served` and other hosts at what the control store says. Belongs to one event loop."""

    def __init__(
        self,
        store: ControlStore,
        process: str,
        names: Sequence[str],
        *,
        load: Load,
        served: Served,
        wrong: Callable[[Prepared], Awaitable[str]],
        others: Mapping[str, Host[Any]] | None = None,
    ) -> None:
        """`process` names this process; `wrong` runs a model's golden examples.

        `others` host models of other kinds, by name; they run the examples as they prepare a model.
        """
        self._store = store
        self._hosts: dict[str, Host[Any]] = {**(others or {}), **dict.fromkeys(names, served)}
        self._load, self._served, self._wrong = load, served, wrong
        self._rules: dict[str, Rule[Any]] = {}
        self._prepared: dict[str, Any] = {}  # by digest; what the model's host has made
        self._recent: dict[str, Recent] = {}  # by digest
        self._scores: dict[str, Score] = {}  # by id of the change
        self._judged: dict[tuple[str, str], str] = {}  # by id of the change and digest
        self._row = Follower(process, os.getpid(), 0.0, 0, 0)
        self._told = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Report as a follower, and go by what the store says now.

        Raises a WardgateError where what serves cannot be prepared.
        """
        await self._report(force=True)  # from here on nothing is let go before this process agrees
        _, documents = await asyncio.to_thread(self._store.documents, KIND)
        for name, document in self._mine(documents):
            standing = from_tree(document.body)
            self._prepared[standing.stable.digest] = await self._prepare(name, standing.stable)
        await self._catch_up()

    def run(self) -> None:
        """Keep up from now on, until `close`."""
        self._task = asyncio.create_task(self._run(), name="follow")

    async def close(self) -> None:
        """Stop, and be a follower no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await asyncio.to_thread(self._store.leave, self._row.process)
        except ControlUnavailable:
            log.warning("the control store could not be told that this process ends")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                if await asyncio.to_thread(self._store.generation) != self._row.generation:
                    await self._catch_up()
                await self._report()
            except ControlUnavailable:  # what is known goes on
                continue
            except WardgateError as error:
                log.warning("what the control store says cannot be followed: %s", error.detail)
            except Exception as error:  # noqa: BLE001 -- the process must go on following
                log.error("following failed with %s", type(error).__name__)  # noqa: TRY400

    async def _catch_up(self) -> None:
        """Go by what the store says; where part of that has to wait, all but that part."""
        generation, documents = await asyncio.to_thread(self._store.documents, KIND)
        rules: dict[str, Rule[Any]] = {}
        whole = True
        keep: set[str] = set()
        changes: set[str] = set()
        for name, document in self._mine(documents):
            standing = from_tree(document.body)
            keep |= {version.digest for version in standing.prepared}
            changes.add(_id(standing))
            try:
                rules[name] = await self._rule(name, standing)
            except _PASSING:
                whole = False
                if name in self._rules:
                    rules[name] = self._rules[name]
        self._rules = rules
        for host in {self._served, *self._hosts.values()}:
            own = {name: rule for name, rule in rules.items() if self._hosts[name] is host}
            host.take(generation if whole else self._row.generation, own)
        self._prepared = {d: model for d, model in self._prepared.items() if d in keep}
        self._recent = {d: recent for d, recent in self._recent.items() if d in keep}
        self._scores = {id_: score for id_, score in self._scores.items() if id_ in changes}
        self._judged = {key: why for key, why in self._judged.items() if key[0] in changes}
        if whole:
            self._row = replace(self._row, generation=generation)
            CONTROL_GENERATION.labels(self._row.process).set(generation)

    async def _rule(self, name: str, standing: Standing) -> Rule[Any]:
        """Return the rule of a standing, its versions prepared and its candidate judged."""
        stable = await self._prepare(name, standing.stable)
        recent = self._recent.setdefault(standing.stable.digest, Recent())
        rule = Rule(stable, recent=recent)
        if len(standing.prepared) == 1:
            return rule
        assert standing.candidate is not None
        key = _id(standing), standing.candidate.digest
        if key not in self._judged:
            # What is proven and serves beside needs no proof in a worker that began later.
            prove = standing.stage is Stage.PROVING
            self._judged[key] = await self._judge(name, standing.candidate, stable, prove=prove)
        if self._judged[key] or not standing.shared:
            return rule
        if _id(standing) not in self._scores:
            self._scores[_id(standing)] = Score(recent.arm(time.monotonic()))
        return replace(
            rule,
            candidate=self._prepared[standing.candidate.digest],
            goal=standing.goal,
            percent=standing.percent if standing.goal is Goal.CANARY else 0,
            score=self._scores[_id(standing)],
        )

    async def _judge(self, name: str, version: Version, stable: Any, *, prove: bool) -> str:
        """Prepare a candidate and say why it must not serve; empty where it may."""
        try:
            model = await self._prepare(name, version)
            why = self._hosts[name].differs(model, stable)
            if why or not prove or not isinstance(model, Prepared):
                return why
            return await self._wrong(model)
        except _PASSING:
            raise
        except WardgateError as error:
            return error.detail
        except Exception as error:  # noqa: BLE001 -- a tokenizer's own errors have no common class
            return f"it failed with {type(error).__name__}"

    async def _prepare(self, name: str, version: Version) -> Any:
        found = self._prepared.get(version.digest)
        if found is None:
            found = await aside(self._read, name, version)
            self._prepared[version.digest] = found
        return found

    def _read(self, name: str, version: Version) -> Any:
        return self._hosts[name].prepare(load_pinned(self._load, name, version))

    async def _report(self, *, force: bool = False) -> None:
        """Write this process's row where it has changed or is due."""
        row = replace(
            self._row,
            drained=min(
                self._row.generation,
                self._served.drained,
                *(h.drained for h in self._hosts.values()),
            ),
            report={
                "refusals": {id_: why for (id_, _), why in self._judged.items() if why},
                "tallies": {id_: asdict(score.tally()) for id_, score in self._scores.items()},
            },
        )
        now = time.time()
        if not force and row == self._row and now - self._told < REPORT_SECONDS:
            return
        self._row, self._told = row, now
        await asyncio.to_thread(self._store.report, replace(row, seen=now))

    def _mine(self, documents: Mapping[str, Document]) -> list[tuple[str, Document]]:
        return [item for item in sorted(documents.items()) if item[0] in self._hosts]


def _id(standing: Standing) -> str:
    return standing.change.id if standing.change is not None else ""


def load_pinned(load: Load, name: str, version: Version) -> LoadedModel:
    """Load the very files that a standing names. Raises ManifestInvalid where they are others."""
    try:
        model = load(name, version.version, digest=version.digest)
    except ModelUnknown:
        raise ManifestInvalid(
            f"{name} {version.version}: the control store names it and the registry has it no more."
        ) from None
    if model.id.digest != version.digest:
        raise ManifestInvalid(
            f"{name} {version.version}: its manifest is not the one that the control store names."
        )
    return model


def tally_of(followers: Sequence[Follower], change: str) -> Tally:
    """Return what all processes together saw of a change."""
    total = Tally()
    for follower in followers:
        found = follower.report.get("tallies", {}).get(change)
        if found is not None:
            total += Tally.of(found)
    return total
