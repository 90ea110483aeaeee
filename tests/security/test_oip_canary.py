"""PHI in every place of the Open Inference Protocol is found nowhere but where it was sent from."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from tests.e2e.processes import Gateway, gateway, until
from tests.security.test_canary import HEADERS, MARK, NEEDLES, NOTE, PHI_BY_TYPE, assert_clean
from tritonclient.grpc import service_pb2

NAME, MRN = PHI_BY_TYPE["NAME"], PHI_BY_TYPE["MRN"]
SERVICE = "/inference.GRPCInferenceService/"
INFER = "/v2/models/sentiment/infer"


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "text", "datatype": "BYTES", "shape": [1], "data": [NOTE], **changes}


CONTEXT = {"patient": MRN, "purpose": "TREAT", "reference_date": "2024-03-14"}
GOOD = {"inputs": [tensor()], "parameters": CONTEXT}
REFUSED: list[dict[str, Any]] = [
    {**GOOD, "id": NAME},
    {**GOOD, "parameters": {MARK: MARK}},
    *({**GOOD, "parameters": {name: MARK}} for name in (
        "purpose", "policy", "priority", "timeout", "timeout_ms", "reference_date", "sequence_id",
    )),
    {**GOOD, "parameters": {"policy": NAME}},
    {**GOOD, "parameters": {"patient": NAME * 20}},
    {**GOOD, "outputs": [{"name": MARK}]},
    {**GOOD, "outputs": [{"name": "text", "parameters": {MARK: MARK}}]},
    {"inputs": [tensor(name=MARK)]},
    {"inputs": [tensor(datatype=MARK)]},
    {"inputs": [tensor(shape=[2])]},
    {"inputs": [tensor(parameters={"shared_memory_region": MARK})]},
    {"inputs": [tensor(), tensor(name=MARK)]},
    {"inputs": [tensor(data=[NOTE * 500])]},
    {"inputs": [tensor(data=[NOTE * 100])], "parameters": {"timeout_ms": 1}},
]  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two workers, with processes for long texts: every place that sees a note."""
    home = tmp_path_factory.mktemp("canary")
    with gateway(home, "--workers", "2", "--grpc-port", "0") as found:
        yield found


def message(body: dict[str, Any]) -> bytes:
    """Return a body of HTTP as the message that says the same, as far as it can."""
    found = service_pb2.ModelInferRequest(
        model_name=body.get("model", "sentiment"), id=body.get("id", "")
    )
    for each in body["inputs"]:
        sent = found.inputs.add(name=each["name"], datatype=each["datatype"], shape=each["shape"])
        sent.contents.bytes_contents.extend(text.encode() for text in each["data"])
        _fill(sent.parameters, each.get("parameters", {}))
    for each in body.get("outputs", []):
        _fill(found.outputs.add(name=each["name"]).parameters, each.get("parameters", {}))
    _fill(found.parameters, body.get("parameters", {}))
    return found.SerializeToString()


def _fill(parameters: Any, given: dict[str, Any]) -> None:
    for name, value in given.items():
        kind = "string_param" if isinstance(value, str) else "int64_param"
        setattr(parameters[name], kind, value)


class Sender:
    """Sends over both transports, and looks through all that comes back."""

    def __init__(self, found: Gateway) -> None:
        self.gateway = found
        self.codes: set[object] = set()

    def http(self, path: str, content: bytes, **headers: str) -> httpx.Response:
        limits = httpx.Limits(max_keepalive_connections=0)  # so that both workers see all
        with self.gateway.client(limits=limits) as client:
            sent = {**HEADERS, **self.gateway.bearer(), **headers}
            reply = client.post(path, content=content, headers=sent)
        head = "\n".join(f"{name}: {value}" for name, value in reply.headers.items())
        assert NEEDLES.found(head.encode() + reply.content) == []
        self.codes.add(reply.status_code)
        return reply

    def grpc(self, method: str, content: bytes, **metadata: str) -> bytes | None:
        own = [("grpc.use_local_subchannel_pool", 1), ("grpc.primary_user_agent", MARK)]
        metadata = {**HEADERS, **self.gateway.bearer(), **metadata}
        # names that gRPC keeps for itself
        given = [(name, value) for name, value in metadata.items() if name != "user-agent"]
        given.append(("patient-bin", NOTE.encode()))  # type: ignore[arg-type]
        with grpc.insecure_channel(self.gateway.grpc, own) as channel:
            try:
                reply, call = channel.unary_unary(method).with_call(
                    content, metadata=given, timeout=30
                )
            except grpc.RpcError as error:
                said = [error.details(), *(f"{k}: {v}" for k, v in error.trailing_metadata())]
                reply, code = None, error.code()
            else:
                code = call.code()
                said = [f"{k}: {v}" for k, v in call.trailing_metadata()]
                said.append(reply.decode("latin-1"))
        assert NEEDLES.found("\n".join(map(str, said)).encode()) == []
        self.codes.add(code)
        return reply


@pytest.fixture
def sender(running: Gateway) -> Sender:
    return Sender(running)


def test_success_shows_nothing(sender: Sender) -> None:
    for _ in range(4):
        assert sender.http(INFER, json.dumps(GOOD).encode()).status_code == 200
        assert sender.grpc(SERVICE + "ModelInfer", message(GOOD)) is not None


@pytest.mark.parametrize("body", REFUSED, ids=range(len(REFUSED)))
def test_refusals_show_nothing(sender: Sender, body: dict[str, Any]) -> None:
    assert sender.http(INFER, json.dumps(body).encode()).status_code >= 400
    assert sender.grpc(SERVICE + "ModelInfer", message(body)) is None


def test_other_bytes_and_places_show_nothing(sender: Sender) -> None:
    good = json.dumps(GOOD).encode()
    for content in (NOTE.encode(), good[:-1], NOTE.encode("utf-16-le"), good + good):
        assert sender.http(INFER, content).status_code in (400, 422)
        assert sender.grpc(SERVICE + "ModelInfer", content) is None
    for length in (MARK, str(len(good) - 5), str(len(good) + 5)):
        headers = {"inference-header-content-length": length}
        assert sender.http(INFER, good, **headers).status_code in (400, 422)
    for path in (f"/v2/models/{MARK.lower()}/infer", f"/v2/models/{MARK}/infer",
                 f"/v2/models/sentiment/versions/{MARK}/infer", f"/v2/{MARK}",
                 f"/v2/repository/models/{MARK}/load", f"/v2/models/sentiment/infer/{MARK}"):  # fmt: skip
        assert sender.http(path, good).status_code in (403, 404)
    for token in (MARK, f"{MARK}.{MARK}.{MARK}"):
        assert sender.http(INFER, good, authorization=f"Bearer {token}").status_code == 401
        sender.grpc(SERVICE + "ModelInfer", message(GOOD), authorization=f"Bearer {token}")
    for model in (MARK, NAME, NOTE):
        assert sender.grpc(SERVICE + "ModelInfer", message({**GOOD, "model": model})) is None
        for kind in ("ModelReady", "ModelMetadata", "ModelConfig"):
            request = service_pb2.ModelReadyRequest(name=model, version=MARK)
            assert sender.grpc(SERVICE + kind, request.SerializeToString()) is None
    for method in (f"/{MARK}/{MARK}", SERVICE + MARK, SERVICE + "ModelStreamInfer"):
        assert sender.grpc(method, NOTE.encode()) is None
    sender.grpc(SERVICE + "ModelInfer", NOTE.encode() * 10_000)
    sender.grpc(SERVICE + "ModelInfer", message(GOOD), **{"x-large": MARK * 2_000})


def test_an_id_stands_in_its_reply_alone(sender: Sender) -> None:
    body = {**GOOD, "id": MARK}
    with sender.gateway.client(headers=sender.gateway.bearer()) as client:
        assert client.post(INFER, json=body).json()["id"] == MARK


def test_nothing_is_left_anywhere(running: Gateway) -> None:
    """The last: metrics, logs, records and every file, of both workers, running and ended."""
    wanted = ['route="/v2/models/{model}/infer"', f'route="{SERVICE}ModelInfer"']
    until(lambda: all(running.metric("wardgate_requests_total", each) > 3 for each in wanted))
    metrics = running.metrics().encode()
    assert NEEDLES.found(metrics) == []
    assert_clean(running)
    assert running.stop(signal.SIGTERM) == 0
    assert_clean(running)
    done = running.verify()
    assert done.returncode == 0, done.stdout + done.stderr
    assert NEEDLES.found((done.stdout + done.stderr).encode()) == []
