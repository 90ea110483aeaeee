"""What callers get while something breaks: a steady open loop around one fault, for each deployment.

    python benchmarks/availability.py [--systems A,B] [--faults A,B] [--seconds S] [--rate R]

Requests come at a fixed rate whatever happens, timed from when they were due: `--rate`, or 0.4 of what
32 callers got just before where that is less. After a third of
the time the fault comes; one that lasts ends after two thirds. A reply is *right* if it has the label
that the same server gave before. It is *refused* with 429 or 503; *wrong* with another label; an
*error* with another status; *failed* without a reply; *hung* after 5 s. Back to normal is when the
last request was due that did not go right within a second, counted from the fault, or from its end
where it lasts; null means not within the run.

A process that ends is started again after a second, in all systems, as a service manager would. What a
system starts again by itself it does by itself. A new model comes to the plain servers as a new file and
a restart (SIGTERM, SIGKILL after 10 s), to Wardgate by `wardgate models promote`. The bad one has its two labels exchanged.

The full disk is a memory file system of 16 MiB that holds the record alone; mounting it takes root. The
plain servers keep no record, so that fault is none of theirs. Overload is ten times the rate that 32
callers got before, up to `--most`, and counts on top of the steady rate; the load generator shares
the processors, and its lag is in the result.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import load
import onnx
import servers
from onnx import helper

sys.path.insert(0, str(servers.HERE.parent))
from tests.e2e.processes import descendants

HUNG = 5.0
"""Seconds after which nobody waits any more."""
SLOW = 1.0
"""Seconds within which a request that goes right is normal."""
AGAIN = 1.0
"""Pause of the service manager, seconds."""
STOP = 10.0
"""From SIGTERM to SIGKILL at a restart, seconds."""
LANES = 1_500
SLOW_CLIENTS = 200
BAD = ("wrong", "error", "failed", "hung", "refused")
DISK = 16 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: when it was due (seconds from the begin), how it ended, how long that took."""

    due: float
    outcome: str
    seconds: float


def judge(status: int, body: bytes, label: str) -> str:
    """Return the outcome of a whole reply."""
    if status in (429, 503):
        return "refused"
    if status != 200:
        return "error"
    return "right" if f'"{label}"'.encode() in body else "wrong"


def until_normal(samples: Sequence[Sample], since: float, end: float) -> float | None:
    """Return the seconds from `since` to the last request that did not go right, None if too late."""
    bad = [
        each.due
        for each in samples
        if each.due >= since and (each.outcome != "right" or each.seconds > SLOW)
    ]
    if not bad:
        return 0.0
    return None if max(bad) > end - SLOW else round(max(bad) - since, 2)


def shares(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return what became of requests."""
    counts = Counter(each.outcome for each in samples)
    found: dict[str, Any] = {"requests": len(samples)}
    for outcome in ("right", *BAD):
        if counts[outcome]:
            taken = sorted(each.seconds for each in samples if each.outcome == outcome)
            found[outcome] = {
                "share": round(counts[outcome] / len(samples), 4),
                "p50_ms": round(1e3 * statistics.median(taken), 1),
                "p99_ms": round(1e3 * taken[int(0.99 * (len(taken) - 1))], 1),
            }
    return found


# -- the load ---------------------------------------------------------------------------------------


class _Lane(load.Connection):
    """A kept-alive connection with at most one request."""

    def __init__(self) -> None:
        self.reply: asyncio.Future[tuple[int, bytes]] | None = None
        self.open = True

    def data_received(self, data: bytes) -> None:
        self.whole = self.buffer + data
        super().data_received(data)

    def answered(self, status: bytes) -> None:
        if self.reply is not None and not self.reply.done():
            self.reply.set_result((int(status), self.whole))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's
        self.open = False
        if self.reply is not None and not self.reply.done():
            self.reply.set_exception(ConnectionResetError())


@dataclass
class Load:
    """Sends requests at their times and keeps what became of them."""

    port: int
    requests: Sequence[bytes]
    labels: Sequence[str]
    samples: list[Sample] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    idle: deque[_Lane] = field(default_factory=deque)
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LANES))

    async def ask(self, number: int) -> tuple[int, bytes]:
        """Send one request. Raises OSError where no reply comes."""
        async with self.places:
            while self.idle and not self.idle[-1].open:
                self.idle.pop()
            if self.idle:
                lane = self.idle.pop()
            else:
                loop = asyncio.get_running_loop()
                _, lane = await loop.create_connection(_Lane, "127.0.0.1", self.port)
            lane.reply = asyncio.get_running_loop().create_future()
            try:
                lane.transport.write(self.requests[number])
                reply = await lane.reply
            except BaseException:
                lane.transport.abort()
                raise
            self.idle.append(lane)
            return reply

    async def one(self, number: int, begin: float, due: float) -> None:
        """Send a request that is due now, and keep its end."""
        number %= len(self.requests)
        self.lags.append(time.perf_counter() - begin - due)
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + HUNG):
                outcome = judge(*await self.ask(number), self.labels[number])
        except TimeoutError:
            outcome = "hung"
        except OSError:
            outcome = "failed"
        self.samples.append(Sample(due, outcome, time.perf_counter() - begin - due))

    async def run(self, times: Sequence[float], begin: float) -> None:
        """Send at each of `times`, seconds from `begin`; return when all have ended."""
        async with asyncio.TaskGroup() as tasks:
            for number, due in enumerate(times):
                late = begin + due - time.perf_counter()
                if late > 0:
                    await asyncio.sleep(late)
                tasks.create_task(self.one(number, begin, due))

    async def capacity(self, seconds: float, callers: int = 32) -> float:
        """Return the requests per second that so many callers get."""
        end = time.perf_counter() + seconds
        done = 0

        async def caller(number: int) -> None:
            nonlocal done
            while time.perf_counter() < end:
                status, _ = await self.ask(number % len(self.requests))
                done += status == 200
                number += callers

        await asyncio.gather(*map(caller, range(callers)))
        return done / seconds

    def close(self) -> None:
        """Close what is idle."""
        for lane in self.idle:
            lane.transport.close()


# -- the deployments --------------------------------------------------------------------------------


def bad_model() -> bytes:
    """Return the shipped model with its labels exchanged."""
    model = onnx.load(servers.SHIPPED / "model.onnx")
    for node in model.graph.node:
        node.output[:] = ["right" if name == "logits" else name for name in node.output]
    model.graph.node.append(helper.make_node("Neg", ["right"], ["logits"]))
    return bytes(model.SerializeToString())


class Deployment:
    """A server that a service manager keeps; `home` is its folder, `port` its port for good."""

    path = "/predict"
    ready = "/openapi.json"
    token: str | None = None

    def __init__(self, home: Path) -> None:
        self.home = home
        self.model = home / "model.onnx"
        shutil.copyfile(servers.SHIPPED / "model.onnx", self.model)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.said = ""

    def command(self) -> list[str]:
        """Return the command of the next start."""
        raise NotImplementedError

    def env(self) -> dict[str, str]:
        """Return the variables of a plain server."""
        tokenizer = str(servers.SHIPPED / "tokenizer.json")
        return {"MODEL": str(self.model), "TOKENIZER": tokenizer}

    def body(self, text: str) -> dict[str, Any]:
        """Return the body of a request."""
        return {"text": text}

    def start(self) -> None:
        """Start the process and do not wait."""
        self.starts += 1
        self.process = subprocess.Popen(
            self.command(), env={**os.environ, **self.env()}, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def wait(self) -> None:
        """Wait until it serves."""
        assert self.process is not None
        servers._wait(f"http://127.0.0.1:{self.port}{self.ready}", self.process, 240.0)  # type: ignore[arg-type] # noqa: SLF001 -- of the same folder

    def stop(self) -> None:
        """Kill it and all its processes."""
        if self.process is not None:
            left = [self.process.pid, *descendants(self.process.pid)]
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()

    def below(self, part: str) -> list[int]:
        """Return its processes whose command line holds `part`."""
        assert self.process is not None
        return sorted(pid for pid, line in descendants(self.process.pid).items() if part in line)

    def workers(self) -> list[int]:
        """Return its workers."""
        return self.below("spawn_main")

    def model_processes(self) -> list[int]:
        """Return the processes in which the model runs, where they are others."""
        return self.below("triton_python_backend_stub")

    def deploy_bad(self) -> None:
        """Bring the bad model."""
        assert self.process is not None
        draft = self.home / "draft.onnx"
        draft.write_bytes(bad_model())
        draft.replace(self.model)
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP)
        if self.process.poll() is None:
            self.process.kill()
        self.said = "restarted with it"


class _FastApi(Deployment):
    """Plain FastAPI, with one worker or more."""

    def __init__(self, home: Path, workers: int = 1) -> None:
        super().__init__(home)
        self._workers = workers

    def command(self) -> list[str]:
        return [sys.executable, "-m", "uvicorn", "fastapi_plain:app", "--port", str(self.port),
                "--app-dir", str(servers.HERE / "systems"), "--no-access-log", "--log-level",
                "warning", *(["--workers", str(self._workers)] if self._workers > 1 else [])]  # fmt: skip


class _Triton(Deployment):
    """Plain Triton, dynamic batches of up to 16, the text model."""

    path = "/v2/models/sentiment/infer"
    ready = "/v2/health/ready"

    def command(self) -> list[str]:
        ports = []
        for _ in range(2):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                ports.append(str(free.getsockname()[1]))
        return [sys.executable, str(servers.HERE / "systems" / "triton_server.py"), str(self.port),
                *ports, "sentiment", str(self.home / f"triton-{self.starts}"), "16"]  # fmt: skip

    def body(self, text: str) -> dict[str, Any]:
        tensor = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
        return {"inputs": [tensor]}


class _Wardgate(Deployment):
    """Wardgate; `registry` has version 1 of the model, and `later` a bad version 2."""

    path = "/v1/predict"
    ready = "/readyz"

    def __init__(self, home: Path, *flags: str) -> None:
        super().__init__(home)
        self._flags = flags
        self.state, self.registry, self.audit = home / "state", home / "registry", home / "audit"
        self.audit.mkdir(mode=0o700)
        _version(self.registry / "sentiment" / "1", "1", self.model.read_bytes())

    def command(self) -> list[str]:
        return [sys.executable, "-m", "wardgate", "serve", "--port", str(self.port), *self._flags]

    def env(self) -> dict[str, str]:
        return {"WARDGATE_STATE": str(self.state), "WARDGATE_AUDIT__FOLDER": str(self.audit),
                "WARDGATE_REGISTRY__FOLDER": str(self.registry),
                "WARDGATE_REGISTRY__INSECURE_ALLOW_UNSIGNED": "true"}  # fmt: skip

    def body(self, text: str) -> dict[str, Any]:
        return {"model": "sentiment", "text": text}

    def wait(self) -> None:
        super().wait()
        if self.token is None:
            self.token = self._command("token").stdout.strip()

    def _command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "wardgate", *arguments], env={**os.environ, **self.env()},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def workers(self) -> list[int]:
        return [pid for pid in self.below(" _child ") if descendants(pid)]

    def model_processes(self) -> list[int]:
        engine = [pid for pid in self.below(" _child ") if not descendants(pid)]
        return super().model_processes() or engine

    def deploy_bad(self) -> None:
        _version(self.registry / "sentiment" / "2", "2", bad_model())
        tried = self._command("models", "promote", "sentiment", "2")
        said = (tried.stderr or tried.stdout).strip().splitlines()
        self.said = f"`models promote` ended with {tried.returncode}: {said[-1] if said else ''}"


def _version(folder: Path, version: str, graph: bytes) -> None:
    """Write a version of the shipped model with another graph, as its maker would."""
    from hashlib import sha256  # noqa: PLC0415

    draft = folder.parent.parent.parent / f"draft-{version}"
    shutil.copytree(servers.SHIPPED, draft)
    (draft / "model.onnx").write_bytes(graph)
    manifest = json.loads((draft / "manifest.json").read_text())
    entry = {"sha256": sha256(graph).hexdigest(), "bytes": len(graph)}
    manifest |= {"version": version, "files": {**manifest["files"], "model.onnx": entry}}
    (draft / "manifest.json").write_text(json.dumps(manifest))
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft.rename(folder)


SYSTEMS: dict[str, Callable[[Path], Deployment]] = {
    "fastapi": _FastApi,
    "fastapi-2-workers": lambda home: _FastApi(home, 2),
    "triton": _Triton,
    "wardgate": _Wardgate,
    "wardgate-2-workers": lambda home: _Wardgate(home, "--workers", "2"),
    "wardgate-triton": lambda home: _Wardgate(home, "--engine", "triton"),
}

# -- the faults -------------------------------------------------------------------------------------


@dataclass
class Run:
    """One deployment under load, as a fault sees it."""

    deployment: Deployment
    load: Load
    begin: float
    lasts: float
    """Seconds."""
    capacity: float = 0.0
    most: float = 0.0
    flood: Load | None = None

    def now(self) -> float:
        """Seconds from the begin."""
        return time.perf_counter() - self.begin


async def kill_server(run: Run) -> None:
    """End the process that was started, by SIGKILL."""
    assert run.deployment.process is not None
    os.kill(run.deployment.process.pid, signal.SIGKILL)


async def kill_worker(run: Run) -> None:
    """End one of two workers, by SIGKILL."""
    os.kill(run.deployment.workers()[0], signal.SIGKILL)


async def kill_model_process(run: Run) -> None:
    """End the engine's process, or that in which Triton runs the model, by SIGKILL."""
    os.kill(run.deployment.model_processes()[0], signal.SIGKILL)


async def kill_triton(run: Run) -> None:
    """End the Triton behind the gateway, by SIGKILL."""
    os.kill(run.deployment.below("/tritonserver")[0], signal.SIGKILL)


async def bad(run: Run) -> None:
    """Bring a model with its labels exchanged in the place of the good one."""
    await asyncio.to_thread(run.deployment.deploy_bad)


async def disk_full(run: Run) -> None:
    """Fill the file system of the record."""
    assert isinstance(run.deployment, _Wardgate)
    filler = run.deployment.audit / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    end = run.now() + run.lasts
    while run.now() < end:  # what a checkpoint frees is taken too
        with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        await asyncio.sleep(0.05)
    filler.unlink()


async def slow_clients(run: Run) -> None:
    """Send a byte of a request's head each second on 200 connections."""
    open_: list[asyncio.StreamWriter] = []
    for _ in range(SLOW_CLIENTS):
        _, writer = await asyncio.open_connection("127.0.0.1", run.deployment.port)
        writer.write(f"POST {run.deployment.path} HTTP/1.1\r\nHost: a\r\nX: ".encode())
        open_.append(writer)
    end = run.now() + run.lasts
    while run.now() < end:
        await asyncio.sleep(1)
        for writer in open_:
            writer.write(b"x")
    for writer in open_:
        writer.transport.abort()


async def overload(run: Run) -> None:
    """Send ten times the capacity, on top of the steady rate."""
    rate = min(10 * run.capacity, run.most)
    first = run.now()
    run.flood = Load(run.load.port, run.load.requests, run.load.labels)
    await run.flood.run([first + n / rate for n in range(int(rate * run.lasts))], run.begin)
    run.flood.close()


LASTING = {"disk-full", "slow-clients", "overload"}
FAULTS: dict[str, Callable[[Run], Awaitable[None]]] = {
    "kill-server": kill_server,
    "kill-worker": kill_worker,
    "kill-model-process": kill_model_process,
    "kill-triton": kill_triton,
    "bad-model": bad,
    "disk-full": disk_full,
    "slow-clients": slow_clients,
    "overload": overload,
}
ONE = ("kill-server", "bad-model", "slow-clients", "overload")
HAS: dict[str, tuple[str, ...]] = {
    "fastapi": ONE,
    "fastapi-2-workers": ("kill-worker",),
    "triton": (*ONE, "kill-model-process"),
    "wardgate": (*ONE, "disk-full"),
    "wardgate-2-workers": ("kill-worker", "kill-model-process"),
    "wardgate-triton": (*ONE, "kill-model-process", "kill-triton", "disk-full"),
}
"""Which faults a system can have."""


@contextmanager
def small_disk(folder: Path, fault: str) -> Iterator[None]:
    """Have a small file system of its own at `folder` while inside, where the fault needs it."""
    if fault != "disk-full":
        yield
        return
    options = f"size={DISK},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def keep(deployment: Deployment) -> None:
    """Be the service manager."""
    while True:
        await asyncio.sleep(0.05)
        if deployment.process is not None and deployment.process.poll() is not None:
            await asyncio.sleep(AGAIN)
            deployment.start()


async def measure(deployment: Deployment, fault: str, given: argparse.Namespace) -> dict[str, Any]:
    """Run the load around one fault."""
    url = f"http://127.0.0.1:{deployment.port}{deployment.path}"
    requests = [
        load.post(url, json.dumps(deployment.body(text)).encode(), token=deployment.token)
        for text in servers.notes()[:100]
    ]
    steady = Load(deployment.port, requests, [""] * len(requests))
    steady.labels = [_label((await steady.ask(number))[1]) for number in range(len(requests))]
    capacity = await steady.capacity(given.warm)
    rate = round(min(given.rate, 0.4 * capacity), 1)
    begin = time.perf_counter()
    third = given.seconds / 3
    run = Run(deployment, steady, begin, third, capacity, given.most)
    count = int(given.seconds * rate)
    keeper = asyncio.create_task(keep(deployment))
    sent = asyncio.create_task(steady.run([n / rate for n in range(count)], begin))
    await asyncio.sleep(third)
    at = run.now()
    await FAULTS[fault](run)
    over = min(run.now(), at + third) if fault in LASTING else at
    await sent
    keeper.cancel()
    steady.close()
    during = [each for each in steady.samples if at <= each.due < max(over, at)]
    found: dict[str, Any] = {
        "requests_per_second": rate,
        "capacity_requests_per_second": round(capacity, 1),
        "fault_at_seconds": round(at, 2),
        "before": shares([each for each in steady.samples if each.due < at]),
        **({"while_it_lasted": shares(during)} if during else {}),
        "from_the_fault_on": shares([each for each in steady.samples if each.due >= at]),
        "seconds_until_normal": until_normal(steady.samples, over, given.seconds),
        "starts_by_the_service_manager": deployment.starts - 1,
        "generator_lag_p99_ms": round(
            1e3 * sorted(steady.lags)[int(0.99 * (len(steady.lags) - 1))], 1
        ),
    }
    if deployment.said:
        found["deployment"] = deployment.said
    if run.flood is not None:
        samples = run.flood.samples
        right = sum(each.outcome == "right" for each in samples)
        found["flood"] = {
            "offered_requests_per_second": round(len(samples) / third, 1),
            "right_requests_per_second": round(right / third, 1),
            **shares(samples),
        }
    return found


def _label(reply: bytes) -> str:
    found = json.loads(reply[reply.index(b"\r\n\r\n") + 4 :])
    if "outputs" in found:
        return str(next(o["data"][0] for o in found["outputs"] if o["name"] == "label"))
    return str(found["label"])


def table(runs: dict[str, Any]) -> str:
    """Return the runs as a table in Markdown; shares are of what was due from the fault on."""
    head = ("fault", "deployment", "right", "refused", "wrong", "failed", "normal after, s")
    rows = [head, ("---",) * len(head)]
    for fault in FAULTS:
        for name in SYSTEMS:
            if fault not in runs.get(name, {}):
                continue
            one = runs[name][fault]
            found = one["from_the_fault_on"]
            right, refused, wrong, *failed = (
                found.get(outcome, {}).get("share", 0.0)
                for outcome in ("right", "refused", "wrong", "failed", "hung", "error")
            )
            seconds = one["seconds_until_normal"]
            rows.append(
                (fault, name, f"{right:.1%}", f"{refused:.1%}", f"{wrong:.1%}", f"{sum(failed):.1%}",
                 "not in the run" if seconds is None else f"{seconds:.1f}")
            )  # fmt: skip
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    """Run each fault of each system and write the result, whole after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--warm", type=float, default=4.0, help="seconds of 32 callers before")
    parser.add_argument("--most", type=float, default=3_000.0, help="requests a second of a flood")
    parser.add_argument("--table", action="store_true", help="print the stored result and end")
    given = parser.parse_args()
    path = servers.HERE / "results" / "availability.json"
    runs: dict[str, Any] = json.loads(path.read_text())["runs"] if path.exists() else {}
    if given.table:
        print(table(runs))
        return
    for name in given.systems.split(","):
        for fault in given.faults.split(","):
            if fault not in HAS[name]:
                continue
            with tempfile.TemporaryDirectory() as folder:
                deployment = SYSTEMS[name](Path(folder))
                disk = getattr(deployment, "audit", Path(folder))
                with small_disk(disk, fault):
                    deployment.start()
                    try:
                        deployment.wait()
                        found = asyncio.run(measure(deployment, fault, given))
                    finally:
                        deployment.stop()
            found = {"time": servers.environment()["time"], "seconds": given.seconds, **found}
            runs.setdefault(name, {})[fault] = found
            print(name, fault, json.dumps(found), flush=True)
            _write({"what": __doc__, "runs": runs})


def _write(result: dict[str, Any]) -> None:
    text = json.dumps({**servers.environment(), **result}, indent=1)
    (servers.HERE / "results" / "availability.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
