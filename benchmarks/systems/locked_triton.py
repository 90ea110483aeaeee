"""Run the locked Triton that Wardgate starts, on one processor, for benchmarks to share.

    python benchmarks/systems/locked_triton.py REPOSITORY HOME CORE MODEL...

Prints one line of JSON once every MODEL of the repository is loaded: the address and the files of
the client's certificates and of the control secret. Ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from tritonclient.grpc import service_pb2

from wardgate.engine import tritonserver
from wardgate.engine.tritonlink import Endpoint, Link
from wardgate.engine.tritonserver import TritonServer


async def main() -> None:
    """Start, load, tell, wait for the end of standard input, stop."""
    repository, home, core, *models = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    folder = Path(home)
    # The gateway comes as to a Triton elsewhere, which it does not control: it reads what is there.
    tritonserver.RESTRICTED = tuple(name for name in tritonserver.RESTRICTED if name != "metadata")
    server = TritonServer(Path(repository), home=folder / "server")
    access = await server.start()
    try:
        link = Link(
            Endpoint(
                access.address, access.ca, access.cert, access.key, access.header, access.secret
            )
        )
        for model in models:
            request = service_pb2.RepositoryModelLoadRequest(model_name=model)
            await link.command("RepositoryModelLoad", request, 60.0)
        await link.close()
        files = {}
        for name in ("ca", "cert", "key"):
            path = folder / f"{name}.pem"
            path.write_bytes(getattr(access, name))
            path.chmod(0o600)
            files[name] = str(path)
        print(json.dumps({"address": access.address, **files}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await server.close()


asyncio.run(main())
