"""The connection to one Triton: kept-alive channels, one for inferences and one for control.

The channels share no connection. The control channel is made when it is first used, and it alone
carries the header that opens Triton's restricted protocols; a link without that header has none.
Stubs are the raw ones of the protocol: the client classes of `tritonclient` copy each tensor.

Triton's error texts stay here: what leaves is a status code, and whether the connection was lost.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from wardgate.engine.tensors import RETRY_SECONDS, VERSION, refusal
from wardgate.errors import DeadlineExceeded, EngineUnavailable, WardgateError

_LOST = "triton-lost"
_RECONNECT_MS = (50, 1000)
"""Least and most pause between attempts to connect, milliseconds."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a Triton is and what opens it. No `repr` shows a secret."""

    address: str
    """HOST:PORT."""
    ca: bytes | None = None
    """PEM of the authorities that its certificate must come from; None speaks plain text."""
    cert: bytes | None = None
    """PEM of our own certificate, where it asks for one."""
    key: bytes | None = field(default=None, repr=False)
    header: str | None = None
    """Metadata key of the restricted protocols; None leaves models to others."""
    secret: str | None = field(default=None, repr=False)
    """Its value."""


def lost() -> WardgateError:
    """Return what callers are told of a connection that is not there."""
    return EngineUnavailable(reason=_LOST, retry_after=RETRY_SECONDS)


def is_lost(error: WardgateError) -> bool:
    """Tell whether a call failed because the connection is not there, or broke before an answer."""
    return error.reason == _LOST


class Link:
    """Calls to `endpoint`. Made and used in one event loop.

    After `keepalive_seconds` without an answer to calls that are out the connection is probed, and
    given up where the probe is not answered as soon. `message_bytes` bounds one message.
    """

    def __init__(
        self, endpoint: Endpoint, *, keepalive_seconds: float = 20.0, message_bytes: int = 64 << 20
    ) -> None:
        self.endpoint = endpoint
        self._options: list[tuple[str, int]] = [
            ("grpc.max_send_message_length", message_bytes),
            ("grpc.max_receive_message_length", message_bytes),
            ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS[0]),
            ("grpc.min_reconnect_backoff_ms", _RECONNECT_MS[0]),
            ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS[1]),
            ("grpc.use_local_subchannel_pool", 1),  # else equal channels share one connection
            ("grpc.enable_http_proxy", 0),  # nothing goes by way of a host that a variable names
        ]
        # On the control channel none: loading a model is one call that is silent for minutes, and
        # a server takes a third probe without an answer in between for an attack.
        probes = [
            ("grpc.keepalive_time_ms", int(1e3 * keepalive_seconds)),
            ("grpc.keepalive_timeout_ms", int(1e3 * keepalive_seconds)),
        ]
        self._channel = self._open(probes)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._control: grpc.aio.Channel | None = None

    @property
    def controls(self) -> bool:
        """Whether restricted protocols, the loading of models among them, are open to us."""
        return self.endpoint.header is not None

    async def infer(
        self, request: service_pb2.ModelInferRequest, seconds: float
    ) -> service_pb2.ModelInferResponse:
        """Run one inference.

        One that is cancelled, or longer than `seconds`, is cancelled at Triton too; that can crash
        a Triton, so callers that leave must not come to it (see `tritoncalls`).

        Raises DeadlineExceeded after `seconds`, Overloaded, EngineUnavailable (see `is_lost`).
        """
        return await _answer(self._channel, self._stub.ModelInfer, request, seconds)

    async def ready(self, name: str, seconds: float) -> bool:
        """Tell whether a model is ready.

        Raises EngineUnavailable where the connection is lost, or no answer comes in `seconds`.
        """
        request = service_pb2.ModelReadyRequest(name=name, version=VERSION)
        try:
            reply = await _answer(self._channel, self._stub.ModelReady, request, seconds)
        except DeadlineExceeded:
            raise lost() from None
        except WardgateError as error:
            if is_lost(error):
                raise
            return False  # Triton answers for an unknown model with an error
        return bool(reply.ready)

    async def command(self, method: str, request: Any, seconds: float) -> Any:
        """Call a restricted protocol, such as `RepositoryModelLoad`, and return its reply.

        Without the header of the control channel the call goes as any other: a Triton that is not
        restricted answers it. Raises as `infer` does.
        """
        header, secret = self.endpoint.header, self.endpoint.secret
        metadata = None if header is None or secret is None else ((header, secret),)
        if self._control is None:
            self._control = self._open([])
        stub = service_pb2_grpc.GRPCInferenceServiceStub(self._control)
        return await _answer(self._control, getattr(stub, method), request, seconds, metadata)

    async def close(self) -> None:
        """Close the channels; calls that are out end with EngineUnavailable."""
        await self._channel.close()
        if self._control is not None:
            await self._control.close()

    def _open(self, more: list[tuple[str, int]]) -> grpc.aio.Channel:
        at, options = self.endpoint, self._options + more
        if at.ca is None:
            return grpc.aio.insecure_channel(at.address, options=options)
        credentials = grpc.ssl_channel_credentials(at.ca, at.key, at.cert)
        return grpc.aio.secure_channel(at.address, credentials, options=options)


async def _answer(
    channel: grpc.aio.Channel,
    method: Any,
    request: Any,
    seconds: float,
    metadata: Any = None,
) -> Any:
    """Await a call. Raises what its caller shall be told, without a word of Triton's."""
    try:
        return await method(request, timeout=max(seconds, 0.001), metadata=metadata)
    except grpc.aio.AioRpcError as error:
        code = error.code()
        # Triton itself answers UNAVAILABLE too, such as for a full queue.
        connected = channel.get_state() is grpc.ChannelConnectivity.READY
        refused = code is not grpc.StatusCode.UNAVAILABLE or connected
        raise (refusal(code) if refused else lost()) from None
    except grpc.aio.UsageError:  # the channel was closed before the call
        raise lost() from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise lost() from None  # the channel was closed while the call was out
