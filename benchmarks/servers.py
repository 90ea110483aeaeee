"""Start and stop the systems that the benchmarks measure; each in a process of its own."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
SHIPPED = HERE.parent / "src" / "wardgate" / "registry" / "shipped" / "sentiment" / "1"


_UNLIMITED = {"WARDGATE_ADMISSION__RATE": "1e6", "WARDGATE_ADMISSION__BURST": "1000000"}
"""A benchmark is one principal; its rate is not what is measured."""


_MODULES = {"nvidia-pytriton": "pytriton", "grpcio": "grpc"}


@dataclass(frozen=True)
class System:
    """A running system: where it listens, its process, and a token where it wants one."""

    url: str
    pid: int
    token: str | None = None


@contextmanager
def uvicorn(app: str, path: str, env: dict[str, str] | None = None) -> Iterator[System]:
    """Run an application of benchmarks/systems under uvicorn with its defaults, one worker."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--no-access-log",
               "--log-level", "warning", "--app-dir", str(HERE / "systems")]  # fmt: skip
    process = subprocess.Popen(command, env={**os.environ, **(env or {})})
    try:
        _wait(f"http://127.0.0.1:{port}/openapi.json", process)
        yield System(f"http://127.0.0.1:{port}{path}", process.pid)
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def bare(core: int) -> Iterator[System]:
    """Run the bare route on Wardgate's HTTP server, on one processor."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "systems" / "bare_server.py")],
        stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        yield System(f"{url}/v1/predict", process.pid)
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def wardgate(
    *flags: str,
    state: str | None = None,
    program: Sequence[str] = ("-m", "wardgate"),
    core: int | None = None,
    scope: str | None = None,
    **env: str,
) -> Iterator[System]:
    """Run `wardgate serve` on a fresh state folder in `state`, on processor `core` if given.

    The token is for `scope`, or what `wardgate token` gives by itself.
    """
    with tempfile.TemporaryDirectory(dir=state) as folder:
        home = Path(folder) / "state"
        environment = {**os.environ, "WARDGATE_STATE": str(home), **_UNLIMITED, **env}
        process = subprocess.Popen(
            [sys.executable, *program, "serve", "--port", "0", "--metrics-port", "0", *flags],
            env=environment,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("ready "):
                raise RuntimeError("wardgate did not start")
            token = subprocess.run(
                [sys.executable, "-m", "wardgate", "token", *(["--scope", scope] if scope else [])],
                env=environment, capture_output=True, text=True, check=True,
            ).stdout.strip()  # fmt: skip
            yield System(f"{line.split()[1]}/v1/predict", process.pid, token)
        finally:
            process.terminate()
            process.wait(40)


@contextmanager
def plain_triton(*, dynamic_batching: bool, threads: int = 0) -> Iterator[System]:
    """Run Triton as its quick start does: the shipped model, plain gRPC on loopback, no security.

    The same file and the same Python backend as Wardgate gives it. `url` is HOST:PORT of gRPC.
    """
    from wardgate.engine import tritonfiles  # noqa: PLC0415 -- an extra that other runs lack
    from wardgate.registry import export  # noqa: PLC0415
    from wardgate.registry.store import Store  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        home = Path(folder)
        found = tritonfiles.find(others=False)
        tritonfiles.backends(found, home / "backends")
        model = Store().load("sentiment")
        options = export.Options()
        for path, content in export.files(model, options).items():
            target = home / "models" / "sentiment" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        config = home / "models" / "sentiment" / "config.pbtxt"
        text = config.read_text().replace(
            f'name: "{export.model_name(model.id.name, model.id.digest)}"', 'name: "sentiment"'
        )
        if not dynamic_batching:
            start = text.index("dynamic_batching {")
            text = text[:start] + text[text.index("\n}", start) + 2 :]
        config.write_text(text)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [str(found.server), f"--model-repository={home / 'models'}",
                   f"--backend-directory={home / 'backends'}", "--allow-http=false",
                   "--allow-metrics=false", "--grpc-address=127.0.0.1", f"--grpc-port={port}",
                   "--disable-auto-complete-config", "--log-info=false",
                   "--log-warning=false"]  # fmt: skip
        process = subprocess.Popen(
            command, env=found.environment(threads),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait_grpc(f"127.0.0.1:{port}", process)
            yield System(f"127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()
            process.wait(30)


def _wait_grpc(address: str, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    import grpc  # noqa: PLC0415
    from tritonclient.grpc import service_pb2, service_pb2_grpc  # noqa: PLC0415

    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if process.poll() is not None:
                raise RuntimeError("Triton ended at start")
            try:
                if stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=1).ready:
                    return
            except grpc.RpcError:
                time.sleep(0.05)
    raise RuntimeError("Triton did not start in time")


def _wait(url: str, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError("the server ended at start")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server did not start in time")


def memory() -> str | None:
    """Return a folder on a memory file system, where there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def notes() -> list[str]:
    """Return the notes of benchmarks/notes.jsonl."""
    return [json.loads(line)["text"] for line in (HERE / "notes.jsonl").open(encoding="utf-8")]


def environment() -> dict[str, object]:
    """Return commit, machine and versions, for a result file."""
    commit = subprocess.run(
        ["git", "-C", str(HERE), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    dirty = subprocess.run(
        ["git", "-C", str(HERE), "status", "--porcelain", "-uno"],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").open()
         if line.startswith("model name")), platform.machine(),
    )  # fmt: skip
    packages = ["wardgate", "fastapi", "uvicorn", "onnxruntime", "tokenizers", "pydantic"]
    packages += [name for name in ("nvidia-pytriton", "grpcio") if find_spec(_MODULES[name])]
    return {
        "commit": commit + ("+changes" if dirty else ""),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cpu": model, "cores": len(os.sched_getaffinity(0)), "system": platform.system()},
        "versions": {"python": platform.python_version(),
                     **{name: metadata.version(name) for name in packages}},
    }  # fmt: skip


def write(name: str, result: dict[str, object]) -> None:
    """Print a result and write it to benchmarks/results/<name>.json."""
    text = json.dumps({**environment(), **result}, indent=1)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{name}.json").write_text(text + "\n")
    print(text)
