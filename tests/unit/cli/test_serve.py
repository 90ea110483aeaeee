"""`wardgate serve`: flags over settings, one line once ready, refusals before any socket."""

from __future__ import annotations

import json
import signal
import socket

import click
import httpx
import pytest

from wardgate.cli.serve import child, in_loop, serve, settings_from
from wardgate.errors import SettingsInvalid
from wardgate.web.process import GATEWAY_FILE


def test_flags_go_where_they_belong_and_leave_the_rest_to_the_variables(
    monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("WARDGATE_SERVER__PORT", "1")
    monkeypatch.setenv("WARDGATE_SERVER__WORKERS", "3")
    none = {parameter.name: None for parameter in serve.params}
    settings = settings_from({**none, "port": 0, "engine": "onnx", "state": tmp_path})
    assert settings.server.port == 0
    assert settings.server.workers == 3
    assert settings.engine.kind == "onnx"
    assert settings.state == tmp_path
    assert settings_from(none).server.port == 1


def test_every_flag_is_a_setting() -> None:
    given = {
        "host": "127.0.0.2", "port": 0, "grpc_port": 0, "metrics_port": 0, "engine": "triton", "workers": 2,
        "triton_url": "127.0.0.1:8001",
        "tls_cert": "c.pem", "tls_key": "k.pem", "client_ca": "ca.pem", "state": "s",
    }  # fmt: skip
    assert given.keys() == {parameter.name for parameter in serve.params}
    settings = settings_from(given)
    assert str(settings.server.client_ca) == "ca.pem"
    assert settings.server.workers == 2
    assert (settings.engine.kind, settings.engine.triton_url) == ("triton", "127.0.0.1:8001")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--host", "0.0.0.0"], "server.host is not loopback"),
        (["--port", "70000"], "server.port"),
        (["--workers", "0"], "server.workers"),
        (["--tls-cert", "absent.pem"], "absent.pem"),
        (["--engine", "triton-by-hand"], "triton-by-hand"),
        (["--tls-key", __file__], "go together"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(wardgate, tmp_path, arguments, told) -> None:
    done = wardgate("serve", "--state", tmp_path / "state", *arguments)
    assert done.code == 2
    assert told in done.err
    assert done.out == ""
    assert not (tmp_path / "state").exists()


def test_settings_are_refused_by_name() -> None:
    with pytest.raises(SettingsInvalid, match=r"server\.port"):
        settings_from({"port": -1})


def test_the_processes_of_the_supervisor_are_no_command_for_people() -> None:
    assert child.hidden
    assert isinstance(serve, click.Command)


def test_in_loop_runs_to_the_end() -> None:
    done = []

    async def work() -> None:
        done.append(True)

    in_loop(work())
    assert done == [True]


def test_one_line_once_ready_and_the_gateway_is_there(gateway) -> None:
    assert gateway.url.startswith("http://127.0.0.1:")
    assert httpx.get(f"{gateway.url}/readyz", trust_env=False).json()["ready"] is True
    assert "wardgate_ready" in httpx.get(f"{gateway.metrics}/metrics", trust_env=False).text
    published = json.loads((gateway.state / GATEWAY_FILE).read_text())
    assert published == {
        "url": gateway.url, "grpc": None, "metrics": gateway.metrics, "pid": gateway.popen.pid,
    }  # fmt: skip
    port = int(gateway.url.rpartition(":")[2])
    with socket.socket() as other, pytest.raises(OSError):
        other.bind(("127.0.0.1", port))


def test_a_second_gateway_on_the_same_state_is_refused(gateway) -> None:
    done = gateway.wardgate("serve", "--port", "0")
    assert done.returncode == 2
    assert done.stderr.strip() == "wardgate: Another gateway runs on this state folder."
    assert done.stdout == ""


def test_sigterm_ends_it_with_0_and_no_word(start) -> None:
    process = start()
    assert process.stop(signal.SIGTERM) == 0
    assert not (process.state / GATEWAY_FILE).exists()
    assert process.popen.stdout.read() == ""
