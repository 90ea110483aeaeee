"""The real Triton server with the engine over it, for the tests of each of its parts."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import time

import pytest

import tiny_models
from wardgate.errors import EngineUnavailable
from wardgate.registry import export
from wardgate.registry.manifest import parse
from wardgate.registry.store import LoadedModel
from wardgate.types import Encoding, Priority

SECONDS = 60.0


def need() -> None:
    """Skip where the server is not installed; with CI=true that is a failure."""
    if importlib.util.find_spec("pytriton") is None:
        reason = "the Triton server is not installed (pip install 'wardgate[triton]')"
        if os.environ.get("CI") == "true":
            pytest.fail(f"needed on CI: {reason}")
        pytest.skip(reason)


def loaded(tiny=None, **changes) -> LoadedModel:
    """A model of the registry around a tiny graph."""
    tiny = tiny or tiny_models.fingerprint()
    files = {"model.onnx": tiny.graph, "tokenizer.json": tiny_models.tokenizer_json()}
    return LoadedModel(parse(tiny_models.as_json(tiny_models.manifest(files, **changes))), files)


class TritonBench:
    """A server, an engine over it that serves `model`, and a loop to drive both."""

    def __init__(self, folder) -> None:
        self.runner = asyncio.Runner()
        self.folder = folder
        self.repository = folder / "models"
        self.repository.mkdir()
        self.model = loaded()
        self.there = True
        self.told = []
        self.run(self._start())

    def run(self, work):
        async def bounded():
            async with asyncio.timeout(SECONDS):
                return await work

        return self.runner.run(bounded())

    async def _start(self) -> None:
        from wardgate.engine.tritonlink import Endpoint
        from wardgate.engine.tritonserver import TritonServer

        self.server = TritonServer(
            self.repository, home=self.folder / "home", threads=1, on_change=self._changed
        )
        at = await self.server.start()
        self.endpoint = Endpoint(at.address, at.ca, at.cert, at.key, at.header, at.secret)
        self.engine = self.make(on_models=lambda *told: self.told.append(told))
        await self.engine.start([self.model])

    def make(self, **changes):
        """Another engine over the same server."""
        from wardgate.engine.triton import TritonEngine

        return TritonEngine(
            lambda: self.endpoint if self.there else None,
            self.managed(),
            lengths=export.buckets,
            **changes,
        )

    def managed(self, **changes):
        from wardgate.engine.tritonmodels import Managed

        return Managed(
            **{
                "repository": self.repository,
                "export": export.write,
                "lengths": export.buckets,
                "aside": self.server.aside,
                "runs": self.server.runs,
                **changes,
            }
        )

    def _changed(self, there: bool) -> None:
        self.there = there
        self.engine.changed()

    async def infer(self, *rows, engine=None, timeout=20.0, model=None):
        return await (engine or self.engine).infer(
            model or self.model.id.digest,
            Encoding(tuple(list(row) for row in rows)),
            deadline=time.monotonic() + timeout,
            priority=Priority.INTERACTIVE,
        )

    def settle(self) -> None:
        """Wait until the server answers with its model: a graph or a test may have ended it."""

        async def serving() -> None:
            while True:
                try:
                    await self.engine.check()
                except EngineUnavailable:
                    await asyncio.sleep(0.02)
                else:
                    return

        self.run(serving())

    def kill(self) -> None:
        self.server._process._native.kill()

    async def until(self, reached, every=0.005) -> None:
        """Wait until `reached()` holds; the bench's time is the bound."""
        while not reached():
            await asyncio.sleep(every)

    def close(self) -> None:
        async def end() -> None:
            await self.engine.close()
            await self.server.close()

        self.run(end())
        self.runner.close()
