"""What the gateway costs before a busy Triton: hybrid against a direct gRPC client of it.

    python benchmarks/hybrid.py [--rounds N] [--seconds S]

Both arms use the same locked Triton on one processor; its model waits for 5, 10 or 20 ms a batch
and takes no processor. The gateway and all clients have the other processor. The direct clients
send what the gateway would send: the same notes cleaned and tokenised, in the same bucketed shapes,
with the same deadlines over the same kind of channel. Both arms have the same number of callers, so
many that Triton is always busy. The audit record is on a memory file system. Alternating rounds;
medians of the ratios of each round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from pathlib import Path

import httpx
import load
import numpy as np
import onnx
import servers
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import service_pb2

from wardgate import Deidentifier
from wardgate.engine.tritonlink import Endpoint, Link
from wardgate.nlp.tokenize import Tokenizer
from wardgate.registry import export
from wardgate.registry.store import Store
from wardgate.types import CleanText

TRITON_CORE, OTHER_CORE = 0, 1
DEADLINE = 10.0
"""Seconds; the gateway's default."""
BATCH = 4
"""Rows in a batch, and calls that Triton may run side by side: one instance."""
SYSTEMS = Path(__file__).parent / "systems"
LOGITS = np.array([[0.0, 2.0]], np.float32)


def graph() -> bytes:
    """Return a graph of the declared form that gives every row the waiting model's logits."""
    nodes = [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axis"], ["sum"], keepdims=1),
        helper.make_node("Cast", ["sum"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "none"], ["nothing"]),
        helper.make_node("Add", ["nothing", "answer"], ["logits"]),
    ]
    ids = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    out = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])]
    constants = [
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
        numpy_helper.from_array(np.zeros((1, 1), np.float32), "none"),
        numpy_helper.from_array(LOGITS, "answer"),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "wait", ids, out, constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    return bytes(model.SerializeToString())


def registry(home: Path) -> Path:
    """Make a registry with the model `wait`, by the command that users have."""
    source = home / "source"
    source.mkdir()
    onnx.save_model(onnx.load_from_string(graph()), source / "model.onnx")
    shipped = Store().load("sentiment")
    (source / "tokenizer.json").write_bytes(shipped.tokenizer)
    (home / "golden.jsonl").write_text(
        json.dumps({"text": "a fine day .", "label": "positive", "score": 0.8808}) + "\n"
    )
    folder = home / "registry"
    subprocess.run(
        [sys.executable, "-m", "wardgate", "models", "add", str(source / "model.onnx"),
         "--name", "wait", "--version", "1", "--labels", "negative,positive",
         "--max-length", "256", "--windows", "mean", "--golden", str(home / "golden.jsonl"),
         "--to", str(folder)],
        check=True, stdout=subprocess.DEVNULL,
        env={**os.environ, "WARDGATE_STATE": str(home / "unused")},
    )  # fmt: skip
    return folder


@contextmanager
def triton(home: Path, folder: Path, wait_ms: int) -> Iterator[dict[str, str]]:
    """Run the locked Triton with the waiting model in place of the exported one."""
    model = Store((folder,), allow_unsigned=True).load("wait")
    files = export.files(model, export.Options(max_batch_size=BATCH))
    text = files["config.pbtxt"].decode()
    text += f'parameters {{ key: "wait_ms" value: {{ string_value: "{wait_ms}" }} }}\n'
    files["config.pbtxt"] = text.encode()
    files["1/model.py"] = (SYSTEMS / "wait_model.py").read_bytes()
    name = export.model_name(model.id.name, model.id.digest)
    target = home / f"repository-{wait_ms}" / name
    for path, content in files.items():
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    work = home / f"triton-{wait_ms}"
    work.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(SYSTEMS / "locked_triton.py"), str(target.parent), str(work),
         str(TRITON_CORE), name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("Triton did not start")
        yield {**json.loads(line), "model": name}
    finally:
        process.stdin.close()
        process.wait(30)


def requests(name: str) -> list[service_pb2.ModelInferRequest]:
    """Return the calls of all notes, cleaned."""
    deidentifier = Deidentifier()
    make = Caller(name)
    return [make(deidentifier.deidentify(text).text) for text in servers.notes()]


class Caller:
    """What a client of Triton does with a text: tokenise it and pad it to its bucket."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._tokenizer = Tokenizer(Store().load("sentiment").tokenizer, 256, 32)
        self._lengths = export.buckets(256)

    def __call__(self, text: str) -> service_pb2.ModelInferRequest:
        """Return the call, a row for each window."""
        rows = self._tokenizer.encode(CleanText(text)).rows
        width = next(length for length in self._lengths if length >= max(map(len, rows)))
        ids = np.zeros((len(rows), width), np.int64)
        mask = np.zeros((len(rows), width), np.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row
            mask[at, : len(row)] = 1
        request = service_pb2.ModelInferRequest(model_name=self._model, model_version="1")
        for tensor, values in (("input_ids", ids), ("attention_mask", mask)):
            request.inputs.add(name=tensor, datatype="INT64", shape=values.shape)
            request.raw_input_contents.append(values.tobytes())
        request.parameters["priority"].uint64_param = 1
        request.parameters["timeout"].int64_param = int(DEADLINE * 1e6)
        return request


async def direct(
    endpoint: Endpoint,
    calls: list[service_pb2.ModelInferRequest],
    callers: int,
    seconds: float,
) -> load.Load:
    """Keep `callers` ready calls at the locked Triton for `seconds`."""
    link = Link(endpoint)

    async def call(number: int) -> None:
        await link.infer(calls[number % len(calls)], DEADLINE)

    return await closed_loop(link, call, callers, seconds)


async def plain(address: str, callers: int, seconds: float) -> load.Load:
    """Keep `callers` at a plain Triton for `seconds`, each tokenising what it sends."""
    link = Link(Endpoint(address))
    make = Caller("sentiment")
    texts = servers.notes()

    async def call(number: int) -> None:
        await link.infer(make(texts[number % len(texts)]), DEADLINE)

    return await closed_loop(link, call, callers, seconds)


async def closed_loop(
    link: Link, call: Callable[[int], Awaitable[None]], callers: int, seconds: float
) -> load.Load:
    """Keep `callers` calls out for `seconds`, after one second that does not count."""
    latencies: list[float] = []
    begin = time.perf_counter() + 1.0
    end = begin + seconds
    numbers = count()

    async def caller() -> None:
        while (sent := time.perf_counter()) < end:
            await call(next(numbers))
            if sent >= begin:
                latencies.append((time.perf_counter() - sent) * 1000)

    cpu = time.process_time()
    await asyncio.gather(*(caller() for _ in range(callers)))
    took = time.perf_counter() - begin
    await link.close()
    share = (time.process_time() - cpu) / (took + 1.0)
    return load.Load(len(latencies), 0, took, share, latencies)


def hops(system: servers.System, text: str) -> dict[str, float]:
    """Return the time of each hop of one request at rest, milliseconds, as the reply says."""
    with httpx.Client() as client:
        for _ in range(20):
            reply = client.post(
                system.url,
                json={"model": "wait", "text": text},
                headers={"Authorization": f"Bearer {system.token}"},
            )
        reply.raise_for_status()
    parts = (part.strip().split(";dur=") for part in reply.headers["server-timing"].split(","))
    return {name: float(value) for name, value in parts}


def gateway(folder: Path, access: dict[str, str]) -> AbstractContextManager[servers.System]:
    """Run the gateway in front of that Triton."""
    return servers.wardgate(
        "--engine", "triton", "--triton-url", access["address"],
        state=servers.memory(), core=OTHER_CORE, scope="infer:wait",
        WARDGATE_REGISTRY__FOLDER=str(folder),
        WARDGATE_REGISTRY__MODELS='["wait"]',
        WARDGATE_REGISTRY__INSECURE_ALLOW_UNSIGNED="true",
        WARDGATE_ENGINE__TRITON_CA=access["ca"],
        WARDGATE_ENGINE__TRITON_CERT=access["cert"],
        WARDGATE_ENGINE__TRITON_KEY=access["key"],
    )  # fmt: skip


def capacity(callers: int, seconds: float) -> float:
    """Return the gateway's own requests per second on its processor: an engine that is instant."""
    program = (str(SYSTEMS / "instant.py"),)
    with servers.wardgate(state=servers.memory(), program=program, core=OTHER_CORE) as system:
        posts = [
            load.post(system.url, json.dumps({"model": "sentiment", "text": text}).encode(),
                      token=system.token)
            for text in servers.notes()
        ]  # fmt: skip
        run = load.closed_loop(system.url, posts, callers=callers, seconds=seconds, warm=1.0)
        return asyncio.run(run).rate


def main() -> None:
    """Run the rounds for each wait and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--waits", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--callers", type=int, default=8)
    given = parser.parse_args()
    os.sched_setaffinity(0, {OTHER_CORE})
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        folder = registry(home)
        for wait in given.waits:
            with ExitStack() as stack:
                access = stack.enter_context(triton(home, folder, wait))
                system = stack.enter_context(gateway(folder, access))
                pem = {name: Path(access[name]).read_bytes() for name in ("ca", "cert", "key")}
                endpoint = Endpoint(access["address"], **pem)
                calls = requests(access["model"])
                posts = [
                    load.post(system.url, json.dumps({"model": "wait", "text": text}).encode(),
                              token=system.token)
                    for text in servers.notes()
                ]  # fmt: skip
                rounds = []
                for _ in range(given.rounds):
                    one = asyncio.run(direct(endpoint, calls, given.callers, given.seconds))
                    other = asyncio.run(
                        load.closed_loop(system.url, posts, callers=given.callers,
                                         seconds=given.seconds, warm=1.0)
                    )  # fmt: skip
                    rounds.append({"direct": one.summary(), "hybrid": other.summary()})
                found[f"wait_{wait}_ms"] = {
                    "ratio_requests_per_second": load.median(
                        [r["hybrid"]["requests_per_second"] / r["direct"]["requests_per_second"]
                         for r in rounds]
                    ),
                    "added_p50_ms": load.median(
                        [r["hybrid"]["p50_ms"] - r["direct"]["p50_ms"] for r in rounds]
                    ),
                    "hops_ms_at_rest": hops(system, servers.notes()[0]),
                    "rounds": rounds,
                }  # fmt: skip
    found["gateway_alone_requests_per_second"] = round(capacity(given.callers, given.seconds), 1)
    servers.write("hybrid", {"what": __doc__, "callers": given.callers, "batch": BATCH, **found})


if __name__ == "__main__":
    main()
