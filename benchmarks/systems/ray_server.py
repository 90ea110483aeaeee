"""Ray Serve as its documents show it, with `@serve.batch`: `python ray_server.py PORT FOLDER`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

HERE = str(Path(__file__).parent)


@serve.deployment(max_ongoing_requests=256)
class Service:
    """One replica; texts that come together run together."""

    def __init__(self) -> None:
        sys.path.insert(0, HERE)
        from classifier import Classifier  # noqa: PLC0415 -- in the replica's process

        self.classify = Classifier()

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.005)
    async def run(self, texts: list[str]) -> list[tuple[str, float]]:
        """Run a batch aside from the event loop, so that the next one gathers meanwhile."""
        return await asyncio.to_thread(self.classify, texts)

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Answer one request."""
        label, score = await self.run((await request.json())["text"])
        return {"label": label, "score": score}


def main() -> None:
    """Serve until SIGTERM."""
    port, folder = sys.argv[1:]
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(include_dashboard=False, _temp_dir=folder, log_to_driver=False,
             object_store_memory=100 * 2**20)  # fmt: skip
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    serve.run(Service.bind(), route_prefix="/predict")
    print("ready ray", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
