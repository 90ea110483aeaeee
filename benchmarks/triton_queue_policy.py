"""Which setting of Triton's batcher makes calls wait beside an idle model.

    python benchmarks/triton_queue_policy.py [--calls N] [--callers N]

One model in the real server (`wardgate[triton]`), exported with one setting after the other, and
callers in a closed loop. A call that takes more than 100 ms is a stall: the model needs about one.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import servers
from tritonclient.grpc import service_pb2 as pb

from wardgate.engine.join import Joined, Row
from wardgate.engine.tensors import infer_request
from wardgate.engine.tritonlink import Endpoint, Link
from wardgate.engine.tritonserver import TritonServer
from wardgate.registry import export
from wardgate.registry.store import LoadedModel, Store
from wardgate.types import Priority

PREFERRED = "preferred_batch_size: [ 32 ]"
LEVELS = "priority_levels: 2 default_priority_level: 1"
SETTINGS = {
    "none": PREFERRED,
    "empty policy": f"{PREFERRED} default_queue_policy {{ }}",
    "priority_levels 2": f"{PREFERRED} {LEVELS}",
    "priority_levels 1": f"{PREFERRED} priority_levels: 1 default_priority_level: 1",
    "priority_levels 2, without preferred sizes": LEVELS,
    "max_queue_size": f"{PREFERRED} default_queue_policy {{ max_queue_size: 4096 }}",
    "allow_timeout_override": f"{PREFERRED} default_queue_policy {{ allow_timeout_override: true }}",
    "default_timeout, REJECT": f"{PREFERRED} default_queue_policy {{ "
    "timeout_action: REJECT default_timeout_microseconds: 600000000 }",
    "default_timeout, DELAY": f"{PREFERRED} default_queue_policy {{ "
    "timeout_action: DELAY default_timeout_microseconds: 600000000 }",
}
STALL_SECONDS = 0.1
SECONDS = 120.0


def write(model: LoadedModel, repository: Path, setting: str) -> str:
    """Export the model with a batcher of this setting; return its name."""
    home = export.write(model, repository)
    path = home / "config.pbtxt"
    batching = f"dynamic_batching {{ {setting} }}"
    path.write_text(
        re.sub(r"dynamic_batching \{.*?\n\}", batching, path.read_text(), flags=re.DOTALL)
    )
    return home.name


async def waits(link: Link, name: str, calls: int, callers: int) -> list[float]:
    """Return the seconds that each call took."""
    found: list[float] = []

    async def caller() -> None:
        for _ in range(calls // callers):
            start = time.monotonic()
            row = Joined("", 16, Priority.INTERACTIVE, start + 10, (Row(0, 0, [1] * 8),))
            await link.infer(infer_request(name, row, start), SECONDS)
            found.append(time.monotonic() - start)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return found


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    repository = folder / "models"
    repository.mkdir()
    model = Store().load("sentiment")
    server = TritonServer(repository, home=folder / "home", threads=1)
    at = await server.start()
    link = Link(Endpoint(at.address, at.ca, at.cert, at.key, at.header, at.secret))
    arms: dict[str, object] = {}
    try:
        for label, setting in SETTINGS.items():
            name = write(model, repository, setting)
            request = pb.RepositoryModelLoadRequest(model_name=name)
            await link.command("RepositoryModelLoad", request, SECONDS)
            found = await waits(link, name, options.calls, options.callers)
            arms[label] = {
                "calls": len(found),
                "stalls": sum(each > STALL_SECONDS for each in found),
                "p50_ms": round(statistics.median(found) * 1e3, 2),
                "longest_ms": round(max(found) * 1e3, 1),
            }
            print(label, arms[label], flush=True)
            unload = pb.RepositoryModelUnloadRequest(model_name=name)
            await link.command("RepositoryModelUnload", unload, SECONDS)
            shutil.rmtree(repository / name)
    finally:
        await link.close()
        await server.close()
    return {"benchmark": "triton_queue_policy", "callers": options.callers, "arms": arms}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=12_000)
    parser.add_argument("--callers", type=int, default=2)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wardgate-bench-"))
    try:
        found = asyncio.run(measure(options, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    servers.write("triton-queue-policy", found)


if __name__ == "__main__":
    main()
