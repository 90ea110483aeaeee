"""Standard output in place of OUT: rows go out as they are ready; no job can go on with them."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import click

from wardgate.cli.journal import Refused, Tally
from wardgate.cli.jsonl import Place


class Stream:
    """What `Journal` is for a file; broken lines go to a new file, or to standard error."""

    def __init__(self, errors: Path | None) -> None:
        """Make the error file. Raises Refused where it is there already, ClickException."""
        self.place, self.tally, self.done = Place(), Tally(), False
        self._errors: int | None = None
        if errors is not None:
            try:
                self._errors = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                raise Refused(f"{errors} is there already.") from None
            except OSError as error:
                raise click.ClickException(f"{errors}: {error.strerror}.") from None

    def commit(self, rows: bytes, broken: bytes, place: Place, *, done: bool = False) -> None:
        """Pass rows on. Raises OSError, BrokenPipeError where nobody reads them."""
        if rows:
            sys.stdout.buffer.write(rows)
            sys.stdout.buffer.flush()
        if broken and self._errors is None:
            click.echo(broken, nl=False, err=True)
        while broken and self._errors is not None:
            broken = broken[os.write(self._errors, broken) :]
        self.place, self.done = place, done

    def close(self) -> None:
        """Close the error file."""
        if self._errors is not None:
            with contextlib.suppress(OSError):
                os.close(self._errors)
            self._errors = None
