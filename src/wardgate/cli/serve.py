"""`wardgate serve`: the gateway."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click
import uvloop

from wardgate.corefiles import forbid_core_files
from wardgate.settings import Settings, load
from wardgate.web import child as children
from wardgate.web.process import log_to_stderr
from wardgate.web.run import Addresses, run

_Command = TypeVar("_Command", bound=Callable[..., Any])
_file = click.Path(path_type=Path, exists=True, dir_okay=False)
_OPTIONS = (
    click.option("--host", help="Address to listen on.  [default: 127.0.0.1]"),
    click.option("--port", type=int, help="HTTP port, 0 for a free one.  [default: 8080]"),
    click.option("--grpc-port", type=int, help="gRPC port, 0 for a free one.  [default: no gRPC]"),
    click.option("--metrics-port", type=int, help="Port of /metrics.  [default: a free one]"),
    click.option(
        "--engine", type=click.Choice(["onnx", "triton"]), help="How models run.  [default: onnx]"
    ),
    click.option("--triton-url", help="HOST:PORT of a Triton that runs elsewhere."),
    click.option("--workers", type=int, help="Gateway processes.  [default: 1]"),
    click.option("--tls-cert", type=_file, help="PEM file of the certificate chain."),
    click.option("--tls-key", type=_file, help="PEM file of the private key."),
    click.option("--client-ca", type=_file, help="Require client certificates of these issuers."),
    click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        help="State folder.  [default: .wardgate]",
    ),
)


def server_options(command: _Command) -> _Command:
    """Add the options of a command that starts the gateway."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def settings_from(flags: dict[str, Any]) -> Settings:
    """Return the settings, with what the flags gave on top. Raises SettingsInvalid."""
    given = {name: value for name, value in flags.items() if value is not None}
    tree: dict[str, Any] = {}
    if "state" in given:
        tree["state"] = given.pop("state")
    engine = {
        setting: given.pop(flag)
        for flag, setting in (("engine", "kind"), ("triton_url", "triton_url"))
        if flag in given
    }
    if engine:
        tree["engine"] = engine
    if given:
        tree["server"] = given
    return load(**tree)


def in_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on the event loop of the gateway."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


@click.command()
@server_options
def serve(**flags: Any) -> None:
    """Serve until SIGTERM or Ctrl-C; prints one line once ready."""
    settings = settings_from(flags)
    log_to_stderr()

    async def ready(addresses: Addresses) -> bool:
        click.echo(addresses.line())
        return True

    in_loop(run(settings, on_ready=ready))


@click.command(hidden=True)
@click.argument("control", type=int)
def child(control: int) -> None:
    """Run as a process of the supervisor."""
    forbid_core_files()
    log_to_stderr()
    in_loop(children.run(socket.socket(fileno=control)))
