"""Start Triton as its quick start does, plain and without security, from the nvidia-pytriton wheel.

    python triton_server.py HTTP_PORT GRPC_PORT METRICS_PORT MODEL_NAME FOLDER MAX_BATCH

Batches of up to MAX_BATCH by its dynamic batcher, with its defaults and no delay; none where it is 1.
One instance of the model on all processors (THREADS).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from wardgate.engine import tritonfiles

HERE = Path(__file__).parent
CONFIG = """\
backend: "python"
max_batch_size: {batch}
input {{ name: "text" data_type: TYPE_STRING dims: [ 1 ] }}
output {{ name: "label" data_type: TYPE_STRING dims: [ 1 ] }}
output {{ name: "score" data_type: TYPE_FP32 dims: [ 1 ] }}
instance_group {{ kind: KIND_CPU count: 1 }}
"""
OURS = ("MODEL", "TOKENIZER", "LABELS", "MAX_LENGTH", "THREADS", "COUNTS")


def main() -> None:
    """Write the repository and become the server."""
    http, grpc, metrics, name, folder, batch = sys.argv[1:]
    home = Path(folder)
    version = home / "models" / name / "1"
    version.mkdir(parents=True)
    config = CONFIG.format(batch=batch)
    if int(batch) > 1:
        config += "dynamic_batching { }\n"
    (version.parent / "config.pbtxt").write_text(config)
    (version / "model.py").write_bytes((HERE / "triton_text.py").read_bytes())
    found = tritonfiles.find(others=False)
    tritonfiles.backends(found, home / "backends")
    env = found.environment(int(os.environ.get("THREADS", "0")))
    env["PYTHONPATH"] += f":{HERE}"
    env |= {name: os.environ[name] for name in OURS if name in os.environ}
    command = [str(found.server), f"--model-repository={home / 'models'}",
               f"--backend-directory={home / 'backends'}", "--http-address=127.0.0.1",
               f"--http-port={http}", "--grpc-address=127.0.0.1", f"--grpc-port={grpc}",
               "--metrics-address=127.0.0.1", f"--metrics-port={metrics}", "--log-info=false",
               "--disable-auto-complete-config"]  # fmt: skip
    os.execve(command[0], command, env)


main()
