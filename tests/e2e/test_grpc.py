"""gRPC with real processes: one port for all workers, calls in flight at the end, and the ready line."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.e2e.processes import Gateway, alive, gateway, launched, until
from tritonclient.grpc import service_pb2, service_pb2_grpc

NOTE = "I feel much better, Dr. Thaddeus Okonkwo was very kind."
ROUTE = b"GRPCInferenceService/ModelInfer"
OWN = (("grpc.use_local_subchannel_pool", 1),)


def channel(found: Gateway) -> grpc.Channel:
    """Return a channel with a connection of its own."""
    return grpc.insecure_channel(found.grpc, OWN)


def infer(found: Gateway, text: str = NOTE, **options: Any) -> service_pb2.ModelInferResponse:
    request = service_pb2.ModelInferRequest(model_name="sentiment")
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(text.encode())
    with channel(found) as opened:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(opened)
        return stub.ModelInfer(
            request, metadata=tuple(found.bearer().items()), timeout=30, **options
        )


def test_every_worker_answers_on_the_one_port(tmp_path: Path) -> None:
    with gateway(tmp_path, "--workers", "2", "--grpc-port", "0") as found:
        assert found.stdout.startswith(f"ready {found.url} grpc {found.grpc} metrics http://")

        def served() -> int:
            assert b"positive" in infer(found).raw_output_contents[0]
            return sum(
                ROUTE in path.read_bytes() for path in (found.state / "audit").glob("worker-*.db*")
            )

        until(lambda: served() >= 2, 60, "calls in the records of both workers")
        worker = found.workers()[0]
        os.kill(worker, signal.SIGKILL)
        until(lambda: not alive(worker))
        until(lambda: _answers(found), 30, "the other worker, and the replacement")
        assert found.stop() == 0


def _answers(found: Gateway) -> bool:
    try:
        return bool(infer(found).outputs)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return False
        raise


def test_calls_in_flight_end_and_new_ones_are_refused(tmp_path: Path) -> None:
    with gateway(tmp_path, "--grpc-port", "0") as found:
        infer(found)
        answers: list[Any] = []
        # several windows of a note that takes a while
        long = "The pain is gone and I feel better. " * 3_000
        thread = threading.Thread(target=lambda: answers.append(infer(found, long)))
        thread.start()
        until(lambda: found.metric("wardgate_in_flight") >= 1)
        found.popen.send_signal(signal.SIGTERM)
        thread.join(40)
        assert b"positive" in answers[0].raw_output_contents[0]
        assert found.popen.wait(40) == 0
        with pytest.raises(grpc.RpcError) as raised:
            infer(found)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert found.verify().returncode == 0


def test_without_the_option_nothing_listens(tmp_path: Path) -> None:
    with gateway(tmp_path) as found:
        assert " grpc " not in found.stdout
        assert found.grpc == ""


def test_a_port_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with launched(tmp_path, "--grpc-port", port) as found:
            assert found.popen.wait(30) == 2
            assert f"Cannot listen on 127.0.0.1 port {port}" in found.stderr
