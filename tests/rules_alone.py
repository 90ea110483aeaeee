"""The detector with its rules alone, for tests of what a rule decides whatever a model makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from wardgate import Deidentifier
from wardgate.deid import gazetteer
from wardgate.deid.layers import Layers
from wardgate.deid.tagger import Reading


class Silent:
    """A tagger that finds nothing and rules nothing out."""

    vetoes: ClassVar[Mapping[Any, Any]] = {}

    def read(self, _: str) -> Reading:
        none = np.zeros(0, np.int64)
        return Reading([], none, none, np.zeros(0, np.float32))


def rules_alone(*given: Any, **more: Any) -> Deidentifier:
    """Return a detector as `Deidentifier(...)` makes it, without the tagger."""
    made = Deidentifier(*given, **more)
    made._layers = Layers(gazetteer.load(), Silent())
    return made
