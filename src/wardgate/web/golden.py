"""Golden examples through the whole path: before a model takes traffic, and while it serves."""

from __future__ import annotations

import time

from wardgate.deid.detector import Detector
from wardgate.engine.base import Engine
from wardgate.errors import Overloaded
from wardgate.registry.golden import Golden
from wardgate.request import ServedModel
from wardgate.types import PHI, CheckState, Priority, RequestContext
from wardgate.web.served import Prepared, Served

_SECONDS = 5.0
"""Deadline of one example."""


class Prover:
    """De-identifies, tokenizes, runs and reads examples, as a request would be."""

    def __init__(self, detector: Detector, engine: Engine) -> None:
        self._detector, self._engine = detector, engine

    async def wrong(self, model: Prepared) -> str:
        """Run every example of a model; say what is wrong, or nothing.

        Raises what the parts raise.
        """
        for number, example in enumerate(model.golden, 1):
            if not await self.right(model.served, example):
                return f"golden example {number} of {len(model.golden)} came out wrong"
        return ""

    async def right(self, model: ServedModel, example: Golden) -> bool:
        """Run one example and tell whether label and score are as the manifest says."""
        deadline = time.monotonic() + _SECONDS
        clean = await self._detector.deidentify(
            PHI(example.text), policy="safe_harbor", context=RequestContext(), deadline=deadline
        )
        logits = await self._engine.infer(
            model.id.digest,
            model.tokenize(clean.text),
            deadline=deadline,
            priority=Priority.INTERACTIVE,
        )
        found = model.postprocess(logits)
        return found.label == example.label and abs(found.score - example.score) <= (
            example.tolerance
        )


class Models:
    """The readiness check of models: the golden examples of each that serves."""

    name = "models"

    def __init__(self, served: Served, prover: Prover, engine: Engine) -> None:
        self._served, self._prover, self._engine = served, prover, engine
        self._turn = 0

    async def __call__(self) -> CheckState:
        """Run every example the first time, then one example of each model in turn.

        The engine must serve the very manifests that this process verified.
        """
        rules = self._served.rules.values()
        held = {model.digest for model in await self._engine.check()}
        if not held.issuperset(rule.stable.served.id.digest for rule in rules):
            return CheckState(self.name, ok=False, detail="the engine serves other model files")
        try:
            for rule in tuple(rules):
                state = await self._check(rule.stable)
                if not state.ok:
                    return state
        except Overloaded:  # no room says nothing about the models; load balancers must not flap
            return CheckState(self.name, ok=self._turn > 0, detail="waits for room in the engine")
        self._turn += 1
        return CheckState(self.name, ok=True)

    async def _check(self, model: Prepared) -> CheckState:
        golden = model.golden
        chosen = golden if self._turn == 0 else [golden[self._turn % len(golden)]]
        for example in chosen:
            if not await self._prover.right(model.served, example):
                name = model.served.id.name
                return CheckState(self.name, ok=False, detail=f"{name} got a golden example wrong")
        return CheckState(self.name, ok=True)
