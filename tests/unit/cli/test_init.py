"""What every command shares: one line for a refusal, exit codes, a quick `--help`."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from wardgate import cli
from wardgate.cli import _COMMANDS
from wardgate.errors import StateInvalid


def test_every_command_is_there_with_its_help(wardgate) -> None:
    listed = wardgate("--help")
    assert listed.code == 0
    for name in _COMMANDS:
        command = cli.wardgate.get_command(click.Context(cli.wardgate), name)
        assert command is not None
        assert (name in listed.out) is not name.startswith("_")
        assert command.help


def test_help_loads_no_model_runtime() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['wardgate', 'token', '--help']\n"
        "import atexit\n"
        "atexit.register(lambda: print(*(m for m in ('onnxruntime', 'wardgate.deid.names')"
        " if m in sys.modules)))\n"
        "from wardgate.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize("arguments", [["nothing"], ["token", "--nothing"], ["audit", "nothing"]])
def test_a_mistake_is_told_and_exits_with_2(wardgate, arguments) -> None:
    done = wardgate(*arguments)
    assert done.code == 2
    assert "nothing" in done.err


def raising(error: BaseException):
    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (StateInvalid("The folder is gone."), 2, "wardgate: The folder is gone.\n"),
        (KeyboardInterrupt(), 130, ""),
        (click.ClickException("It did not answer."), 1, "Error: It did not answer.\n"),
    ],
)
def test_how_a_command_ends(wardgate, monkeypatch, error, code, told) -> None:
    monkeypatch.setattr(cli._Commands, "get_command", lambda *_: raising(error))
    done = wardgate("token")
    assert (done.code, done.err.strip()) == (code, told.strip())


def test_the_version_is_that_of_the_package(wardgate) -> None:
    from wardgate import __version__

    assert __version__ in wardgate("--version").out


def test_the_package_is_a_program_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wardgate", "token", "--state", "absent"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("wardgate: There is no development issuer")
