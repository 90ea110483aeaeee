"""The Open Inference Protocol over gRPC: metadata first, the message after, and our own words."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
import pytest_asyncio
from tritonclient.grpc import service_pb2

from wardgate.audit.read import search
from wardgate.errors import BodyInvalid, Overloaded, TokenInvalid, WardgateError, tree
from wardgate.setting_groups import Limits
from wardgate.web.grpc_server import GrpcLimits, GrpcServer
from wardgate.web.middleware import open_call
from wardgate.web.oip_grpc import Calls, address, inference, status_code, trailing
from wardgate.web.oip_models import OipModels

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERVICE = "/inference.GRPCInferenceService/"
NOTE = "I feel much better, Dr. Thaddeus Okonkwo was very kind."


def request(*texts: str, **fields: Any) -> service_pb2.ModelInferRequest:
    found = service_pb2.ModelInferRequest(model_name="sentiment", **fields)
    tensor = found.inputs.add(name="text", datatype="BYTES", shape=[len(texts)])
    tensor.contents.bytes_contents.extend(text.encode() for text in texts)
    return found


class Caller:
    """A caller of a real server whose messages are bytes."""

    def __init__(self, running: Any, channel: grpc.aio.Channel, calls: Calls) -> None:
        self.running, self.channel, self.calls = running, channel, calls

    def metadata(self, *scopes: str, **more: str) -> list[tuple[str, str]]:
        return [*self.running.bearer(*scopes).items(), *more.items()]

    def start(self, method: str, message: bytes = b"", **options: Any) -> Any:
        options.setdefault("metadata", self.metadata())
        return self.channel.unary_unary(SERVICE + method)(message, **options)

    async def infer(self, *texts: str, **options: Any) -> service_pb2.ModelInferResponse:
        raw = await self.start("ModelInfer", request(*texts).SerializeToString(), **options)
        return service_pb2.ModelInferResponse.FromString(raw)

    async def refused(self, method: str, message: bytes = b"", **options: Any) -> Any:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.start(method, message, **options)
        assert "Okonkwo" not in str(raised.value)
        return raised.value


@pytest.fixture
def serve(running) -> Callable[..., Any]:
    """Return a way to serve the shared gateway over gRPC."""
    servers: list[GrpcServer] = []

    async def started(found: Any = running, **limits: Any) -> Caller:
        bounds = Limits(**limits)
        calls = Calls(
            OipModels(found.gateway.flow, bounds, found.gateway.tensors),
            found.gateway.readiness,
            digest=lambda _: "0" * 64,
            gateway_version="1",
        )
        server = GrpcServer(
            calls, "127.0.0.1", 0, limits=GrpcLimits(message_bytes=bounds.body_bytes)
        )
        await server.start()
        servers.append(server)
        return Caller(found, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}"), calls)

    started.servers = servers  # type: ignore[attr-defined]
    return started


@pytest_asyncio.fixture(loop_scope="session")
async def caller(serve) -> AsyncIterator[Caller]:
    found = await serve()
    yield found
    await found.channel.close()
    for server in serve.servers:
        await server.drain(1.0)


# -- the order ------------------------------------------------------------------------------------


@pytest.fixture
def parsed(caller, monkeypatch) -> list[int]:
    """Lengths of the messages that were taken."""
    found: list[int] = []
    message = caller.calls._message

    async def counted(*given: Any) -> Any:
        request, raw = await message(*given)
        found.append(len(raw))
        return request, raw

    monkeypatch.setattr(caller.calls, "_message", counted)
    return found


@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady", "ModelMetadata", "ModelConfig"])
async def test_no_message_is_taken_of_a_refused_caller(caller, parsed, method) -> None:
    for metadata, code in (
        ([], grpc.StatusCode.UNAUTHENTICATED),
        ([("authorization", "Bearer x")], grpc.StatusCode.UNAUTHENTICATED),
        (caller.metadata("deid"), grpc.StatusCode.PERMISSION_DENIED),
        (caller.metadata(forwarded="for=192.0.2.1"), grpc.StatusCode.PERMISSION_DENIED),
    ):
        error = await caller.refused(method, b"x" * 500_000, metadata=metadata)
        assert error.code() is code
    assert parsed == []
    await caller.infer("fine")
    assert len(parsed) == 1


async def test_a_message_that_never_comes(serve) -> None:
    caller = await serve(body_seconds=0.1)
    call = caller.channel.stream_unary(SERVICE + "ModelInfer")(metadata=caller.metadata())
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "did not arrive within the time" in raised.value.details()
    call = caller.channel.stream_unary(SERVICE + "ModelInfer")(metadata=caller.metadata())
    await call.done_writing()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await caller.channel.close()
    await serve.servers[-1].drain(1.0)


async def test_messages_that_are_none_of_the_method(caller) -> None:
    for method in ("ModelInfer", "ModelReady", "ModelMetadata", "ModelConfig"):
        for message in (b"\xff" * 50, b"Okonkwo", b"\x0a\x07Ok\xff\xffkwo"):
            error = await caller.refused(method, message)
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


# -- replies --------------------------------------------------------------------------------------


async def test_a_reply_says_in_its_trailer_what_http_says_in_headers(caller) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    metadata = caller.metadata(
        **{
            "x-request-id": "6B0F3A52-5a1b-4a3e-9a53-2f4a4c3a9d10",
            "traceparent": f"00-{trace}-00f067aa0ba902b7-01",
        }
    )
    call = caller.start("ModelInfer", request(NOTE).SerializeToString(), metadata=metadata)
    reply = service_pb2.ModelInferResponse.FromString(await call)
    told = dict(await call.trailing_metadata())
    request_id = "6b0f3a52-5a1b-4a3e-9a53-2f4a4c3a9d10"
    assert told["x-request-id"] == request_id
    assert reply.parameters["request_id"].string_param == request_id
    assert told["traceparent"].startswith(f"00-{trace}-")
    assert "infer;dur=" in told["server-timing"]
    audit = caller.running.settings.state / "audit"
    records = [each["event"] for each in search(audit, request_id=request_id)]
    assert [each["kind"] for each in records] == ["intent", "outcome"]
    assert records[0]["trace_id"] == trace
    assert records[0]["route"] == SERVICE + "ModelInfer"


async def test_a_refusal_says_which_and_when_to_come_back(open_gateway, serve) -> None:
    async with open_gateway(admission={"quota": 1}) as running:
        caller = await serve(running)
        await caller.infer("fine")
        error = await caller.refused("ModelInfer")
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        told = dict(error.trailing_metadata())
        assert told["problem-type"] == "urn:wardgate:problem:quota-used-up"
        assert 0 < int(told["retry-after"]) <= 86_400
        await caller.channel.close()
        await serve.servers[-1].drain(1.0)


async def test_a_fault_is_told_in_our_own_words(caller, monkeypatch, caplog) -> None:
    async def broken(*_: object) -> None:
        raise ValueError(NOTE)

    monkeypatch.setattr("wardgate.flow.Flow.predict", broken)
    error = await caller.refused("ModelInfer", request(NOTE).SerializeToString())
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == WardgateError.sentence
    assert "ValueError" in caplog.text
    assert "Okonkwo" not in caplog.text


async def test_raw_contents_are_taken_too(caller) -> None:
    raw = request("")
    del raw.inputs[0].contents.bytes_contents[:]
    raw.raw_input_contents.append(len(NOTE).to_bytes(4, "little") + NOTE.encode())
    reply = service_pb2.ModelInferResponse.FromString(
        await caller.start("ModelInfer", raw.SerializeToString())
    )
    assert b"positive" in reply.raw_output_contents[0]


# -- time -----------------------------------------------------------------------------------------


@pytest.fixture
def slow(monkeypatch) -> asyncio.Event:
    """Make the engine wait; set once a call is in it."""
    entered = asyncio.Event()

    async def infer(*_: object, **__: object) -> None:
        entered.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("tests.conftest.Shared.infer", infer, raising=False)
    return entered


async def outcome(caller: Caller, request_id: str) -> dict[str, Any]:
    """Return the outcome of a request, once it is there."""
    audit = caller.running.settings.state / "audit"
    async with asyncio.timeout(20):
        while True:
            for found in search(audit, request_id=request_id, kind="outcome"):
                return found["event"]
            await asyncio.sleep(0.01)


async def test_a_caller_that_leaves_is_dropped(caller, slow) -> None:
    request_id = str(uuid.uuid4())
    metadata = caller.metadata(**{"x-request-id": request_id})
    call = caller.start("ModelInfer", request(NOTE).SerializeToString(), metadata=metadata)
    await slow.wait()
    call.cancel()
    assert (await outcome(caller, request_id))["reason"] == "client-left"


async def test_a_deadline_of_the_call_is_a_cap(caller, slow) -> None:
    request_id = str(uuid.uuid4())
    metadata = caller.metadata(**{"x-request-id": request_id})
    message = request(NOTE).SerializeToString()
    error = await caller.refused("ModelInfer", message, metadata=metadata, timeout=0.3)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    # the gateway's own clock or the caller's end, whichever is there first
    assert (await outcome(caller, request_id))["reason"] in ("deadline-exceeded", "client-left")


async def test_a_deadline_in_the_parameters(caller, slow) -> None:
    asked = request(NOTE)
    asked.parameters["timeout"].int64_param = 50_000
    error = await caller.refused("ModelInfer", asked.SerializeToString(), timeout=30)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "passed before the result was ready" in error.details()


# -- other methods --------------------------------------------------------------------------------

OTHERS = [
    *(f"inference.GRPCInferenceService/{method.name}"
      for method in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods),
    "inference.GRPCInferenceService/modelinfer",
    "inference.GRPCInferenceService/ModelInfer/",
    "inference.GRPCInferenceService//ModelInfer",
    "inference.GRPCInferenceService/%4DodelInfer",
    "inference.grpcinferenceservice/ModelInfer",
    "Inference.GRPCInferenceService/ServerLive",
    "grpc.health.v1.Health/Check",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "grpc.channelz.v1.Channelz/GetServers",
]  # fmt: skip
SERVED = {
    "ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelConfig",
    "ModelInfer",
}  # fmt: skip


UNSERVED = [name for name in OTHERS if name not in {f"{SERVICE[1:]}{each}" for each in SERVED}]


async def test_thirteen_methods_of_the_service_are_not_served() -> None:
    assert len([name for name in UNSERVED if name.startswith(SERVICE[1:])]) >= 13


@pytest.mark.parametrize("method", UNSERVED)
async def test_every_other_method_is_unimplemented(caller, method) -> None:
    scopes = ("infer:sentiment", "models:read", "models:write", "audit:read")
    for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
        start = getattr(caller.channel, kind)(f"/{method}")
        # A stream sends no message: grpc.aio's client makes INTERNAL of a status that comes while
        # it still writes (grpc/grpc#36066), one call in a thousand under load.
        given = () if kind.startswith("stream") else (b"x",)
        call = start(*given, metadata=caller.metadata(*scopes))
        assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
        assert await call.details() == "This method is not served."


# -- without a server -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "found"),
    [
        ("ipv4:192.0.2.7:50051", "192.0.2.7"),
        ("ipv6:[2001:db8::7]:1", "2001:db8::7"),
        ("ipv6:%5B2001:db8::7%5D:1", "2001:db8::7"),
        ("ipv6:[fe80::1%25eth0]:1", "fe80::1"),
        ("unix:/run/socket", None),
        ("", None),
        (None, None),
    ],
)
async def test_addresses_of_peers(peer, found) -> None:
    assert address(peer) == found


async def test_every_error_has_a_status_and_none_is_ok() -> None:
    codes = {error.slug: status_code(error()) for error in tree()}
    assert grpc.StatusCode.OK not in codes.values()
    assert codes["token-missing"] is grpc.StatusCode.UNAUTHENTICATED
    assert codes["overloaded"] is grpc.StatusCode.UNAVAILABLE
    assert codes["rate-limited"] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert codes["deadline-exceeded"] is grpc.StatusCode.DEADLINE_EXCEEDED
    assert codes["model-output-invalid"] is grpc.StatusCode.INTERNAL


async def test_trailers_are_printable_ascii() -> None:
    call = open_call([(b"x-request-id", "é".encode())])
    call.hops.mark("auth")
    for error in (None, Overloaded(retry_after=3.2), TokenInvalid()):
        found = dict(trailing(call, error))
        assert all(value.isascii() and value.isprintable() for value in found.values())
    assert dict(trailing(call, Overloaded(retry_after=3.2)))["retry-after"] == "4"


async def test_contents_are_given_once_and_as_bytes() -> None:
    good = request("a")
    assert inference(good).inputs[0].data == [b"a"]
    twice = request("a")
    twice.raw_input_contents.append(b"")
    ids = request()
    ids.inputs[0].contents.int64_contents.append(101)
    both = request("a")
    both.inputs[0].contents.fp32_contents.append(1.0)
    more = request()
    more.raw_input_contents.extend([b"", b""])
    for wrong in (twice, ids, both, more):
        with pytest.raises(BodyInvalid):
            inference(wrong)


async def test_a_parameter_without_a_value_is_refused() -> None:
    wrong = request("a")
    wrong.parameters["purpose"].SetInParent()
    with pytest.raises(BodyInvalid, match="no value"):
        inference(wrong)


@pytest.mark.parametrize("field", ["inputs", "outputs"])
async def test_no_more_tensors_than_http_takes(caller, field) -> None:
    few, many = request("a"), request("a")
    for _ in range(64 - len(getattr(few, field))):
        getattr(few, field).add(name="x")
    assert len(getattr(inference(few), field)) == 64
    for _ in range(65):
        getattr(many, field).add()
    error = await caller.refused("ModelInfer", many.SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "up to 64" in error.details()


async def test_no_more_parameters_than_http_takes() -> None:
    found = request("a")
    for name in range(65):
        found.parameters[str(name)].bool_param = True
    with pytest.raises(BodyInvalid, match="up to 64"):
        inference(found)


# -- what callers try -----------------------------------------------------------------------------


def changed(change: Callable[[Any], object]) -> bytes:
    found = request(NOTE)
    change(found)
    content: bytes = found.SerializeToString()
    return content


def parameter(name: str, **value: Any) -> Callable[[Any], object]:
    def change(found: Any) -> None:
        for field, given in value.items():
            setattr(found.parameters[name], field, given)

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.raw_input_contents.append(b"x"),
        lambda m: m.raw_input_contents.extend([b"x", b"y"]),
        lambda m: m.inputs[0].contents.int_contents.append(1),
        lambda m: m.inputs[0].ClearField("contents"),
        lambda m: m.inputs[0].contents.bytes_contents.append(b"x"),
        lambda m: m.inputs[0].contents.bytes_contents.__setitem__(0, b"\xff"),
        lambda m: m.inputs[0].shape.append(1 << 62),
        lambda m: m.inputs[0].shape.__setitem__(0, -1),
        lambda m: m.inputs[0].shape.__setitem__(0, 1 << 62),
        lambda m: m.ClearField("inputs"),
        lambda m: m.inputs[0].parameters["shared_memory_region"].CopyFrom(
            service_pb2.InferParameter(string_param="a")
        ),
        lambda m: setattr(m, "id", "Mr. Okonkwo"),
        lambda m: m.outputs.add(name="Okonkwo"),
        parameter("timeout", double_param=float("nan")),
        parameter("timeout", string_param="5"),
        parameter("timeout", int64_param=-1),
        parameter("timeout_ms", double_param=5.0),
        parameter("priority", bool_param=True),
        parameter("patient", double_param=float("inf")),
        parameter("patient", int64_param=5),
        parameter("purpose", string_param="Okonkwo"),
        parameter("Okonkwo", string_param="Okonkwo"),
        parameter("sequence_id", int64_param=1),
    ],
)  # fmt: skip
async def test_nothing_of_a_message_is_a_fault_of_ours(caller, change) -> None:
    refused = await caller.refused("ModelInfer", changed(change))
    assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_two_tokens_are_none(caller) -> None:
    bearer = tuple(caller.running.bearer().items())
    refused = await caller.refused(
        "ModelInfer", request(NOTE).SerializeToString(), metadata=bearer * 2
    )
    assert refused.code() is grpc.StatusCode.UNAUTHENTICATED
