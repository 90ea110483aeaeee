"""Attacks on running deployments, each an actual request, and what came of it.

A part of `exposure.py`. Verdicts: `succeeds`; `refused`; `nothing there`, where the deployment has
no such part. The attacker is on the same machine, as another process, and may hold a good token for
something else. What the systems log is all that they write to standard output and error; of Wardgate
it is every file below its home besides.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx
import jwt
import servers
from cryptography.hazmat.primitives.asymmetric import ec
from tritonclient.grpc import service_pb2, service_pb2_grpc

from wardgate.auth.issuer import ALGORITHM, DevelopmentIssuer
from wardgate.engine.certificates import issue

sys.path.insert(0, str(servers.HERE.parent))
from tests.e2e.processes import Gateway, alive, descendants, gateway

STOPPING = {"malformed", "leaving"}
"""Attacks that want to stop the server."""
SUCCEEDS, REFUSED, NOTHING = "succeeds", "refused", "nothing there"
PERSON = "Quistelvane"
"""A surname that stands nowhere else."""
NOTE = f"Pt Marguerite {PERSON}, MRN 88231907, feels much better today."
EVERYTHING = ("infer:sentiment", "deid", "models:read", "models:write", "audit:read")
Found = tuple[str, str]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""RFC 9113 §3.4, with empty SETTINGS."""


@dataclass
class Target:
    """A running deployment."""

    name: str
    url: str
    path: str
    pid: int
    home: Path
    """What it writes lies below, its output among it."""
    form: Callable[[Any], Any]
    """From a text to a body."""
    grpc: str = ""
    gateway: Gateway | None = None
    metrics: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def wardgate(self) -> bool:
        """Whether callers are known here."""
        return self.gateway is not None

    def token(self, *scopes: str, **changes: Any) -> str:
        """Return a token of the issuer that the gateway trusts, with changed claims."""
        state = self.gateway.state if self.gateway else self.home / "issuer-of-nobody"
        state.mkdir(mode=0o700, exist_ok=True)
        issuer = DevelopmentIssuer.open(state)
        good = issuer.issue(subject="attacker", scopes=scopes or EVERYTHING, now=time.time())
        if not changes:
            return good
        claims = jwt.decode(good, options={"verify_signature": False}) | changes
        header = {"typ": "at+jwt", "kid": issuer.key_id}
        return jwt.encode(claims, issuer._key, algorithm=ALGORITHM, headers=header)  # noqa: SLF001

    def client(self, token: str | None = None) -> httpx.Client:
        """Return a client with that token."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def post(self, token: str | None = None, text: str = NOTE, **more: Any) -> httpx.Response:
        """Send a note."""
        with self.client(token) as client:
            return client.post(self.path, json=self.form(text), **more)

    def stub(self, token: str | None) -> Any:
        """Return a gRPC stub with its metadata."""
        channel = grpc.insecure_channel(self.grpc)
        return service_pb2_grpc.GRPCInferenceServiceStub(channel), (
            (("authorization", f"Bearer {token}"),) if token else ()
        )

    def works(self) -> bool:
        """Whether a good request is answered rightly, within half a minute."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with contextlib.suppress(httpx.HTTPError):
                if self.post(self.token(*EVERYTHING)).status_code == 200:
                    return True
            time.sleep(0.2)
        return False

    def processes(self) -> set[int]:
        """Return the processes that it is made of."""
        return {self.pid, *descendants(self.pid)}

    def written(self) -> str:
        """Return all that it has written to its files so far."""
        found = []
        for path in self.home.rglob("*"):
            if path.is_file():
                with contextlib.suppress(OSError):
                    found.append(path.read_bytes().decode("utf-8", "replace"))
        return "\n".join(found)


# -- the deployments --------------------------------------------------------------------------------


def _ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in made:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in made]


@contextmanager
def _process(home: Path, command: list[str], ready: str, **env: str) -> Iterator[int]:
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **env}, stdout=output, stderr=output, start_new_session=True
        )
    try:
        servers._wait(ready, process, 180.0)  # noqa: SLF001 -- of the same folder
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def _files() -> dict[str, str]:
    return {"MODEL": str(servers.SHIPPED / "model.onnx"),
            "TOKENIZER": str(servers.SHIPPED / "tokenizer.json")}  # fmt: skip


@contextmanager
def fastapi(home: Path) -> Iterator[Target]:
    """Run plain FastAPI as uvicorn runs it by itself, access log included."""
    (port,) = _ports(1)
    command = [sys.executable, "-m", "uvicorn", "fastapi_plain:app", "--port", str(port),
               "--app-dir", str(servers.HERE / "systems")]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with _process(home, command, f"{url}/openapi.json", **_files()) as pid:
        yield Target("fastapi", url, "/predict", pid, home, lambda text: {"text": text})


@contextmanager
def triton(home: Path) -> Iterator[Target]:
    """Run plain Triton on its defaults with the text model of `systems/triton_text.py`."""
    http, grpc_, metrics = _ports(3)
    with tempfile.TemporaryDirectory() as models:
        command = [sys.executable, str(servers.HERE / "systems" / "triton_server.py"), str(http),
                   str(grpc_), str(metrics), "sentiment", models, "16"]  # fmt: skip
        url = f"http://127.0.0.1:{http}"
        with _process(home, command, f"{url}/v2/health/ready", **_files()) as pid:
            yield Target("triton", url, "/v2/models/sentiment/infer", pid, home, _oip,
                         grpc=f"127.0.0.1:{grpc_}", metrics=f"http://127.0.0.1:{metrics}/metrics")  # fmt: skip


def _oip(text: Any) -> dict[str, Any]:
    tensor = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    return {"inputs": [tensor]}


def wardgate(name: str, *flags: str) -> Callable[[Path], Any]:
    """Return how Wardgate is run with an engine."""

    @contextmanager
    def run(home: Path) -> Iterator[Target]:
        with gateway(home, *flags, "--grpc-port", "0") as found:
            yield Target(name, found.url, "/v1/predict", found.popen.pid, home,
                         lambda text: {"model": "sentiment", "text": text}, grpc=found.grpc,
                         gateway=found, metrics=f"{found.metrics_url}/metrics")  # fmt: skip

    return run


DEPLOYMENTS: dict[str, Callable[[Path], Any]] = {
    "fastapi": fastapi,
    "triton": triton,
    "wardgate": wardgate("wardgate"),
    "wardgate-triton": wardgate("wardgate-triton", "--engine", "triton"),
}

# -- who calls --------------------------------------------------------------------------------------


def _by(reply: httpx.Response) -> Found:
    return SUCCEEDS if reply.status_code == 200 else REFUSED, f"HTTP {reply.status_code}"


def no_token(t: Target) -> Found:
    """Run the model without a token."""
    return _by(t.post())


def forged_token(t: Target) -> Found:
    """Run the model with a token signed by a key of one's own, or by none (`alg: none`)."""
    claims = jwt.decode(t.token(), options={"verify_signature": False})
    kid = jwt.get_unverified_header(t.token())["kid"]
    own = jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256",
                     headers={"typ": "at+jwt", "kid": kid})  # fmt: skip
    parts = [{"alg": "none", "typ": "at+jwt"}, claims]
    none = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
    )
    got = [t.post(token).status_code for token in (own, f"{none}.")]
    return SUCCEEDS if 200 in got else REFUSED, f"HTTP {got[0]}, {got[1]}"


def other_audience(t: Target) -> Found:
    """Run the model with a token that the same issuer made for another service."""
    return _by(t.post(t.token(aud="billing")))


def expired_token(t: Target) -> Found:
    """Run the model with a token that was good an hour ago."""
    now = int(time.time())
    return _by(t.post(t.token(iat=now - 7200, exp=now - 3600)))


def wrong_scope(t: Target) -> Found:
    """Run the model with a token that may only de-identify."""
    return _by(t.post(t.token("deid")))


def another_model(t: Target) -> Found:
    """Run a model with a token of a tenant that was given another model alone."""
    return _by(t.post(t.token("infer:triage", tenant="oncology")))


def other_tenants_codes(t: Target) -> Found:
    """Turn codes back into the values of another tenant."""
    if not t.wardgate:
        return NOTHING, "no values are kept, and no tenants"
    policy = "safe_harbor_vault"
    owner, other = (
        t.token(f"deid:{policy}", "reidentify", tenant=tenant) for tenant in ("cardio", "oncology")
    )
    with t.client(owner) as client:
        body = {"text": NOTE, "policy": policy, "patient": "p-7"}
        made = client.post("/v1/deidentify", json=body).json()["text"]
        code = made[made.index("[") : made.index("]") + 1]
        ask = {"codes": [code], "purpose": "TREAT", "reason": "a test"}
        own = client.post("/v1/reidentify", json=ask)
    assert own.status_code == 200, own.text
    with t.client(other) as client:
        return _by(client.post("/v1/reidentify", json=ask))


# -- what the model server offers besides -----------------------------------------------------------


def _offers(t: Target, path: str, body: Any, method: str, request: Any) -> Found:
    """Ask for something over HTTP and gRPC, with every scope there is."""
    token = t.token(*EVERYTHING)
    with t.client(token) as client:
        reply = client.post(path, json=body)
    said = [f"HTTP {reply.status_code}"]
    good = reply.status_code < 300
    if t.grpc:
        stub, metadata = t.stub(token)
        try:
            getattr(stub, method)(request, timeout=20, metadata=metadata)
            good, outcome = True, "OK"
        except grpc.RpcError as error:
            outcome = error.code().name
        said.append(f"gRPC {outcome}")
    if t.name == "fastapi" and not good:
        return NOTHING, "no such interface"
    return SUCCEEDS if good else REFUSED, ", ".join(said)


def list_models(t: Target) -> Found:
    """List the model repository through the server's control interface."""
    request = service_pb2.RepositoryIndexRequest()
    return _offers(t, "/v2/repository/index", {}, "RepositoryIndex", request)


def unload_model(t: Target) -> Found:
    """Take the model away from all other callers."""
    request = service_pb2.RepositoryModelUnloadRequest(model_name="sentiment")
    path = "/v2/repository/models/sentiment/unload"
    return _offers(t, path, {}, "RepositoryModelUnload", request)


def shared_memory(t: Target) -> Found:
    """Have the server map a memory region that the attacker names."""
    place = Path("/dev/shm/wardgate-attack")
    place.write_bytes(bytes(64))
    try:
        request = service_pb2.SystemSharedMemoryRegisterRequest(
            name="attack", key=f"/{place.name}", byte_size=64
        )
        body = {"key": f"/{place.name}", "offset": 0, "byte_size": 64}
        path = "/v2/systemsharedmemory/region/attacked/register"
        return _offers(t, path, body, "SystemSharedMemoryRegister", request)
    finally:
        place.unlink()


def trace(t: Target) -> Found:
    """Switch on a trace of everybody's tensors."""
    request = service_pb2.TraceSettingRequest()
    request.settings["trace_level"].value.append("TENSORS")
    request.settings["trace_rate"].value.append("1")
    body = {"trace_level": ["TENSORS"], "trace_rate": "1"}
    return _offers(t, "/v2/trace/setting", body, "TraceSetting", request)


def logging(t: Target) -> Found:
    """Switch on verbose logs."""
    request = service_pb2.LogSettingsRequest()
    request.settings["log_verbose_level"].uint32_param = 1
    return _offers(t, "/v2/logging", {"log_verbose_level": 1}, "LogSettings", request)


def statistics(t: Target) -> Found:
    """Read how much others use the model."""
    request = service_pb2.ModelStatisticsRequest(name="sentiment")
    with t.client(t.token(*EVERYTHING)) as client:
        reply = client.get("/v2/models/sentiment/stats")
    found = _offers(t, "/v2/models/stats", {}, "ModelStatistics", request)
    if found[0] == NOTHING:
        return found
    good = SUCCEEDS in found or reply.status_code == 200
    return SUCCEEDS if good else REFUSED, f"HTTP {reply.status_code}, {found[1]}"


def metrics(t: Target) -> Found:
    """Read the metrics port without a token (on loopback in all of them)."""
    if not t.metrics:
        return NOTHING, "no metrics"
    reply = httpx.get(t.metrics, trust_env=False, timeout=10)
    held = PERSON in reply.text
    return _by(reply)[0], f"HTTP {reply.status_code}; {'holds' if held else 'counts, without'} PHI"


def model_server_port(t: Target) -> Found:
    """Talk to the model server's own port: plain, by TLS without a certificate, with one's own."""
    if t.name == "triton":
        ports = [int(t.grpc.split(":")[1])]
    else:
        behind = {pid for pid, line in descendants(t.pid).items() if "/tritonserver" in line}
        ports = sorted({port for pid in behind for port in _listens(pid)})
        if not behind:
            return NOTHING, "no server behind"
    own = issue(dt.datetime.now(dt.UTC))
    said = []
    for how in ("plain", "TLS without a certificate", "TLS with a certificate of one's own"):
        for port in ports:
            try:
                said.append((how, _answers(port, how, own)))
            except OSError:  # of which an SSLError is one
                said.append((how, False))
    good = [how for how, answered in said if answered]
    return (
        SUCCEEDS if good else REFUSED,
        f"{len(ports)} port(s); answered: {', '.join(good) or 'none'}",
    )


def _answers(port: int, how: str, own: Any) -> bool:
    """Whether an HTTP/2 server says its settings."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        wire: socket.socket = plain
        if how != "plain":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            if "own" in how:
                with tempfile.TemporaryDirectory() as folder:
                    pair = Path(folder, "cert"), Path(folder, "key")
                    pair[0].write_bytes(own.client)
                    pair[1].write_bytes(own.client_key)
                    context.load_cert_chain(*pair)
            wire = context.wrap_socket(plain)
        wire.sendall(PREFACE)
        got = wire.recv(9)
        return len(got) == 9 and got[3] in (4, 8)  # SETTINGS, or WINDOW_UPDATE first


def _listens(pid: int) -> list[int]:
    """Return the TCP ports on which a process listens (proc(5), /proc/net/tcp)."""
    inodes = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(str(each.readlink()).removeprefix("socket:[").rstrip("]"))
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.append(int(fields[1].rpartition(":")[2], 16))
    return found


# -- what is sent -----------------------------------------------------------------------------------


def large_body(t: Target) -> Found:
    """Have 10 MB read from a caller without a token."""
    parts = urlsplit(t.url)
    size, sent = 10_000_000, 0
    body = json.dumps(t.form("x" * size)).encode()
    head = (f"POST {t.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n")  # fmt: skip
    began = time.perf_counter()
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as wire:
        wire.sendall(head.encode())
        time.sleep(0.5)
        wire.setblocking(False)
        early = b""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            early = wire.recv(65536)
        wire.settimeout(60)
        if early:
            return REFUSED, f"HTTP {early[9:12].decode()} before the body"
        reply = b""
        with contextlib.suppress(OSError):
            while sent < len(body):
                sent += wire.send(body[sent : sent + 65536])
            reply = wire.recv(65536)
    took = time.perf_counter() - began
    taken = SUCCEEDS if sent == len(body) else REFUSED
    said = f"HTTP {reply[9:12].decode()}" if reply else "no reply"
    return taken, f"{sent / 1e6:.0f} MB taken, then {said}, {took:.1f} s"


def slow_head(t: Target) -> Found:
    """Hold a connection for longer than 12 s without ever ending the request's head."""
    parts = urlsplit(t.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=15) as wire:
        wire.sendall(f"POST {t.path} HTTP/1.1\r\nHost: a\r\n".encode())
        began = time.monotonic()
        while time.monotonic() < began + 12:
            time.sleep(1)
            try:
                wire.sendall(b"x")
                wire.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    got = wire.recv(4096)
                    return REFUSED, f"ended after {time.monotonic() - began:.0f} s: " + (
                        f"HTTP {got[9:12].decode()}" if got else "closed"
                    )
                wire.settimeout(15)
            except OSError:
                return REFUSED, f"ended after {time.monotonic() - began:.0f} s"
    return SUCCEEDS, "still open after 12 s"


def _bad(t: Target) -> list[tuple[str, str, bytes]]:
    """Return requests with a mistake each: method, path, body."""
    as_json = lambda body: json.dumps(body).encode()
    tensor = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [NOTE]}
    named = t.path if t.path.startswith("/v2") else "/v2/models/sentiment/infer"
    return [
        ("POST", t.path, as_json(t.form({"note": NOTE}))),
        ("POST", t.path, as_json({NOTE: NOTE})),
        ("POST", t.path, as_json(t.form(NOTE))[:-3]),
        ("POST", t.path, as_json([NOTE])),
        ("POST", f"{t.path}?patient={PERSON}", as_json(t.form(NOTE))[:-1]),
        ("POST", named, as_json({"inputs": [{**tensor, "name": NOTE}]})),
        ("POST", named, as_json({"inputs": [{**tensor, "datatype": PERSON}]})),
        ("POST", named, as_json({"inputs": [tensor], "outputs": [{"name": NOTE}]})),
        ("POST", f"/v2/models/{PERSON}/infer", as_json({"inputs": [tensor]})),
        ("GET", f"/patients/{PERSON}", b""),
    ]


def echo(t: Target) -> Found:
    """Get PHI of a bad request repeated in the error, where others may log or show it."""
    total, repeated = 0, 0
    with t.client(t.token(*EVERYTHING)) as client:
        for method, path, body in _bad(t):
            headers = {"content-type": "application/json"}
            reply = client.request(method, path, content=body, headers=headers)
            total += reply.status_code >= 400
            repeated += reply.status_code >= 400 and PERSON in reply.text
    if t.grpc:
        stub, metadata = t.stub(t.token(*EVERYTHING))
        for name, tensor in ((PERSON, "text"), ("sentiment", PERSON)):
            request = service_pb2.ModelInferRequest(model_name=name)
            request.inputs.add(name=tensor, datatype="BYTES", shape=[1, 1])
            request.raw_input_contents.append(len(NOTE).to_bytes(4, "little") + NOTE.encode())
            try:
                stub.ModelInfer(request, timeout=20, metadata=metadata)
            except grpc.RpcError as error:
                total += 1
                repeated += PERSON in str(error.details())
    return SUCCEEDS if repeated else REFUSED, f"{repeated} of {total} errors repeat it"


def logged(t: Target) -> Found:
    """Find PHI in what the server wrote, after good and bad requests (those of `echo`)."""
    t.post(t.token())
    time.sleep(1.0)
    held = t.written().count(PERSON)
    return SUCCEEDS if held else REFUSED, f"{held} times in its logs and files"


def malformed(t: Target) -> Found:
    """Stop the server by tensors and bodies that are none."""
    before = t.processes()
    token = t.token(*EVERYTHING)
    statuses = []
    depth = b"[" * 200_000
    with t.client(token) as client:
        for content in (depth, b'{"text":"\\ud800"}', b"\xff\xfe\x00", b"{" * 1_000_000, b""):
            for path in (t.path, "/v2/models/sentiment/infer"):
                headers = {"content-type": "application/json"}
                statuses.append(_status(client, path, content, headers))
        for shape, data in (
            ([-1, 1], [NOTE]), ([2**62, 2**62], [NOTE]), ([1, 1], []), ([1, 1], [[[[1]]]]),
            ([1, 1], ["\ud800"]), ([0, 0], []), ([1] * 64, [NOTE]),
        ):  # fmt: skip
            tensor = {"name": "text", "shape": shape, "datatype": "BYTES", "data": data}
            content = json.dumps({"inputs": [tensor]}).encode()
            path = "/v2/models/sentiment/infer"
            statuses.append(_status(client, path, content, {"content-type": "application/json"}))
        for length in ("0", "-1", "99999999999", "x"):
            headers = {"inference-header-content-length": length}
            statuses.append(_status(client, "/v2/models/sentiment/infer", bytes(64), headers))
    if t.grpc:
        stub, metadata = t.stub(token)
        for shape, raw in (
            ([1, 1], (2**32 - 1).to_bytes(4, "little") + b"abc"), ([1, 1], b""), ([-5, 1], b"abcd"),
            ([2**40, 2**40], bytes(8)), ([1, 1], b"\x03\0\0\0\xff\xfe\xfd"), ([], bytes(4)),
        ):  # fmt: skip
            request = service_pb2.ModelInferRequest(model_name="sentiment")
            request.inputs.add(name="text", datatype="BYTES", shape=shape)
            request.raw_input_contents.append(raw)
            try:
                stub.ModelInfer(request, timeout=20, metadata=metadata)
                statuses.append(200)
            except grpc.RpcError as error:
                statuses.append(error.code().name)
    return _standing(t, before, f"{len(statuses)} requests")


def _status(client: httpx.Client, path: str, content: bytes, headers: dict[str, str]) -> Any:
    try:
        return client.post(path, content=content, headers=headers).status_code
    except httpx.HTTPError as error:
        return type(error).__name__


def _standing(t: Target, before: set[int], what: str) -> Found:
    ended = [pid for pid in before if not alive(pid)]
    works = t.works()
    said = f"{what}; {len(ended)} processes ended; " + ("serves" if works else "does not serve")
    return REFUSED if works and not ended else SUCCEEDS, said


def leaving(cancels: int) -> Callable[[Target], Found]:
    """Return the attack of callers that give up their calls."""

    def attack(t: Target) -> Found:
        before = t.processes()
        given_up = asyncio.run(_leave(t, cancels))
        return _standing(t, before, f"{given_up} calls given up")

    attack.__doc__ = "Stop the server by giving up calls at all moments."
    return attack


async def _leave(t: Target, cancels: int) -> int:
    token = t.token(*EVERYTHING)
    metadata = (("authorization", f"Bearer {token}"),) if t.wardgate else ()
    request = service_pb2.ModelInferRequest(model_name="sentiment")
    request.inputs.add(name="text", datatype="BYTES", shape=[1] if t.wardgate else [1, 1])
    request.raw_input_contents.append(len(NOTE).to_bytes(4, "little") + NOTE.encode())
    left = 0

    async def leave(call: Callable[[], Any], number: int) -> None:
        nonlocal left
        task = asyncio.ensure_future(call())
        await asyncio.sleep(0.001 * (number % 40))
        left += not task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, grpc.RpcError, httpx.HTTPError):
            await task

    end = time.monotonic() + 120

    def goes_on() -> bool:
        return left < cancels and alive(t.pid) and time.monotonic() < end

    if t.grpc:
        async with grpc.aio.insecure_channel(t.grpc) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

            async def infer() -> None:
                await stub.ModelInfer(request, timeout=20, metadata=metadata)

            await _rounds(leave, infer, goes_on=goes_on)
    else:
        async with httpx.AsyncClient(base_url=t.url, trust_env=False, timeout=20) as client:

            async def post() -> None:
                await client.post(t.path, json=t.form(NOTE))

            await _rounds(leave, post, goes_on=goes_on)
    await asyncio.sleep(0.2)  # what gRPC's poller still has to say
    return left


async def _rounds(leave: Any, call: Any, *, goes_on: Callable[[], bool]) -> None:
    number = 0
    while goes_on():
        await asyncio.gather(*(leave(call, number + place) for place in range(8)))
        number += 9


# -- the record -------------------------------------------------------------------------------------


def changed_record(t: Target) -> Found:
    """Change one audit record in the file, with the server stopped, unnoticed by the check."""
    return _tampered(t, "UPDATE records SET record = CAST(replace(record, 'attacker', 'somebody') "
                        "AS BLOB) WHERE seq = (SELECT max(seq) FROM records WHERE kind = 'intent')")  # fmt: skip


def removed_record(t: Target) -> Found:
    """Take the last audit records away, with the server stopped, unnoticed by the check."""
    return _tampered(t, "DELETE FROM records WHERE seq > (SELECT max(seq) - 3 FROM records)")


def _tampered(t: Target, statement: str) -> Found:
    if t.gateway is None:
        return NOTHING, "no record of calls"
    if t.gateway.popen.poll() is None:
        t.gateway.stop()
    good = t.gateway.verify()
    assert good.returncode == 0, good.stdout + good.stderr
    audit = t.gateway.state / "audit"
    saved = t.home / "saved"
    shutil.copytree(audit, saved)
    try:
        (store,) = [p for p in audit.iterdir() if p.read_bytes()[:15] == b"SQLite format 3"]
        with contextlib.closing(sqlite3.connect(store)) as database:
            count = database.execute(statement).rowcount
            database.commit()
        assert count > 0
        after = t.gateway.verify()
    finally:
        shutil.rmtree(audit)
        saved.rename(audit)
    return SUCCEEDS if after.returncode == 0 else REFUSED, _finding(after)


def _finding(after: subprocess.CompletedProcess[str]) -> str:
    said = next((line for line in (after.stdout + after.stderr).splitlines() if line), "")
    return f"`audit verify` ends with {after.returncode}: {said[:90]}"


def older_copy(t: Target) -> Found:
    """Put whole older copies of all audit files back, with the server stopped."""
    if t.gateway is None:
        return NOTHING, "no record of calls"
    if t.gateway.popen.poll() is None:
        t.gateway.stop()
    audit = t.gateway.state / "audit"
    saved = t.home / "older"
    shutil.copytree(audit, saved)
    with gateway(t.home) as again:
        token = again.token(*EVERYTHING)
        with again.client(headers={"authorization": f"Bearer {token}"}) as client:
            client.post("/v1/predict", json={"model": "sentiment", "text": NOTE}).raise_for_status()
        again.stop()
        shutil.rmtree(audit)
        saved.rename(audit)
        after = again.verify()
    return SUCCEEDS if after.returncode == 0 else REFUSED, _finding(after)


def attacks(cancels: int) -> list[Callable[[Target], Found]]:
    """Return all attacks in their order: what may end the server comes late."""
    give_up = leaving(cancels)
    give_up.__name__ = "leaving"
    return [
        no_token, forged_token, other_audience, expired_token, wrong_scope, another_model,
        other_tenants_codes, list_models, unload_model, shared_memory, trace, logging, statistics,
        metrics, model_server_port, large_body, slow_head, echo, logged, malformed, give_up,
        changed_record, removed_record, older_copy,
    ]  # fmt: skip


def run(cancels: int, names: Sequence[str], before: dict[str, Any]) -> dict[str, Any]:
    """Try every attack on the deployments `names`; of the others `before` is kept.

    A deployment that an attack has stopped is started anew for the next.
    """
    each: dict[str, Any] = before.get("each", {})
    for name in names:
        left = deque(attacks(cancels))
        while left:
            with tempfile.TemporaryDirectory() as folder:
                home = Path(folder)
                home.chmod(0o700)
                with DEPLOYMENTS[name](home) as target:
                    if not target.works():
                        raise RuntimeError(f"{name} does not serve")
                    serves = True
                    while left and serves:
                        attack = left.popleft()
                        verdict, observed = _try(attack, target)
                        row = each.setdefault(attack.__name__, {})
                        row["attack"] = str(attack.__doc__).rstrip(".")
                        row[name] = {"verdict": verdict, "observed": observed}
                        print(name, attack.__name__, verdict, observed, flush=True)
                        serves = attack.__name__ not in STOPPING or verdict != SUCCEEDS
    succeed = {
        name: sum(row.get(name, {}).get("verdict") == SUCCEEDS for row in each.values())
        for name in DEPLOYMENTS
    }
    return {"succeed": succeed, "each": each}


def _try(attack: Callable[[Target], Found], target: Target) -> Found:
    try:
        return attack(target)
    except httpx.HTTPError as error:
        return REFUSED, type(error).__name__
