"""BentoML as its documents show it, with a batchable API: `bentoml serve bentoml_server:Service`.

Its adaptive batching joins the texts of several requests, each a list of one.
"""

from __future__ import annotations

from typing import Any

import bentoml
from classifier import Classifier


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 512})
class Service:
    """Texts in, label and score out."""

    def __init__(self) -> None:
        self.classify = Classifier()

    @bentoml.api(batchable=True, max_batch_size=16, max_latency_ms=60_000)
    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        """Run a batch."""
        return [{"label": label, "score": score} for label, score in self.classify(texts)]
