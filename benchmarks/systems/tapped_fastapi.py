"""The plain FastAPI service with a tap at its model's input (TAP, a file)."""

from __future__ import annotations

import os

import tap

tap.listen(os.environ["TAP"])

from fastapi_plain import app  # noqa: E402, F401 -- uvicorn's
