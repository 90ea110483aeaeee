"""The model file that runs inside Triton's Python backend; never imported by the gateway."""
