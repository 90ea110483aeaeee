"""Everything that changes a model, in this process: registry, engine, store, driver and followers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import tiny_models
import tiny_registry
from tiny_registry import NAME
from wardgate.control.store import ControlStore
from wardgate.deid.detector import Detector
from wardgate.engine.onnx import OnnxEngine
from wardgate.registry.rollout import ask
from wardgate.registry.signature import public_text
from wardgate.registry.standing import Limits, Standing, from_tree, to_tree
from wardgate.registry.store import Store
from wardgate.types import CleanText, Encoding, ModelChange, Priority
from wardgate.web.driver import Driver, adopt
from wardgate.web.follow import KIND, Follow
from wardgate.web.golden import Prover
from wardgate.web.models import servable
from wardgate.web.served import Served
from wardgate.web.shadow import Shadow


class World:
    """Version 1 of the model `tiny` serves and says `yes`."""

    def __init__(self, home: Path) -> None:
        home.chmod(0o700)
        self.home, self.registry = home, home / "registry"
        tiny_registry.add(self.registry, "1", tiny_models.fingerprint().graph, "yes")
        self.store = ControlStore(home)
        self.load = servable(
            Store([self.registry], trusted=[public_text(tiny_registry.KEY.public_key())])
        )
        self.records: list[ModelChange] = []
        self.follows: list[Follow] = []

    async def open(self, followers: int = 1) -> World:
        adopt(self.store, self.load, [NAME])
        self.engine = OnnxEngine(
            {m.id.digest: m for m in [self.load(NAME, "1")]}, sessions=1, threads=1
        )
        await self.engine.start()
        self.detector = Detector(
            "safe_harbor", pseudonym_key=b"k" * 32, inline_chars=8192, processes=0
        )
        self.driver = self.new_driver()
        self.shadow = Shadow(self.engine)
        for _ in range(followers):
            await self.follow()
        return self

    def new_driver(self) -> Driver:
        return Driver(self.store, [NAME], load=self.load, engine=self.engine, record=self._record)

    async def follow(self) -> Follow:
        """Start one more worker's part."""
        served = Served(mirror=self.shadow.show)
        found = Follow(
            self.store, f"worker-{len(self.follows)}", [NAME], load=self.load, served=served,
            wrong=Prover(self.detector, self.engine).wrong,
        )  # fmt: skip
        self.follows.append(found)
        await found.start()
        return found

    @property
    def served(self) -> Served:
        return self.follows[0]._served

    @property
    def standing(self) -> Standing:
        return from_tree(self.store.documents(KIND)[1][NAME].body)

    def add(self, version: str = "2", graph: bytes | None = None, label: str = "no", **options):
        given = tiny_registry.other().graph if graph is None else graph
        return tiny_registry.add(self.registry, version, given, label, **options)

    def ask(self, action: str, version: str = "", **options) -> None:
        """Write down that somebody asked for a change."""
        document = self.store.documents(KIND)[1][NAME]
        after = ask(
            from_tree(document.body), action, version, known=["1", "2", "3"], by="who",
            id=f"{action}-{time.monotonic_ns()}", now=time.time(), limits=Limits(min_requests=5),
            **options,
        )  # fmt: skip
        self.store.put(KIND, NAME, to_tree(after), expected=document.generation)

    async def turn(self) -> None:
        """One round of everybody; nobody waits for a clock."""
        await self.driver.round()
        for follow in self.follows:
            if self.store.generation() != follow._row.generation:
                await follow._catch_up()
            await follow._report(force=True)
        await asyncio.sleep(0.002)

    async def until(self, reached: Callable[[], object]) -> None:
        """Let all turn until it is so; the test's own bound is a minute."""
        async with asyncio.timeout(60):
            while not reached():
                await self.turn()

    async def settle(self) -> Standing:
        """Let all turn until nothing is under way and the old has gone."""
        await self.until(
            lambda: (
                self.standing.stage == "serving"
                and not self.standing.leaving
                and all(f._row.drained == self.store.generation() for f in self.follows)
            )
        )
        return self.standing

    async def held(self) -> set[str]:
        """The versions that the engine holds."""
        return {model.version for model in await self.engine.check()}

    async def predict(self, key: str = "id", text: str = "a w1") -> tuple[str, str]:
        """Answer as a request would be: version and label."""
        lease = self.served.lease(NAME, None, key)
        try:
            model, began = lease.model, time.monotonic()
            encoding = model.tokenize(CleanText(text))
            logits = await self.engine.infer(
                model.id.digest, Encoding(encoding.rows), deadline=began + 10,
                priority=Priority.INTERACTIVE,
            )  # fmt: skip
            lease.answered(time.monotonic() - began)
            label = model.postprocess(logits).label
            lease.mirror([CleanText(text)], [label])
            return model.id.version, label
        finally:
            lease.leave()

    async def close(self) -> None:
        for follow in self.follows:
            await follow.close()
        await self.driver.close()
        await self.shadow.close()
        await self.engine.close()
        self.store.close()

    async def _record(self, change: ModelChange) -> None:
        self.records.append(change)
