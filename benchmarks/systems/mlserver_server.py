"""MLServer as its documents show it: a custom runtime with adaptive batching.

    python mlserver_server.py PORT GRPC_PORT METRICS_PORT MODEL_NAME FOLDER

Writes the settings and becomes `mlserver start FOLDER`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Runtime(MLModel):
    """Texts in, label and score out; MLServer joins requests into one."""

    async def load(self) -> bool:
        """Load the model."""
        from classifier import Classifier  # noqa: PLC0415 -- in the worker's process

        self.classify = Classifier()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run a batch."""
        import numpy as np  # noqa: PLC0415

        texts = StringCodec.decode_input(payload.inputs[0])
        found = await asyncio.to_thread(self.classify, texts)
        scores = np.array([[score] for _, score in found], np.float32)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                StringCodec.encode_output("label", [label for label, _ in found]),
                NumpyCodec.encode_output("score", scores),
            ],
        )


def main() -> None:
    """Write the settings and become the server."""
    port, grpc, metrics, name, folder = sys.argv[1:]
    home = Path(folder)
    server = {"host": "127.0.0.1", "http_port": int(port), "grpc_port": int(grpc),
              "metrics_port": int(metrics), "parallel_workers": 1, "debug": False,
              "environments_dir": str(home / ".envs"), "metrics_dir": str(home / ".metrics")}  # fmt: skip
    model = {"name": name, "implementation": "mlserver_server.Runtime", "max_batch_size": 16,
             "max_batch_time": 0.005}  # fmt: skip
    (home / "settings.json").write_text(json.dumps(server))
    (home / "model-settings.json").write_text(json.dumps(model))
    here = str(Path(__file__).parent)
    command = str(Path(sys.executable).with_name("mlserver"))
    os.execve(command, [command, "start", folder], {**os.environ, "PYTHONPATH": here})


if __name__ == "__main__":
    main()
