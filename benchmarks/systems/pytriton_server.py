"""PyTriton as its documents show it: a Python function under `@batch`, bound to a Triton.

python pytriton_server.py HTTP_PORT GRPC_PORT METRICS_PORT MODEL_NAME
"""

from __future__ import annotations

import os
import sys

import numpy as np
from classifier import Classifier
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from wardgate.engine import tritonfiles

http, grpc, metrics, name = sys.argv[1:]
# The backend must load the libpython of this very Python; not all are where the loader looks.
if (library := tritonfiles.find(others=False).library) is not None:
    os.environ["LD_LIBRARY_PATH"] = str(library)
classify = Classifier()


@batch
def infer(text: np.ndarray) -> dict[str, np.ndarray]:
    """Classify a batch of texts, bytes [rows, 1]."""
    found = classify([each.decode() for each in text.ravel()])
    return {
        "label": np.array([[label.encode()] for label, _ in found]),
        "score": np.array([[score] for _, score in found], np.float32),
    }


config = TritonConfig(http_address="127.0.0.1", http_port=int(http), grpc_address="127.0.0.1",
                      grpc_port=int(grpc), metrics_port=int(metrics))  # fmt: skip
with Triton(config=config) as triton:
    triton.bind(
        model_name=name,
        infer_func=infer,
        inputs=[Tensor(name="text", dtype=np.bytes_, shape=(1,))],
        outputs=[
            Tensor(name="label", dtype=np.bytes_, shape=(1,)),
            Tensor(name="score", dtype=np.float32, shape=(1,)),
        ],
        config=ModelConfig(max_batch_size=16, batcher=DynamicBatcher()),
        strict=True,
    )
    triton.serve()
