"""The command line."""

from __future__ import annotations

import signal
import sys
from importlib import import_module

import click

from wardgate.errors import WardgateError

_COMMANDS = {
    "up": "wardgate.cli.up:up",
    "serve": "wardgate.cli.serve:serve",
    "token": "wardgate.cli.token:token",
    "predict": "wardgate.cli.predict:predict",
    "deid": "wardgate.cli.deid:deid",
    "audit": "wardgate.cli.audit:audit",
    "models": "wardgate.cli.rollout:models",
    "policies": "wardgate.cli.policies:policies",
    "vault": "wardgate.cli.vault:vault",
    "bench": "wardgate.cli.bench.command:bench",
    "_child": "wardgate.cli.serve:child",
}
"""Where each command lies; loaded when it is called, so that `--help` is quick."""


class _Commands(click.Group):
    """The command group; loads a command's module on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [name for name in _COMMANDS if not name.startswith("_")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        # An interrupt while modules load could be lost in one of them: let it end the process.
        handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            command: click.Command = getattr(import_module(module), attribute)
        finally:
            signal.signal(signal.SIGINT, handler)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wardgate")
def wardgate() -> None:
    """Wardgate, the privacy boundary for clinical AI."""


def main() -> None:
    """Run the command line; a refusal is one line and exit code 2, Ctrl-C is quiet."""
    try:
        wardgate.main(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except WardgateError as error:
        click.echo(f"wardgate: {error.detail}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
