"""How far a job is: a bar on a terminal, a line now and then elsewhere; both on standard error."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

import click

from wardgate.cli.journal import Journal
from wardgate.cli.jsonl import Place

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

_LINE_EVERY = 10.0
"""Seconds between progress lines where there is no terminal."""


class Progress:
    """Shows a job's progress until its block ends."""

    def __init__(self, size: int, journal: Journal) -> None:
        self._journal, self._size = journal, size
        self._begun = self._shown = time.monotonic()
        self._from, self._lines = journal.place.offset, journal.tally.lines
        self._at = self._from
        self._bar: ProgressBar[int] | None = None
        if sys.stderr.isatty():
            self._bar = click.progressbar(
                length=size - self._from,
                label="predict",
                item_show_func=lambda _: self._rate(),
                file=sys.stderr,
            )

    def __enter__(self) -> Self:
        if self._from:
            click.echo(f"Going on after line {self._journal.place.line:,}.", err=True)
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(self, *ended: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()

    def show(self, place: Place) -> None:
        """Show how far the job is."""
        added, self._at = place.offset - self._at, place.offset
        if self._bar is not None:
            self._bar.update(added)
            return
        now = time.monotonic()
        if now - self._shown >= _LINE_EVERY:
            self._shown = now
            left = (now - self._begun) * (self._size - self._at) / (self._at - self._from)
            click.echo(
                f"{self._journal.tally.lines:,} lines, {self._at / self._size:.0%}, "
                f"{self._rate()}, {left:,.0f} s left",
                err=True,
            )

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._begun, 1e-3)
        return f"{(self._journal.tally.lines - self._lines) / seconds:,.0f} lines/s"
