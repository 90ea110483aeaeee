"""Run the model: plan batches, time buckets, give each caller its own rows."""

import os

# ONNX Runtime sends telemetry from 1.29 on, also on Linux, and keeps a device id and a queue in
# files. Nothing may leave a machine that handles PHI. It reads this when it is first imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# gRPC's own messages name addresses and quote what a peer said; ours say what matters. Its hooks
# around fork are for processes that use gRPC on both sides of one; ours never fork without exec.
os.environ["GRPC_VERBOSITY"] = "NONE"
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
