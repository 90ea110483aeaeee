"""The load generator, a process of its own: `python -m wardgate.cli.bench.generator`.

Reads a job as JSON from standard input and writes what it measured as JSON to standard output. It
says how busy and how late it was itself; `verdict.py` says whether it was the bottleneck.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from wardgate.cli.bench import arrivals, forms, http1, http2
from wardgate.cli.bench.loops import Closed, Open
from wardgate.cli.bench.recorder import Recorder
from wardgate.cli.bench.scenario import Load
from wardgate.cli.bench.wire import Answered, Lane, Target


@dataclass(frozen=True, slots=True)
class Job:
    """One load on one system. Times in seconds."""

    target: Target
    protocol: str
    form: str
    model: str
    texts: Sequence[str]
    load: Load
    seconds: float
    warm: float
    timeout: float
    seed: int
    processors: tuple[int, ...] = ()
    priority: str = ""
    """Of each request, where the form has such a thing; empty: as the system takes it."""

    def to_json(self) -> str:
        """Return what `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read what `to_json` wrote."""
        found: dict[str, Any] = json.loads(text)
        found["target"] = Target(**found["target"])
        found["load"] = Load(**found["load"])
        found["processors"] = tuple(found["processors"])
        return cls(**found)


async def measure(job: Job) -> dict[str, Any]:
    """Run the load and return what `Recorder.measured` says. Raises OSError where none answers."""
    box: list[Closed | Open] = []

    def answered(lane: Lane, status: int, head: bytes, body: bytes) -> None:
        box[0].answered(lane, status, head, body)

    lanes = await connect(job, answered)
    start = time.perf_counter()
    recorder = Recorder(start + job.warm, start + job.warm + job.seconds)
    if job.load.open:
        times = arrivals.due(job.load, job.warm + job.seconds, job.seed)
        box.append(Open(recorder, len(job.texts), [start + at for at in times]))
    else:
        box.append(Closed(recorder, len(job.texts), len(lanes)))
    loop = asyncio.get_running_loop()
    loop.call_later(job.warm, recorder.start)
    loop.call_later(job.warm + job.seconds, recorder.stop)
    gc.disable()  # a collection would be a pause of the generator's
    try:
        await box[0].run(lanes, job.timeout)
        await asyncio.sleep(max(0.0, recorder.end - time.perf_counter() + 0.01))
    finally:
        gc.enable()
        await _disconnect(lanes)
    return recorder.measured()


async def connect(job: Job, answered: Answered) -> Sequence[Lane]:
    """Open the lanes of a job."""
    grpc = job.protocol == "grpc"
    bodies = [
        forms.body(job.form, job.model, text, grpc=grpc, priority=job.priority)
        for text in job.texts
    ]
    if job.protocol == "http1":
        sent = http1.requests(job.target, bodies)
        return await http1.lanes(job.target, sent, job.load.lanes, answered)
    return await http2.lanes(job.target, bodies, job.load.lanes, answered, grpc=grpc)


async def ask(job: Job) -> list[tuple[int, bytes]]:
    """Send each text once, one after the other; return status and body of each reply."""
    replies: list[tuple[int, bytes]] = []
    waiting: asyncio.Future[None] | None = None

    def answered(lane: Lane, status: int, head: bytes, body: bytes) -> None:  # noqa: ARG001
        replies.append((status, body))
        assert waiting is not None
        waiting.set_result(None)

    lanes = await connect(job, answered)
    try:
        for number in range(len(job.texts)):
            waiting = asyncio.get_running_loop().create_future()
            lanes[0].send(number)
            async with asyncio.timeout(job.timeout):
                await waiting
    finally:
        await _disconnect(lanes)
    return replies


async def _disconnect(lanes: Sequence[Lane]) -> None:
    for lane in lanes:
        lane.close()
    await asyncio.sleep(0.01)  # connections close in the loop's next turns


def _give_up(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:  # noqa: ARG001
    """End at a fault of our own: what is counted after it would be wrong."""
    fault = context.get("exception") or context["message"]
    print(f"{type(fault).__name__}: {fault}", file=sys.stderr, flush=True)
    os._exit(1)


def main() -> None:
    """Do the job of standard input."""
    job = Job.from_json(sys.stdin.read())
    if job.processors:
        os.sched_setaffinity(0, job.processors)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop().set_exception_handler(_give_up)
        found = runner.run(measure(job))
    found["generator"]["processors"] = sorted(os.sched_getaffinity(0))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
