"""Shows requests to a shadow: counts whether it agrees, returns nothing, delays nobody.

It starts when a request has its answer, at priority `bulk` and with so short a deadline that a busy
engine drops it; few run at a time, and what comes beyond them is counted as dropped. Only
de-identified text gets here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from wardgate.engine.base import Engine
from wardgate.errors import DeadlineExceeded, EngineUnavailable, ModelUnknown, Overloaded
from wardgate.telemetry import SHADOW
from wardgate.types import CleanText, Priority
from wardgate.web.served import Prepared, Rule

AT_ONCE = 4
"""Requests shown at a time; one that comes while so many run is dropped."""
TEXTS = 4
"""Texts of a request that are shown, so that a large one does not fill the queue."""
CHARS = 4_096
"""Longest text shown: longer ones are not tokenized in the event loop."""
SECONDS = 1.0
"""How long the engine may take; bulk rows of a busy engine wait longer, and so are dropped."""


class Shadow:
    """Runs shadows on an engine, for as long as the process serves."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tasks: set[asyncio.Task[None]] = set()

    def show(self, rule: Rule[Prepared], texts: Sequence[CleanText], labels: Sequence[str]) -> None:
        """Show a request to the shadow of a rule; returns at once."""
        if len(self._tasks) >= AT_ONCE or max(map(len, texts), default=0) > CHARS:
            _dropped(rule)
            return
        task = asyncio.get_running_loop().create_task(self._compare(rule, texts, labels))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what runs."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _compare(
        self, rule: Rule[Prepared], texts: Sequence[CleanText], labels: Sequence[str]
    ) -> None:
        assert rule.candidate is not None
        model, score = rule.candidate.served, rule.score
        for text, label in list(zip(texts, labels, strict=True))[:TEXTS]:
            began = time.monotonic()
            try:
                logits = await self._engine.infer(
                    model.id.digest,
                    model.tokenize(text),
                    deadline=began + SECONDS,
                    priority=Priority.BULK,
                )
                found = model.postprocess(logits).label
            except (DeadlineExceeded, EngineUnavailable, ModelUnknown, Overloaded):
                _dropped(rule)
                return
            except Exception:  # noqa: BLE001 -- whatever it is, the shadow failed, and nobody waits
                score.failed()
                SHADOW.labels(model.id.name, "failed").inc()
                return
            score.candidate.add(time.monotonic() - began)
            if found == label:
                score.agreed += 1
            else:
                score.differed += 1
            SHADOW.labels(model.id.name, "agreed" if found == label else "differed").inc()


def _dropped(rule: Rule[Prepared]) -> None:
    assert rule.candidate is not None
    rule.score.dropped += 1
    SHADOW.labels(rule.candidate.served.id.name, "dropped").inc()
