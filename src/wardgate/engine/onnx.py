"""The embedded engine: ONNX Runtime on this machine's processors, behind `Engine`.

At start it makes sessions from verified bytes, warms every length it will serve, times them
(`calibrate`) and sets up the queue (`batch`, `batcher`). Later models come and go beside those that
serve: their sessions are warmed one shape at a time, in the gaps between batches, by a thread that
gives way to all others. It refuses a graph whose inputs or outputs
are not those of the manifest, and a model whose warm-up output is not finite or not of its shape.

Padding is id 0 under mask 0. A graph quantised with one activation scale for the whole batch lets
rows see their neighbours slightly, in the last digits of a logit; which row belongs to whom is not
touched by that. Graphs with a scale for each row have no such effect.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from wardgate.aside import give_way
from wardgate.engine import cpus
from wardgate.engine.base import ServedModel
from wardgate.engine.batch import Bucket, Planner
from wardgate.engine.batcher import Batcher, Ids, valid
from wardgate.engine.calibrate import (
    LONE_GAIN,
    Calibration,
    Layout,
    Shot,
    choose,
    layouts,
    lone,
    plan,
    throughput,
)
from wardgate.errors import EngineUnavailable, ManifestInvalid, ModelOutputInvalid
from wardgate.types import Encoding, Logits, ModelId, Priority

INPUTS = {"input_ids": "tensor(int64)", "attention_mask": "tensor(int64)"}
OUTPUT = "logits"
TIMING_SECONDS = 2.4
"""For timing the batches of all models; sessions, sharing out and warming come on top."""
LOAD_SECONDS = 0.1
"""For each of three looks at each way to share out the processors."""
_GAP_SECONDS = 0.05
"""How long a shape waits for a gap before it is warmed all the same."""

onnxruntime.disable_telemetry_events()


class OnnxEngine:
    """`models` by digest. `sessions` and `threads` of 0 let the warm-up choose.

    `queue_tokens` may wait at most; after `bulk_age_seconds` a bulk row is as urgent as an
    interactive one.
    """

    local = True

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        *,
        sessions: int = 0,
        threads: int = 0,
        queue_tokens: int = 65_536,
        bulk_age_seconds: float = 2.0,
    ) -> None:
        self._models = dict(models)
        self._served = {key: model.id for key, model in self._models.items()}
        self._columns = {name: len(model.labels) for name, model in self._models.items()}
        self._sessions, self._threads = sessions, threads
        self._queue_tokens, self._bulk_age = queue_tokens, bulk_age_seconds
        self._runs: dict[str, _Runs] = {}
        self._batcher: Batcher | None = None
        self._layout, self._wide = Layout(1, 1), 0
        self._changing = asyncio.Lock()

    async def start(self) -> Calibration:
        """Make sessions, warm and time them, and take calls. Takes a few seconds, in a thread.

        Raises ManifestInvalid for a graph that is not as declared, ModelOutputInvalid where its
        first outputs are not valid.
        """
        calibration = await asyncio.to_thread(self._warm)
        planner = Planner(
            calibration.buckets,
            queue_tokens=self._queue_tokens,
            bulk_age=self._bulk_age,
            rate=calibration.rate,
        )
        self._layout, self._wide = calibration.layout, calibration.wide
        self._models.clear()  # the graphs' bytes; the sessions hold what they need of them
        self._batcher = Batcher(
            planner, self._run, slots=calibration.layout.sessions, columns=self._columns
        )
        self._batcher.start()
        return calibration

    async def infer(
        self, model: str, encoding: Encoding, *, deadline: float, priority: Priority
    ) -> Logits:
        """As `Engine.infer`."""
        if self._batcher is None:
            raise EngineUnavailable(retry_after=1.0)
        return await self._batcher.infer(model, encoding, deadline=deadline, priority=priority)

    async def check(self) -> tuple[ModelId, ...]:
        """As `Engine.check`."""
        if self._batcher is None:
            raise EngineUnavailable(retry_after=1.0)
        return tuple(sorted(self._served.values(), key=lambda served: served.name))

    async def load(self, model: ServedModel) -> None:
        """As `Loader.load`."""
        key = model.id.digest
        async with self._changing:
            if key in self._served:
                return
            batcher = self._batcher
            if batcher is None:
                raise EngineUnavailable(retry_after=1.0)
            stop = threading.Event()
            aside = ThreadPoolExecutor(1, "engine-load", initializer=give_way)
            try:
                # Threads of a session take over the priority of the one that makes it, for good.
                single = self._layout.threads == 1 and not self._wide
                maker = aside if single else None
                loop = asyncio.get_running_loop()
                runs = await loop.run_in_executor(maker, _Runs, model, self._layout, self._wide)
                plan = await loop.run_in_executor(aside, _warmed, runs, model, batcher, stop)
            finally:  # whoever gave up does not wait for the shape that runs
                stop.set()
                aside.shutdown(wait=False)
            self._runs[key] = runs
            batcher.add(key, plan, len(model.labels))
            self._served[key] = model.id

    async def unload(self, digest: str) -> None:
        """As `Loader.unload`."""
        async with self._changing:
            if self._batcher is None or self._served.pop(digest, None) is None:
                return
            await self._batcher.remove(digest)
            del self._runs[digest]

    async def close(self) -> None:
        """As `Engine.close`."""
        batcher, self._batcher = self._batcher, None
        if batcher is not None:
            await batcher.close()
        self._runs.clear()

    def _run(self, model: str, ids: Ids, mask: Ids, slot: int, alone: bool) -> NDArray[np.float32]:
        return self._runs[model].run(ids, mask, slot, alone=alone)

    def _warm(self) -> Calibration:
        started = time.perf_counter()
        processors = cpus.available()
        # The largest graph decides how the processors are shared out: it costs the most.
        judge = max(self._models, key=lambda name: len(self._models[name].graph))
        found = layouts(processors, self._sessions, self._threads)
        layout, wide, rate = _share_out(self._models[judge], found)
        buckets = {}
        for name, model in self._models.items():
            runs = _Runs(model, layout, wide)
            until = time.perf_counter() + TIMING_SECONDS / len(self._models)
            clock = time.thread_time if runs.single else time.perf_counter
            buckets[name] = plan(runs.shot(0), model.max_length, until, clock)
            runs.warm(buckets[name])
            self._runs[name] = runs
        seconds = time.perf_counter() - started
        return Calibration(processors, layout, wide, buckets, rate, seconds)


def _share_out(model: ServedModel, found: Sequence[Layout]) -> tuple[Layout, int, float]:
    """Time each layout; return the best, the threads of a wide session or 0, and tokens/s."""
    rates: dict[Layout, float] = {}
    alone: dict[Layout, float] = {}
    for layout in found:
        runs = _Runs(model, layout, 0)
        shots = [runs.shot(slot) for slot in range(layout.sessions)]
        alone[layout] = lone(shots[0])
        rates[layout] = max(throughput(shots, LOAD_SECONDS) for _ in range(3))
    best = choose(rates)
    widest = max(found, key=lambda layout: layout.threads)
    keep = widest.threads > best.threads and alone[widest] < LONE_GAIN * alone[best]
    return best, widest.threads if keep else 0, rates[best]


class _Runs:
    """The native sessions of one model.

    Sessions of one thread are one session called from several threads: ONNX Runtime allows it and
    runs each call in its caller's thread, and the weights are in memory once.
    """

    def __init__(self, model: ServedModel, layout: Layout, wide: int) -> None:
        self._columns = len(model.labels)
        self._threads = layout.threads
        count = 1 if layout.threads == 1 else layout.sessions
        self._slots = [_session(model, layout.threads) for _ in range(count)]
        self._wide = _session(model, wide) if wide else None

    def run(self, ids: Ids, mask: Ids, slot: int, *, alone: bool) -> NDArray[np.float32]:
        """Run one batch; `alone` takes the wide session where there is one."""
        session = self._slots[slot % len(self._slots)]
        if alone and self._wide is not None:
            session = self._wide
        (logits,) = session.run((OUTPUT,), {"input_ids": ids, "attention_mask": mask})
        return logits  # type: ignore[no-any-return]

    def shot(self, slot: int) -> Shot:
        """Return a function that runs a batch of a given shape in `slot`."""
        return partial(self._shot, slot, alone=False)

    @property
    def single(self) -> bool:
        """Whether a run is all in its caller's thread, whose processor time is then its cost."""
        return self._threads == 1

    def warm(self, buckets: Sequence[Bucket], gap: Callable[[], None] = lambda: None) -> None:
        """Run the smallest and largest batch of each bucket in every session but the first.

        The first has run them when it was timed. `gap` is called before each run.
        """
        for bucket in buckets:
            for slot in range(1, len(self._slots)):
                for rows in sorted({1, bucket.rows}):
                    gap()
                    self._shot(slot, rows, bucket.length, alone=False)
            if self._wide is not None:
                gap()
                self._shot(0, 1, bucket.length, alone=True)

    def _shot(self, slot: int, rows: int, length: int, *, alone: bool) -> None:
        ids = np.ones((rows, length), np.int64)
        if not valid(self.run(ids, ids, slot, alone=alone), rows, self._columns):
            raise ModelOutputInvalid("The model gave no valid output when it was warmed up.")


def _warmed(
    runs: _Runs, model: ServedModel, batcher: Batcher, stop: threading.Event
) -> tuple[Bucket, ...]:
    """Time and warm a model beside those that serve; in a thread that gives way.

    Raises EngineUnavailable where `stop` is set before it is done.
    """
    waited = 0.0

    def gap() -> None:
        nonlocal waited
        if stop.is_set():
            raise EngineUnavailable
        began = time.perf_counter()
        batcher.quiet(_GAP_SECONDS)
        waited += time.perf_counter() - began

    def shot(rows: int, length: int) -> None:
        gap()
        run(rows, length)

    def clock() -> float:
        return time.thread_time() if runs.single else time.perf_counter() - waited

    run = runs.shot(0)
    found = plan(shot, model.max_length, time.perf_counter() + TIMING_SECONDS, clock)
    runs.warm(found, gap)
    return found


def _session(model: ServedModel, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its messages go to stderr, past our own log
    # A plan of memory would be kept for ever for each shape seen, and no two batches are alike.
    options.enable_mem_pattern = False
    # Spinning threads would take the processor from the event loop and the audit writer.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # Weights outside the verified bytes would be read from the working folder.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", os.devnull
    )
    try:
        session = onnxruntime.InferenceSession(
            model.graph, options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # noqa: BLE001 -- the runtime's own errors have no common class
        raise ManifestInvalid("model.onnx: expected a graph that ONNX Runtime can load.") from None
    inputs = {item.name: item.type for item in session.get_inputs()}
    outputs = {item.name: item.type for item in session.get_outputs()}
    if inputs != INPUTS or outputs != {OUTPUT: "tensor(float)"}:
        raise ManifestInvalid("model.onnx: expected the inputs and outputs of the manifest.")
    return session
