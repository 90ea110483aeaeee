"""LitServe as its documents show it, with batching: `python litserve_server.py PORT`."""

from __future__ import annotations

import sys
from typing import Any

import litserve
from classifier import Classifier


class Api(litserve.LitAPI):
    """Texts in, label and score out; `predict` gets a batch."""

    def setup(self, device: str) -> None:  # noqa: ARG002 -- LitServe's
        """Load the model, once for each worker."""
        self.classify = Classifier()

    # LitServe reads the annotation, and takes JSON where there is none.
    def decode_request(self, request):  # noqa: ANN001, ANN201
        """Take the text out of a request."""
        return request["text"]

    def predict(self, texts: list[str]) -> list[tuple[str, float]]:
        """Run a batch."""
        return self.classify(texts)

    def encode_response(self, output: tuple[str, float]) -> dict[str, Any]:
        """Make the reply."""
        return {"label": output[0], "score": output[1]}


if __name__ == "__main__":
    api = Api(max_batch_size=16, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
