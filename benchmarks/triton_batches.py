"""The batches that form in Triton, by its own statistics: 32 callers, notes of mixed lengths.

    python benchmarks/triton_batches.py [--notes FILE] [--seconds S] [--rounds N] [--callers N]

Three ways to feed the same model to the same server (`wardgate[triton]`), one server each, taking
turns: `bucketed` is the gateway's own engine; `one_shape_per_length` is the same engine without
padding, against a batcher that joins equal shapes; `text_padded_in_triton` sends text, and the
Python backend tokenizes and pads a batch to its longest. Figures are medians of the rounds; batch
sizes are of all rounds together.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import servers
import uvloop
from tritonclient.grpc import service_pb2 as pb

from wardgate.engine.base import ServedModel
from wardgate.engine.tensors import served_name
from wardgate.engine.triton import TritonEngine
from wardgate.engine.tritonlink import Endpoint, Link
from wardgate.engine.tritonmodels import Managed
from wardgate.engine.tritonserver import TritonServer
from wardgate.nlp.tokenize import Tokenizer
from wardgate.registry import export
from wardgate.registry.store import LoadedModel, Store
from wardgate.types import CleanText, Encoding, Priority

BATCHING = f"""dynamic_batching {{
  preferred_batch_size: [ {export.Options().max_batch_size} ]
  max_queue_delay_microseconds: 0
}}"""
"""The same for all: priorities and timeouts of a queue change when Triton's batcher wakes up."""
TEXT_MODEL = """
import os, sys
from pathlib import Path
sys.path[:0] = [folder for folder in os.environ.get("PYTHONPATH", "").split(":") if folder]
import numpy as np
import onnxruntime
import tokenizers
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        folder = Path(args["model_repository"], args["model_version"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("MODEL_THREADS", "0")) or len(
            os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_LENGTH)
        self.tokenizer.enable_padding()

    def execute(self, requests):
        texts = [pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
                 for request in requests]
        flat = [value[0].decode() for rows in texts for value in rows]
        rows = self.tokenizer.encode_batch(flat)
        logits = self.session.run(("logits",), {
            "input_ids": np.array([row.ids for row in rows], np.int64),
            "attention_mask": np.array([row.attention_mask for row in rows], np.int64)})[0]
        ends = np.cumsum([len(rows) for rows in texts])
        return [pb_utils.InferenceResponse([pb_utils.Tensor("logits", share)])
                for share in np.split(logits, ends[:-1])]
"""
Ask = Callable[[int], Awaitable[object]]
"""`ask(n)`: answer the n-th note."""


@dataclass
class Arm:
    """One way to feed Triton, and what came of it."""

    name: str
    ask: Ask
    link: Link
    close: Callable[[], Awaitable[None]]
    rates: list[float] = field(default_factory=list)
    waits: list[list[float]] = field(default_factory=list)
    batches: Counter[int] = field(default_factory=Counter)


async def batches(arm: Arm, model: LoadedModel) -> Counter[int]:
    """Return how many executions of each batch size Triton has counted."""
    request = pb.ModelStatisticsRequest(name=served_name(model.id))
    (found,) = (await arm.link.command("ModelStatistics", request, 10.0)).model_stats
    return Counter({each.batch_size: each.compute_infer.count for each in found.batch_stats})


async def serve(
    folder: Path, name: str, model: LoadedModel, texts: list[str], encodings: list[Encoding]
) -> Arm:
    """Start a server of its own for an arm."""
    repository = folder / name
    repository.mkdir(parents=True)
    server = TritonServer(repository, home=folder / f"{name}-home")
    at = await server.start()
    endpoint = Endpoint(at.address, at.ca, at.cert, at.key, at.header, at.secret)
    if name == "text_padded_in_triton":
        link = Link(endpoint)
        write_text_model(model, repository)
        load = pb.RepositoryModelLoadRequest(model_name=served_name(model.id))
        await link.command("RepositoryModelLoad", load, 300.0)

        async def ask_text(number: int) -> None:
            text = texts[number].encode()
            request = pb.ModelInferRequest(
                model_name=served_name(model.id),
                inputs=[
                    pb.ModelInferRequest.InferInputTensor(
                        name="text", datatype="BYTES", shape=(1, 1)
                    )
                ],
                raw_input_contents=[len(text).to_bytes(4, "little") + text],
            )
            await link.infer(request, 60.0)

        async def end() -> None:
            await link.close()
            await server.close()

        return Arm(name, ask_text, link, end)
    plain = name == "one_shape_per_length"

    def write(served: ServedModel, into: Path) -> None:
        assert isinstance(served, LoadedModel)
        config = export.write(served, into) / "config.pbtxt"
        text = re.sub(r"dynamic_batching \{.*?\n\}", BATCHING, config.read_text(), flags=re.DOTALL)
        config.write_text(text.replace(" allow_ragged_batch: true", "") if plain else text)

    def lengths(longest: int) -> tuple[int, ...]:
        return tuple(range(1, longest + 1)) if plain else export.buckets(longest)

    engine = TritonEngine(
        lambda: endpoint,
        Managed(repository=repository, export=write, lengths=export.buckets),
        lengths=lengths,
        on_close=server.close,
    )
    await engine.start([model])

    async def ask(number: int) -> None:
        deadline = time.monotonic() + 60
        await engine.infer(
            model.id.digest, encodings[number], deadline=deadline, priority=Priority.INTERACTIVE
        )

    link = engine._calls.link  # noqa: SLF001 -- its control channel reads the statistics
    assert link is not None
    return Arm(name, ask, link, engine.close)


def write_text_model(model: LoadedModel, repository: Path) -> None:
    """Write the model that takes text and pads inside Triton."""
    name = served_name(model.id)
    version = repository / name / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(TEXT_MODEL.replace("MAX_LENGTH", str(model.max_length)))
    (version / "model.onnx").write_bytes(model.graph)
    (version / "tokenizer.json").write_bytes(model.tokenizer)
    (repository / name / "config.pbtxt").write_text(
        f'name: "{name}" backend: "python" max_batch_size: {export.Options().max_batch_size}\n'
        'input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]\n'
        f'output [ {{ name: "logits" data_type: TYPE_FP32 dims: [ {len(model.labels)} ] }} ]\n'
        f"instance_group [ {{ kind: KIND_CPU count: 1 }} ]\n{BATCHING}\n"
    )
    for path in (repository / name).rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (repository / name).chmod(0o755)


async def load(arm: Arm, notes: int, callers: int, seconds: float) -> None:
    """Keep `callers` callers busy and book their requests a second and their waits."""
    waits: list[float] = []
    turn = itertools.count()
    started = time.monotonic()

    async def caller() -> None:
        while (now := time.monotonic()) < started + seconds:
            await arm.ask(next(turn) % notes)
            waits.append(time.monotonic() - now)

    await asyncio.gather(*(caller() for _ in range(callers)))
    arm.rates.append(len(waits) / (time.monotonic() - started))
    arm.waits.append(waits)


def summary(arm: Arm) -> dict[str, object]:
    """Return the figures of an arm."""
    cuts = [statistics.quantiles(waits, n=100, method="inclusive") for waits in arm.waits]
    rows = sum(size * count for size, count in arm.batches.items())
    return {
        "requests_per_second": round(statistics.median(arm.rates), 1),
        "p50_ms": round(1e3 * statistics.median(cut[49] for cut in cuts), 1),
        "p99_ms": round(1e3 * statistics.median(cut[98] for cut in cuts), 1),
        "mean_rows_in_a_batch": round(rows / max(1, arm.batches.total()), 2),
        "batches_by_rows": {str(size): arm.batches[size] for size in sorted(arm.batches)},
    }


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    model = Store().load("sentiment")
    windows = model.manifest.windows
    tokenizer = Tokenizer(model.tokenizer, model.max_length, windows.overlap if windows else None)
    with options.notes.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    encodings = [tokenizer.encode(CleanText(text)) for text in texts]
    kept = [place for place, encoding in enumerate(encodings) if encoding.windows == 1]
    texts, encodings = [texts[place] for place in kept], [encodings[place] for place in kept]
    names = ("bucketed", "one_shape_per_length", "text_padded_in_triton")
    arms = [await serve(folder, name, model, texts, encodings) for name in names]
    try:
        for arm in arms:
            await load(arm, len(texts), options.callers, 1.0)
            arm.rates.clear()
            arm.waits.clear()
        for number in range(options.rounds):
            for arm in arms if number % 2 == 0 else reversed(arms):
                before = await batches(arm, model)
                await load(arm, len(texts), options.callers, options.seconds)
                arm.batches += await batches(arm, model) - before
    finally:
        for arm in arms:
            await arm.close()
    first, *others = (statistics.median(arm.rates) for arm in arms)
    return {
        "benchmark": "triton_batches",
        "model": f"{model.id.name} {model.id.version} {model.id.digest[:12]}",
        "notes": len(texts),
        "lengths": len({len(encoding.rows[0]) for encoding in encodings}),
        "mean_tokens": round(statistics.mean(len(encoding.rows[0]) for encoding in encodings), 1),
        "callers": options.callers,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "arms": {arm.name: summary(arm) for arm in arms},
        "bucketed_against": {
            arm.name: round(first / other, 2) for arm, other in zip(arms[1:], others, strict=True)
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--notes", type=Path, default=Path(__file__).with_name("notes.jsonl"))
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--callers", type=int, default=32)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="wardgate-bench-"))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(measure(options, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    servers.write("triton-batches", found)


if __name__ == "__main__":
    main()
