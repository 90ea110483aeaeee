"""Run the model: plan batches, time buckets, give each caller its own rows."""

import os

# ONNX Runtime sends telemetry from 1.29 on, also on Linux, and keeps a device id and a queue in
# files. Nothing may leave a machine that handles PHI. It reads this when it is first imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
