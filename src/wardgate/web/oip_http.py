"""The Open Inference Protocol v2 over HTTP: `/v2` and below, in JSON and with binary tensor data.

As on every route nothing of a body is read before the caller is known, permitted and admitted.
What Triton serves besides (its repository, shared memory, statistics, tracing, logging, generate)
has no route here. Binary tensor data: JSON as long as `Inference-Header-Content-Length` says, then
the data of each tensor that names its `binary_data_size`, in their order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from wardgate.errors import BodyInvalid, ModelUnknown, NotReady, WardgateError
from wardgate.flow import CLIENT_LEFT, Admitted
from wardgate.types import Permission
from wardgate.web import oip, oip_reply
from wardgate.web.body import CallerLeft, take, watched
from wardgate.web.health import Readiness
from wardgate.web.middleware import App, Call, Receive, Scope, Send, send_reply
from wardgate.web.oip_models import OipModels
from wardgate.web.rest import BODY_ERRORS, DOOR_ERRORS, MODEL_ERRORS, WORK_ERRORS, head
from wardgate.web.routes import Endpoint
from wardgate.web.schemas import EXAMPLE_CLEAN, EXAMPLE_NOTE, InferBody, InferInput, Value, parse

_HEADER_LENGTH = b"inference-header-content-length"
_JSON = (b"content-type", b"application/json")
_BINARY = (b"content-type", b"application/octet-stream")
_ANY_TYPE = frozenset({b"", _BINARY[1]})
"""Triton's clients send no content type, or this one, with JSON too."""
_TAG = "Open Inference Protocol v2"
_MODEL = "/v2/models/{model}"
_VERSION = "/v2/models/{model}/versions/{version}"


@dataclass(frozen=True, slots=True)
class OipHttp:
    """The routes, with what they need."""

    models: OipModels
    readiness: Readiness
    digest: Callable[[bytes], str]
    """Keyed digest of a body for the audit record, hex."""
    gateway_version: str

    def endpoints(self) -> list[Endpoint]:
        """Return the declarations of the routes."""
        server = {"name": "wardgate", "version": "0.1.0", "extensions": oip_reply.EXTENSIONS}
        shown = oip_reply.text_model("sentiment", ["1"], ("negative", "positive"))
        metadata, config = shown.metadata(), shown.config()
        served = {"name": "sentiment", "ready": True}
        found = [
            _get("/v2", self.server, "The server", server),
            _get("/v2/health/live", self.live, "Whether the gateway lives", {"live": True}),
            _get("/v2/health/ready", self.ready, "Whether it may take traffic", {"ready": True}),
        ]
        for place in (_MODEL, _VERSION):
            found += [
                _get(place, self.metadata, "What a model takes and gives", metadata),
                _get(f"{place}/ready", self.model_ready, "Whether a model serves", served),
                _get(f"{place}/config", self.config, "A model's configuration", config),
                _post(f"{place}/infer", self.infer),
            ]
        return found

    # -- what the server and the models say of themselves -----------------------------------------

    async def live(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer `GET /v2/health/live`."""
        await send_reply(send, 200, [_JSON], b'{"live":true}')

    async def ready(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer `GET /v2/health/ready`."""
        self._check_ready()
        await send_reply(send, 200, [_JSON], b'{"ready":true}')

    async def server(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer `GET /v2`."""
        call: Call = scope["wardgate"]
        admitted = await self.models.flow.enter(head(scope, Permission.METADATA), call.hops)
        admitted.leave()
        said = {
            "name": "wardgate",
            "version": self.gateway_version,
            "extensions": oip_reply.EXTENSIONS,
        }
        await send_reply(send, 200, [_JSON], orjson.dumps(said))

    async def metadata(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer `GET /v2/models/{model}`."""
        said = (await self._see(scope)).metadata()
        await send_reply(send, 200, [_JSON], orjson.dumps(said))

    async def config(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer `GET /v2/models/{model}/config`."""
        said = (await self._see(scope)).config()
        await send_reply(send, 200, [_JSON], orjson.dumps(said))

    async def model_ready(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer `GET /v2/models/{model}/ready`."""
        shown = await self._see(scope)
        self._check_ready()
        said = {"name": shown.name, "ready": True}
        await send_reply(send, 200, [_JSON], orjson.dumps(said))

    async def _see(self, scope: Scope) -> oip_reply.Shown:
        """Return how the model that the path names is seen."""
        call: Call = scope["wardgate"]
        admitted = await self.models.flow.enter(head(scope, Permission.METADATA), call.hops)
        try:
            return self.models.see(admitted, **scope["path_params"])
        finally:
            admitted.leave()

    def _check_ready(self) -> None:
        if not self.readiness.ready:
            raise NotReady(retry_after=self.readiness.every)

    # -- inference --------------------------------------------------------------------------------

    async def infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `POST /v2/models/{model}/infer`."""
        call: Call = scope["wardgate"]
        admitted = await self.models.flow.enter(head(scope, Permission.RUN), call.hops)
        try:
            body, work = await self._read(admitted, scope, receive)
            answer = await watched(work, scope)
        except CallerLeft:
            call.status = CLIENT_LEFT
            return
        finally:
            admitted.leave()
        headers, content = _encode(answer, body)
        await send_reply(send, 200, headers, content)

    async def _read(
        self, admitted: Admitted, scope: Scope, receive: Receive
    ) -> tuple[InferBody, Awaitable[oip_reply.Answer]]:
        """Read and parse the body, and return the work to do; a refusal is recorded."""
        limits = self.models.limits
        with self.models.flow.refusing(admitted):
            length = header_length(scope["headers"])
            raw = await take(scope, receive, limits, media_type=_JSON[1], or_else=_ANY_TYPE)
            body, tail = split(raw, length, nesting=limits.nesting)
            return body, self.models.infer(
                admitted,
                inference(body, tail),
                model=scope["path_params"]["model"],
                version=scope["path_params"].get("version"),
                digest=self.digest(raw),
            )


# -- JSON and binary tensor data ------------------------------------------------------------------


def header_length(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """Return how many bytes of the body are JSON; None for all. Raises BodyInvalid."""
    given = [value for name, value in headers if name == _HEADER_LENGTH]
    if not given:
        return None
    if len(given) > 1 or not given[0].isdigit() or len(given[0]) > 10:  # noqa: PLR2004 -- 2^32
        raise BodyInvalid(
            "Inference-Header-Content-Length is one whole number.", reason="oip-header-length"
        )
    return int(given[0])


def split(raw: bytes, length: int | None, *, nesting: int) -> tuple[InferBody, memoryview]:
    """Parse the JSON of a body and return what follows it. Raises as `schemas.parse`."""
    if length is None:
        return parse(InferBody, raw, nesting=nesting), memoryview(b"")
    if length > len(raw):
        raise BodyInvalid(
            "Inference-Header-Content-Length is more than the body.", reason="oip-header-length"
        )
    return parse(InferBody, raw[:length], nesting=nesting), memoryview(raw)[length:]


def inference(body: InferBody, tail: memoryview) -> oip.Inference:
    """Give each input its data: that of the JSON, or its part of what follows.

    Raises BodyInvalid where sizes and data do not add up to the whole body.
    """
    inputs: list[oip.Input] = []
    place = 0
    for tensor in body.inputs:
        own = dict(tensor.parameters)
        size = own.pop("binary_data_size", None)
        data: memoryview | list[Any]
        if size is None:
            data = tensor.data or []
        else:
            if type(size) is not int or size < 0 or tensor.data is not None:
                raise _sizes()
            data = tail[place : place + size]
            place += size
        inputs.append(_input(tensor, data, own))
    if place != len(tail):
        raise _sizes()
    own = dict(body.parameters)
    if type(own.pop("binary_data_output", False)) is not bool or any(
        type(output.parameters.get("binary_data", False)) is not bool for output in body.outputs
    ):
        raise BodyInvalid("binary_data and binary_data_output are true or false.")
    wanted = [oip.Wanted(output.name, output.parameters) for output in body.outputs]
    return oip.Inference(body.id, own, inputs, wanted)


def _sizes() -> BodyInvalid:
    return BodyInvalid(
        "The binary data does not add up to the binary_data_size of each input.",
        reason="oip-binary",
    )


def _input(
    tensor: InferInput, data: memoryview | list[Any], parameters: dict[str, Value]
) -> oip.Input:
    return oip.Input(tensor.name, tensor.datatype, tensor.shape, data, parameters)


def _encode(answer: oip_reply.Answer, body: InferBody) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return headers and body of a reply, each output as the caller asked for it."""
    wanted = {output.name: output.parameters for output in body.outputs}
    default = body.parameters.get("binary_data_output", False)
    tensors: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for output in answer.outputs:
        tensor: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": output.shape,
        }
        if wanted.get(output.name, {}).get("binary_data", default):
            tail.append(output.raw())
            tensor["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            tensor["data"] = output.elements()
        tensors.append(tensor)
    said = {
        "model_name": answer.model,
        "model_version": answer.version,
        "parameters": answer.parameters,
        "outputs": tensors,
    }
    if body.id:
        said["id"] = body.id
    content = orjson.dumps(said)
    if not tail:
        return [_JSON], content
    return [_BINARY, (_HEADER_LENGTH, str(len(content)).encode())], b"".join([content, *tail])


# -- declarations ---------------------------------------------------------------------------------


def _get(path: str, handler: App, summary: str, example: dict[str, Any]) -> Endpoint:
    public = path.startswith("/v2/health")
    errors: tuple[type[WardgateError], ...] = () if public else DOOR_ERRORS
    if path.startswith(_MODEL):
        errors += (ModelUnknown,)
    if path.endswith("/ready"):
        errors += (NotReady,)
    return Endpoint(
        method="GET",
        path=path,
        permission=Permission.PUBLIC if public else Permission.METADATA,
        handler=handler,
        tag=_TAG,
        summary=summary,
        description=(
            "Needs no token." if public else "Scope `infer:<model>` of the model, or `models:read`."
        ),
        errors=errors,
        reply_example=example,
    )


def _post(path: str, handler: App) -> Endpoint:
    return Endpoint(
        method="POST",
        path=path,
        permission=Permission.RUN,
        handler=handler,
        tag=_TAG,
        summary="Predict on clinical notes, as tensors",
        description=(
            "De-identifies each text, runs the model on what is left, and returns a row for each. "
            "The request context goes in `parameters`; so do Triton's `priority` (0 and 1 are "
            "interactive, more is bulk) and `timeout` (microseconds). Binary tensor data as Triton "
            "defines it. Scope `infer:<model>`; `tensor:<model>` for a tensor model, whose own "
            "inputs and outputs its metadata names."
        ),
        errors=(*DOOR_ERRORS, *BODY_ERRORS, *WORK_ERRORS, *MODEL_ERRORS),
        body=InferBody,
        body_example={
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [EXAMPLE_NOTE]}],
            "outputs": [{"name": "label"}, {"name": "text"}],
        },
        reply_example={
            "model_name": "sentiment",
            "model_version": "1",
            "parameters": {
                "policy": "safe_harbor",
                "policy_hash": "9f2c" + "0" * 60,
                "labels": '["negative", "positive"]',
                "windows": "1",
                "request_id": "6b0f3a52-5a1b-4a3e-9a53-2f4a4c3a9d10",
            },
            "outputs": [
                {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["positive"]},
                {"name": "text", "datatype": "BYTES", "shape": [1], "data": [EXAMPLE_CLEAN]},
            ],
        },
    )
