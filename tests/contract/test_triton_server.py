"""The real Triton server over an exported repository: what it answers, to whom, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import onnxruntime
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

import tiny_models
from tiny_models import SLOW_ID, expected
from wardgate.engine import tritonprocess, tritonserver
from wardgate.engine.certificates import issue
from wardgate.engine.tritonserver import TritonServer
from wardgate.registry import export
from wardgate.registry.manifest import parse
from wardgate.registry.store import LoadedModel, Store

DEADLINE = 60.0


def tiny(graph: bytes, **changes) -> LoadedModel:
    files = {"model.onnx": graph, "tokenizer.json": tiny_models.tokenizer_json()}
    manifest = parse(tiny_models.as_json(tiny_models.manifest(files, **changes)))
    return LoadedModel(manifest, files)


def infer_request(name: str, ids: np.ndarray) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=name, model_version="1")
    for tensor, values in (("input_ids", ids), ("attention_mask", np.ones_like(ids))):
        request.inputs.add(name=tensor, datatype="INT64", shape=values.shape)
        request.raw_input_contents.append(values.tobytes())
    return request


class Bench:
    """A server over one repository, a channel to it, and a loop to drive both."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.repository = folder / "models"
        self.home = folder / "home"
        self.notices: list[str] = []
        self.changes: asyncio.Queue[bool] = asyncio.Queue()
        self.tiny = tiny(tiny_models.fingerprint().graph)
        self.name = export.write(self.tiny, self.repository).name
        self.run(self._start())

    def run(self, work):
        async def bounded():
            async with asyncio.timeout(DEADLINE):
                return await work

        return self.runner.run(bounded())

    async def _start(self) -> None:
        self.server = TritonServer(
            self.repository,
            home=self.home,
            threads=1,
            on_change=self.changes.put_nowait,
            on_notice=self.notices.append,
        )
        self.access = await self.server.start()
        self.channel = channel(self.access)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)
        await self.load(self.name)

    @property
    def control(self) -> tuple[tuple[str, str], ...]:
        return ((self.access.header, self.access.secret),)

    @property
    def pid(self) -> int:
        return self.server._process._native.pid

    async def load(self, name: str) -> None:
        await self.stub.RepositoryModelLoad(
            pb.RepositoryModelLoadRequest(model_name=name), metadata=self.control, timeout=DEADLINE
        )

    async def unload(self, name: str) -> None:
        await self.stub.RepositoryModelUnload(
            pb.RepositoryModelUnloadRequest(model_name=name), metadata=self.control
        )

    async def infer(self, ids, *, name: str | None = None) -> np.ndarray:
        request = infer_request(name or self.name, np.asarray(ids, np.int64))
        reply = await self.stub.ModelInfer(request, timeout=DEADLINE)
        return np.frombuffer(reply.raw_output_contents[0], np.float32).reshape(
            tuple(reply.outputs[0].shape)
        )

    async def executions(self) -> tuple[int, int]:
        """Return how many rows and how many calls of the model there were."""
        reply = await self.stub.ModelStatistics(
            pb.ModelStatisticsRequest(name=self.name), metadata=self.control
        )
        (found,) = reply.model_stats
        return found.inference_count, found.execution_count

    def close(self) -> None:
        async def end() -> None:
            await self.channel.close()
            await self.server.close()
            await self.server.close()

        self.run(end())
        self.runner.close()


def channel(access, *, ca=None, cert=None, key=None) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(
        ca or access.ca, access.key if cert is None else key, cert or access.cert
    )
    return grpc.aio.secure_channel(access.address, credentials)


@pytest.fixture(scope="module")
def installed() -> None:
    if importlib.util.find_spec("pytriton") is None:
        reason = "the Triton server is not installed (pip install 'wardgate[triton]')"
        if os.environ.get("CI") == "true":
            pytest.fail(f"needed on CI: {reason}")
        pytest.skip(reason)


@pytest.fixture(scope="module")
def bench(installed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton")
    folder.chmod(0o700)  # as a gateway's state folder: no other user finds a way through it
    found = Bench(folder)
    yield found
    found.close()


def descendants(pid: int) -> set[int]:
    found = set()
    with contextlib.suppress(FileNotFoundError):  # a thread or process that ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found |= {int(child)} | descendants(int(child))
    return found


def await_end(pid: int) -> None:
    """Wait until a process that may not be our child has ended."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            assert select.select([descriptor], [], [], DEADLINE)[0], f"{pid} lives on"
        finally:
            os.close(descriptor)


# -- what it answers ------------------------------------------------------------------------------


def test_the_shipped_model_gives_what_it_gives_without_triton(bench) -> None:
    model = Store().load("sentiment")
    # few warm-ups: what they are for is checked elsewhere
    name = export.write(model, bench.repository, export.Options(max_batch_size=4)).name
    ids = np.array([[101, *range(2000, 2014), 102]] * 3, np.int64)

    async def call() -> np.ndarray:
        await bench.load(name)
        try:
            return await bench.infer(ids, name=name)
        finally:
            await bench.unload(name)

    session = onnxruntime.InferenceSession(model.graph)
    (direct,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    np.testing.assert_allclose(bench.run(call()), direct, atol=1e-5)


def test_a_queue_policy_keeps_order_and_deadlines(bench) -> None:
    """Interactive rows pass bulk rows that came first, and what waited for too long is refused.

    The batcher may sleep through the moment in which the model gets free, for half a second.
    """
    options = export.Options(max_batch_size=2, queue_policy=True)
    model = tiny(tiny_models.fingerprint().graph, version="levels")
    name = export.write(model, bench.repository, options).name
    order: list[str] = []

    async def call(label: str, ids, level: int, timeout_us: int) -> grpc.StatusCode:
        request = infer_request(name, np.asarray(ids, np.int64))
        request.parameters["priority"].uint64_param = level
        request.parameters["timeout"].int64_param = timeout_us
        try:
            await bench.stub.ModelInfer(request, timeout=DEADLINE)
        except grpc.aio.AioRpcError as error:
            return error.code()
        order.append(label)
        return grpc.StatusCode.OK

    async def all_of_them() -> list[grpc.StatusCode]:
        await bench.load(name)
        try:
            slow = [[SLOW_ID] * 16] * 2
            bulk = [asyncio.create_task(call(f"bulk {n}", slow, 2, 30_000_000)) for n in range(12)]
            await bulk[0]
            late = call("late", slow, 2, 1)
            quick = call("interactive", [[8] * 16] * 2, 1, 30_000_000)
            return await asyncio.gather(late, quick, *bulk)
        finally:
            await bench.unload(name)

    late, *served = bench.run(all_of_them())
    assert set(served) == {grpc.StatusCode.OK}
    assert late is not grpc.StatusCode.OK
    assert order[-1] != "interactive"


def test_calls_of_two_lengths_join_and_each_gets_its_own_rows(bench) -> None:
    calls = [[[place + 1] * (16 if place % 2 else 32)] * (1 + place % 3) for place in range(24)]
    asked = 1 + sum(map(len, calls))

    async def together():
        before = await bench.executions()
        slow = asyncio.create_task(bench.infer([[SLOW_ID] * 16]))  # the others wait meanwhile
        found = await asyncio.gather(slow, *(bench.infer(rows) for rows in calls))
        async with asyncio.timeout(10):  # Triton counts a call a little after it has answered it
            while (after := await bench.executions())[0] < before[0] + asked:
                pass
        return found[1:], after[0] - before[0], after[1] - before[1]

    found, rows, executions = bench.run(together())
    for rows_of_call, logits in zip(calls, found, strict=True):
        np.testing.assert_array_equal(logits, expected(rows_of_call))
    assert rows == asked
    assert executions <= 1 + len(calls) // 4


def test_a_model_that_fails_says_no_more_than_that(bench) -> None:
    broken = export.write(tiny(b"no graph", name="broken"), bench.repository).name
    with pytest.raises(grpc.aio.AioRpcError):
        bench.run(bench.load(broken))
    assert f"Triton could not load the model {broken}." in bench.notices
    assert bench.run(bench.stub.ServerReady(pb.ServerReadyRequest())).ready


def test_two_versions_stand_side_by_side(bench) -> None:
    second = export.write(tiny(tiny_models.fingerprint().graph, version="2"), bench.repository).name
    assert second != bench.name

    async def both():
        await bench.load(second)
        found = await asyncio.gather(bench.infer([[7] * 16]), bench.infer([[7] * 16], name=second))
        await bench.unload(second)
        return found

    first, other = bench.run(both())
    np.testing.assert_array_equal(first, other)


def test_a_warm_model_has_its_priority_and_its_cores_back(bench) -> None:
    for pid in descendants(bench.pid):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it may have ended
            for thread in Path(f"/proc/{pid}/task").iterdir():
                usual = os.getpriority(os.PRIO_PROCESS, bench.pid)
                assert os.getpriority(os.PRIO_PROCESS, int(thread.name)) == usual
                assert os.sched_getscheduler(int(thread.name)) == os.SCHED_OTHER
                assert os.sched_getaffinity(int(thread.name)) == os.sched_getaffinity(bench.pid)


# -- to whom --------------------------------------------------------------------------------------

STRANGER = """
import sys, grpc
from tritonclient.grpc import service_pb2 as pb, service_pb2_grpc
address, ca = sys.argv[1], sys.stdin.buffer.read()
channels = [grpc.insecure_channel(address),
            grpc.secure_channel(address, grpc.ssl_channel_credentials(ca))]
for channel in channels:
    try:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive(pb.ServerLiveRequest(), timeout=5)
    except grpc.RpcError as error:
        print(error.code().name)
    else:
        print("ANSWERED")
"""


def test_a_second_process_without_the_certificate_gets_nothing(bench) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, bench.access.address],
        input=bench.access.ca,
        capture_output=True,
        check=True,
        timeout=DEADLINE,
    )
    assert done.stdout.split() == [b"UNAVAILABLE", b"UNAVAILABLE"]


def test_the_certificate_of_another_start_gets_nothing(bench) -> None:
    import datetime as dt

    other = issue(dt.datetime.now(dt.UTC))

    async def call() -> None:
        async with channel(bench.access, cert=other.client, key=other.client_key) as stranger:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(stranger)
            await stub.ServerLive(pb.ServerLiveRequest(), timeout=5)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        bench.run(call())
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


OPEN = {"ServerLive", "ServerReady", "ModelReady", "ModelInfer", "ModelStreamInfer"}
METHODS = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
"""All of Triton's service, by its own description."""


@pytest.mark.parametrize("method", sorted(m.name for m in METHODS if m.name not in OPEN))
@pytest.mark.parametrize("wrong", [False, True], ids=["no key", "a wrong key"])
def test_the_certificate_alone_reaches_no_control(bench, method, wrong) -> None:
    request = (
        getattr(pb, f"{method}Request", None)
        or {
            "RepositoryIndex": pb.RepositoryIndexRequest,
        }[method]
    )
    metadata = ((bench.access.header, "0" * 64),) if wrong else None
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        bench.run(as_coroutine(getattr(bench.stub, method)(request(), metadata=metadata)))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "restricted" in refused.value.details()
    assert bench.access.secret not in refused.value.details()


async def as_coroutine(call):
    return await call


def test_it_listens_on_one_port_of_loopback(bench) -> None:
    inodes = set()
    for pid in {bench.pid} | descendants(bench.pid):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(descriptor.readlink().name)
    listening = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{bench.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if f"socket:[{fields[9]}]" in inodes and (fields[3] == "0A" or table[:3] == "udp"):
                listening.append(fields[1])
    port = int(bench.access.address.partition(":")[2])
    loopback = f"{socket.inet_aton('127.0.0.1')[::-1].hex().upper()}:{port:04X}"
    mapped = "0000000000000000FFFF0000"  # gRPC listens on ::ffff:127.0.0.1 where there is IPv6
    assert [address.removeprefix(mapped) for address in listening] == [loopback]


def test_it_has_neither_the_gateways_user_nor_its_variables(bench) -> None:
    for pid in {bench.pid} | descendants(bench.pid):
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        assert status["NoNewPrivs"].strip() == "1"
        if bench.access.uid is not None:
            assert set(status["Uid"].split()) == {str(bench.access.uid)} != {str(os.geteuid())}
            assert status["Groups"].strip() == ""
            assert int(status["CapEff"], 16) == 0
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"WARDGATE" not in environ
        assert not {entry.partition(b"=")[0] for entry in environ.split(b"\0")} & {
            b"HOME", b"USER", b"SSH_AUTH_SOCK",
        }  # fmt: skip
        limits = Path(f"/proc/{pid}/limits").read_text()
        (core,) = (line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]


def test_its_shared_memory_is_its_users_alone(bench) -> None:
    regions = list(Path("/dev/shm").glob(f"{bench.server._process._memory.prefix}*"))
    assert regions
    assert {region.stat().st_mode & 0o777 for region in regions} == {0o600}


def test_no_key_lies_on_the_disk_and_none_is_shown(bench) -> None:
    stored = [path for path in bench.home.rglob("*") if path.is_file()]
    assert stored
    assert not any(b"PRIVATE KEY" in path.read_bytes() for path in stored)
    assert bench.home.stat().st_mode & 0o777 == 0o700
    assert "PRIVATE" not in repr(bench.access)
    assert bench.access.secret not in repr(bench.access)


# -- how it ends ----------------------------------------------------------------------------------


def test_one_that_is_killed_is_started_again_at_the_same_address(bench) -> None:
    old = {bench.pid} | descendants(bench.pid)
    old_regions = bench.server._process._memory.prefix
    os.kill(bench.pid, signal.SIGKILL)

    async def again() -> list[bool]:
        changes = [await bench.changes.get(), await bench.changes.get()]
        await bench.load(bench.name)
        return changes

    assert bench.run(again()) == [False, True]
    assert bench.pid not in old
    np.testing.assert_array_equal(bench.run(bench.infer([[3] * 16])), expected([[3] * 16]))
    assert bench.server.access == bench.access
    for pid in old:
        await_end(pid)
    assert not list(Path("/dev/shm").glob(f"{old_regions}*"))


def test_one_that_hangs_is_killed_and_started_again(bench, monkeypatch) -> None:
    monkeypatch.setattr(tritonprocess, "PROBE_SECONDS", 0.1)
    monkeypatch.setattr(tritonprocess, "PROBE_TIMEOUT", 0.3)
    old = bench.pid
    os.kill(old, signal.SIGSTOP)

    async def again() -> list[bool]:
        changes = [await bench.changes.get(), await bench.changes.get()]
        await bench.load(bench.name)
        return changes

    assert bench.run(again()) == [False, True]
    await_end(old)


def test_nothing_is_left_after_close(installed, tmp_path) -> None:
    bench = Bench(tmp_path)
    processes = {bench.pid} | descendants(bench.pid)
    regions = bench.server._process._memory.prefix
    assert len(processes) > 1
    bench.close()
    for pid in processes:
        await_end(pid)
    assert not list(Path("/dev/shm").glob(f"{regions}*"))
    assert not list(bench.home.iterdir())


ORPHANS = """
import asyncio, sys
from pathlib import Path
import grpc
from tritonclient.grpc import service_pb2 as pb, service_pb2_grpc
from wardgate.engine.tritonserver import TritonServer

async def main():
    folder, name = Path(sys.argv[1]), sys.argv[2]
    server = TritonServer(folder / "models", home=folder / "home")
    access = await server.start()
    credentials = grpc.ssl_channel_credentials(access.ca, access.key, access.cert)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(
        grpc.aio.secure_channel(access.address, credentials))
    await stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=name),
                                   metadata=((access.header, access.secret),), timeout=60)
    request = pb.ModelInferRequest.FromString(bytes.fromhex(sys.argv[3]))
    await stub.ModelInfer(request)
    print(server._process._native.pid, flush=True)
    while True:
        await asyncio.gather(*(stub.ModelInfer(request) for _ in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("token", [5, SLOW_ID], ids=["busy", "in a long run"])
def test_it_dies_with_a_gateway_that_is_killed(installed, tmp_path, token) -> None:
    name = export.write(tiny(tiny_models.fingerprint().graph), tmp_path / "models").name
    call = infer_request(name, np.full((4, 16), token, np.int64)).SerializeToString().hex()
    with subprocess.Popen(
        [sys.executable, "-c", ORPHANS, str(tmp_path), name, call], stdout=subprocess.PIPE
    ) as gateway:
        processes = set()
        try:
            assert gateway.stdout is not None
            pid = int(gateway.stdout.readline())
            processes = {pid} | descendants(pid)
            assert len(processes) > 1
        finally:
            gateway.kill()
    for pid in processes:
        await_end(pid)


def test_a_server_that_cannot_start_says_so(installed, tmp_path, monkeypatch) -> None:
    from wardgate.errors import EngineUnavailable

    server = TritonServer(tmp_path / "missing", home=tmp_path / "home")
    with pytest.raises(EngineUnavailable, match="could not be launched"):
        asyncio.run(server.start())
    (tmp_path / "models").mkdir()
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, monkeypatch.context() as patch:
        patch.setattr(tritonserver, "_free_port", lambda: taken.getsockname()[1])
        server = TritonServer(tmp_path / "models", home=tmp_path / "home")
        with pytest.raises(EngineUnavailable, match="ended while it started"):
            asyncio.run(server.start())
    assert not list((tmp_path / "home").iterdir())
