"""Start `wardgate` with an engine that answers at once: what is left is the gateway's own cost.

The first answer for a row comes from the real engine and is kept, so that the golden examples hold;
after one pass over the notes every answer is a look-up.
"""

from __future__ import annotations

import numpy as np

import wardgate.web.app as wiring
from wardgate.cli import main
from wardgate.types import Encoding, Logits

_real = wiring.start_engine


class Instant:
    """The real engine behind a table of all its answers."""

    local = True

    def __init__(self, engine: wiring.Engine) -> None:
        self._engine = engine
        self._known: dict[tuple[int, ...], Logits] = {}
        self.check, self.close = engine.check, engine.close

    async def infer(self, model: str, encoding: Encoding, **how: object) -> Logits:
        """Return the kept logits of each row."""
        found = [self._known.get(tuple(row)) for row in encoding.rows]
        if any(answer is None for answer in found):
            logits = await self._engine.infer(model, encoding, **how)  # type: ignore[arg-type]
            for row, answer in zip(encoding.rows, logits, strict=True):
                self._known[tuple(row)] = answer[None, :]
            return logits
        return found[0] if len(found) == 1 else np.concatenate(found)  # type: ignore[arg-type, return-value]


async def _start(*given: object) -> Instant:
    return Instant(await _real(*given))  # type: ignore[arg-type]


wiring.start_engine = _start  # type: ignore[assignment]
main()
