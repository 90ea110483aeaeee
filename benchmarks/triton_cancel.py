"""After how many cancelled calls the Triton of the wheel ends.

    python benchmarks/triton_cancel.py [--calls N]

The server and the tiny model of the tests (`tests/triton_bench.py`), under mutual TLS as the gateway
runs them, and an engine that cancels each call whose caller has left. Callers leave at all moments
between the start of a call and a little after its answer. In the arm `leave` nothing is cancelled at
Triton: that is what the gateway does with a server of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

import servers

from wardgate.engine import tritonserver
from wardgate.errors import WardgateError

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import triton_bench

POOL = "--grpc-infer-allocation-pool-size"
ARMS: dict[str, tuple[bool, tuple[str, ...]]] = {
    "leave": (False, ()),
    "cancel": (True, ()),
    "cancel, no state is kept for reuse": (True, (f"{POOL}=0",)),
    "cancel, every state is kept": (True, (f"{POOL}=100000",)),
}
CALLERS, STEP, MOMENTS = 8, 2e-4, 17
triton_bench.SECONDS = 600.0


async def left(bench: triton_bench.TritonBench, calls: int, *, cancels: bool) -> str:
    """Return what became of the server."""
    engine = bench.make(cancels=cancels)
    await engine.start([bench.model])
    server = bench.server._process._native  # noqa: SLF001 -- as the tests do
    out = 0

    async def leave(number: int) -> None:
        nonlocal out
        for _ in range(number % CALLERS):  # each goes as a call of its own
            await asyncio.sleep(0)
        ids = [4 + number % 50] * (1 + number % 60)
        task = asyncio.create_task(bench.infer(ids, engine=engine))
        await asyncio.sleep(STEP * (number % MOMENTS))
        out += not task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, WardgateError):
            await task

    first = 0
    while out < calls and server.returncode is None:
        await asyncio.gather(*(leave(first + place) for place in range(CALLERS)))
        first += CALLERS
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(server.wait(), 1)
    await engine.close()
    ended = f"ended with {server.returncode}" if server.returncode is not None else "serves"
    return f"{ended} after {out}"


def main() -> None:
    """Run each arm once and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=6_000)
    options = parser.parse_args()
    usual = tritonserver._Launch._options  # noqa: SLF001 -- there is no setting for it
    found: dict[str, str] = {}
    for arm, (cancels, more) in ARMS.items():
        tritonserver._Launch._options = lambda *given, more=more: [*usual(*given), *more]  # noqa: SLF001 -- as above
        folder = Path(tempfile.mkdtemp(prefix="wardgate-bench-"))
        bench = triton_bench.TritonBench(folder)
        try:
            found[arm] = bench.run(left(bench, options.calls, cancels=cancels))
        finally:
            bench.close()
            shutil.rmtree(folder, ignore_errors=True)
        print(arm, found[arm], flush=True)
    servers.write("triton-cancel", {"benchmark": "triton_cancel", "calls": options.calls,
                                    "arms": found})  # fmt: skip


if __name__ == "__main__":
    main()
