"""What the commands of `wardgate bench` share: where results go, and how they speak and end."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType

import click

OUT = Path("bench-results")
"""Folder of results where none is given."""
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


def say(line: str) -> None:
    """Tell how it goes, on standard error."""
    click.echo(line, err=True)


def ends_on_terminate() -> None:
    """Let SIGTERM end this process as Ctrl-C does: with all that it started."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 -- signal's
    raise KeyboardInterrupt
