"""The Open Inference Protocol v2 over gRPC: the calls of `inference.GRPCInferenceService`.

The order is that of HTTP: a caller is known, permitted and admitted by its metadata alone. Each
call is served as a stream of requests, so that the library hands over the metadata first; a message
is taken from it, and parsed, only for an admitted caller. Until then gRPC's core holds what flow
control lets in: `grpc_server.WINDOW` for each call at most. Every other method answers
UNIMPLEMENTED, streaming inference and all that Triton offers besides included; there is no
reflection.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError, Message
from tritonclient.grpc import model_config_pb2, service_pb2

from wardgate.errors import (
    BodyIncomplete,
    BodyInvalid,
    BodyTimeout,
    MethodNotAllowed,
    WardgateError,
)
from wardgate.flow import CLIENT_LEFT, Admitted, Head
from wardgate.types import Permission
from wardgate.web import oip, oip_reply
from wardgate.web.health import Readiness
from wardgate.web.middleware import Call, is_proxied, log_fault, open_call, server_timing
from wardgate.web.oip_models import OipModels
from wardgate.web.problems import problem, type_uri
from wardgate.web.schemas import MOST

_SERVICE = "/inference.GRPCInferenceService/"
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    431: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""gRPC's status by that of HTTP; any other is INTERNAL."""
_UNAVAILABLE = 503
_OK = 200
_CONTENTS = "bytes_contents"
"""Field of a message that holds the elements of a BYTES tensor."""

Work = Callable[["_Call"], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class _Call:
    """One call as its handler sees it."""

    call: Call
    context: grpc.aio.ServicerContext
    headers: Sequence[tuple[bytes, bytes]]

    def head(self, permission: Permission) -> Head:
        """Return what is known of the call before its message."""
        return Head(
            request_id=self.call.request_id,
            trace_id=self.call.trace_id,
            route=self.call.route,
            permission=permission,
            authorization=[value for name, value in self.headers if name == b"authorization"],
            peer=address(self.context.peer()),
            proxied=is_proxied(self.headers),
        )


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library has no types
    """The methods of the service, with what they need."""

    def __init__(
        self,
        models: OipModels,
        readiness: Readiness,
        *,
        digest: Callable[[bytes], str],
        gateway_version: str,
    ) -> None:
        """Take the models; `digest` is the keyed one of a message for the audit record, hex."""
        self._models, self._flow, self._limits = models, models.flow, models.limits
        self._readiness = readiness
        self._digest = digest
        self._version = gateway_version
        methods: dict[str, Work] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelInfer": self._model_infer,
        }
        self._methods = {
            _SERVICE + name: grpc.stream_unary_rpc_method_handler(
                functools.partial(self._serve, _SERVICE + name, work)
            )
            for name, work in methods.items()
        }
        self._unknown = grpc.stream_unary_rpc_method_handler(
            functools.partial(self._serve, "other", self._not_served)
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Return the handler of a method."""
        return self._methods.get(handler_call_details.method, self._unknown)

    async def _serve(
        self, route: str, work: Work, _: object, context: grpc.aio.ServicerContext
    ) -> bytes:
        """Answer one call: its message or its status, with what every reply carries."""
        headers = [
            (name.encode(), value if isinstance(value, bytes) else value.encode())
            for name, value in context.invocation_metadata() or ()
        ]
        call = open_call(headers)
        call.route = route
        refused: WardgateError | None = None
        reply = b""
        try:
            reply = (await work(_Call(call, context, headers))).SerializeToString()
            call.status = _OK
        except WardgateError as error:
            refused, call.status = error, error.status
        except asyncio.CancelledError:
            call.status = CLIENT_LEFT
            raise
        except Exception as error:  # noqa: BLE001 -- the library would send its text to the caller
            log_fault(error, call)
            refused, call.status = WardgateError(), WardgateError.status
        finally:
            call.hops.answered(route, call.status)
        context.set_trailing_metadata(trailing(call, refused))
        if refused is not None:
            if refused.status == _UNAVAILABLE:
                self._readiness.poke()
            await context.abort(status_code(refused), refused.detail)
        return reply

    # -- what the server and the models say of themselves -----------------------------------------

    async def _server_live(self, _: _Call) -> Message:
        return service_pb2.ServerLiveResponse(live=True)

    async def _server_ready(self, _: _Call) -> Message:
        return service_pb2.ServerReadyResponse(ready=self._readiness.ready)

    async def _server_metadata(self, call: _Call) -> Message:
        (await self._flow.enter(call.head(Permission.METADATA), call.call.hops)).leave()
        return service_pb2.ServerMetadataResponse(
            name="wardgate", version=self._version, extensions=oip_reply.EXTENSIONS
        )

    async def _model_ready(self, call: _Call) -> Message:
        await self._see(call, service_pb2.ModelReadyRequest)
        return service_pb2.ModelReadyResponse(ready=self._readiness.ready)

    async def _model_metadata(self, call: _Call) -> Message:
        shown = await self._see(call, service_pb2.ModelMetadataRequest)
        return ParseDict(shown.metadata(), service_pb2.ModelMetadataResponse())

    async def _model_config(self, call: _Call) -> Message:
        shown = await self._see(call, service_pb2.ModelConfigRequest)
        config = ParseDict(shown.config(), model_config_pb2.ModelConfig())
        return service_pb2.ModelConfigResponse(config=config)

    async def _see(self, call: _Call, kind: type[Any]) -> oip_reply.Shown:
        """Return how the model that the message names is seen."""
        admitted = await self._flow.enter(call.head(Permission.METADATA), call.call.hops)
        try:
            request, _ = await self._message(admitted, call.context, kind)
            return self._models.see(admitted, request.name, request.version)
        finally:
            admitted.leave()

    async def _not_served(self, call: _Call) -> Message:
        error = MethodNotAllowed("This method is not served.", reason="grpc-method")
        self._flow.turn_away(call.call.route, error, address(call.context.peer()))
        raise error

    # -- inference --------------------------------------------------------------------------------

    async def _model_infer(self, call: _Call) -> Message:
        admitted = await self._flow.enter(call.head(Permission.RUN), call.call.hops)
        try:
            request_id, work = await self._work(admitted, call.context)
            return _response(request_id, await work)
        finally:
            admitted.leave()

    async def _work(
        self, admitted: Admitted, context: grpc.aio.ServicerContext
    ) -> tuple[str, Awaitable[oip_reply.Answer]]:
        """Take and parse the message, and return the work to do; a refusal is recorded."""
        request, raw = await self._message(admitted, context, service_pb2.ModelInferRequest)
        left = context.time_remaining()
        with self._flow.refusing(admitted):
            return request.id, self._models.infer(
                admitted,
                inference(request),
                model=request.model_name,
                version=request.model_version,
                digest=self._digest(raw),
                cap_ms=None if left is None else int(left * 1000),
            )

    async def _message(
        self, admitted: Admitted, context: grpc.aio.ServicerContext, kind: type[Any]
    ) -> tuple[Any, bytes]:
        """Take the call's message and parse it; a refusal is recorded."""
        with self._flow.refusing(admitted):
            try:
                async with asyncio.timeout(self._limits.body_seconds):
                    raw = await context.read()
            except TimeoutError:
                raise BodyTimeout from None
            if not isinstance(raw, bytes):  # none came, or gRPC's core has refused its length
                raise BodyIncomplete("No message came that is short enough.")
            try:
                return kind.FromString(raw), raw
            except DecodeError:
                raise BodyInvalid("The message is not one of this method.") from None


# -- messages -------------------------------------------------------------------------------------


def inference(request: Any) -> oip.Inference:
    """Return a `ModelInferRequest` as the shared form has it.

    Raises BodyInvalid where raw contents and inputs do not go together, and for more tensors or
    parameters than HTTP takes: an empty one is two bytes of a message.
    """
    if len(request.inputs) > MOST or len(request.outputs) > MOST:
        raise BodyInvalid(f"A request has up to {MOST} inputs and outputs.", reason="oip-tensors")
    raw: Sequence[bytes] = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise BodyInvalid("raw_input_contents has an entry for each input.", reason="oip-raw")
    inputs: list[oip.Input] = []
    for place, tensor in enumerate(request.inputs):
        filled = [field.name for field, _ in tensor.contents.ListFields()]
        if filled and (raw or filled != [_CONTENTS]):
            raise BodyInvalid(
                "Give the data of an input once: raw, or the text as bytes_contents.",
                reason="oip-raw",
            )
        data = raw[place] if raw else list(tensor.contents.bytes_contents)
        inputs.append(
            oip.Input(
                tensor.name,
                tensor.datatype,
                tuple(tensor.shape),
                data,
                _parameters(tensor.parameters),
            )
        )
    return oip.Inference(
        request.id,
        _parameters(request.parameters),
        inputs,
        [oip.Wanted(each.name, _parameters(each.parameters)) for each in request.outputs],
    )


def _parameters(given: Any) -> dict[str, Any]:
    """Return parameters by name; one without a value is refused."""
    if len(given) > MOST:
        raise BodyInvalid(f"There are up to {MOST} parameters.", reason="oip-param")
    found = {}
    for name, parameter in given.items():
        kind = parameter.WhichOneof("parameter_choice")
        if kind is None:
            raise BodyInvalid("A parameter has no value.", reason="oip-param")
        found[name] = getattr(parameter, kind)
    return found


def _response(request_id: str, answer: oip_reply.Answer) -> Message:
    """Return the `ModelInferResponse` of an answer, its tensors in binary form."""
    response = service_pb2.ModelInferResponse(
        model_name=answer.model,
        model_version=answer.version,
        id=request_id,
        outputs=[
            service_pb2.ModelInferResponse.InferOutputTensor(
                name=output.name, datatype=output.datatype, shape=output.shape
            )
            for output in answer.outputs
        ],
        raw_output_contents=[output.raw() for output in answer.outputs],
    )
    for name, value in answer.parameters.items():
        response.parameters[name].string_param = value
    return response


# -- metadata -------------------------------------------------------------------------------------


def trailing(call: Call, refused: WardgateError | None) -> tuple[tuple[str, str], ...]:
    """Return the trailing metadata of a reply: what HTTP says in headers."""
    found = [
        ("x-request-id", call.request_id),
        ("traceparent", f"00-{call.trace_id}-{call.span_id}-{call.flags}"),
    ]
    if call.hops.seconds:
        found.append(("server-timing", server_timing(call.hops).decode()))
    if refused is not None:
        found.append(("problem-type", type_uri(type(refused))))
        _, headers, _ = problem(refused, request_id=call.request_id)
        found += [
            (name.decode(), value.decode()) for name, value in headers if name == b"retry-after"
        ]
    return tuple(found)


def status_code(error: WardgateError) -> grpc.StatusCode:
    """Return gRPC's status of an error."""
    return _CODES.get(error.status, grpc.StatusCode.INTERNAL)


def address(peer: str | None) -> str | None:
    """Return the IP address of a peer as gRPC names it (`ipv4:192.0.2.7:50051`, `ipv6:[...]:1`)."""
    kind, _, place = (peer or "").partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    return unquote(place).rpartition(":")[0].strip("[]").partition("%")[0]
