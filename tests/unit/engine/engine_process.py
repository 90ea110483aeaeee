"""An engine process for the tests: serves the fingerprint model at the path given, until killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import tiny_models
from wardgate.engine.onnx import OnnxEngine
from wardgate.engine.server import EngineServer


async def main() -> None:
    engine = OnnxEngine({"tiny": tiny_models.fingerprint()}, sessions=1, threads=1)
    await engine.start()
    await EngineServer(engine, Path(sys.argv[1])).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


asyncio.run(main())
