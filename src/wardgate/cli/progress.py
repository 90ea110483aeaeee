"""How far a job is: a bar on a terminal, a line now and then elsewhere; both on standard error."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol, Self

import click

from wardgate.cli.journal import Tally
from wardgate.cli.jsonl import Place

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

_LINE_EVERY = 10.0
"""Seconds between progress lines where there is no terminal."""


class Told(Protocol):
    """What a job says of itself: a journal does."""

    place: Place
    tally: Tally


class Progress:
    """Shows a job's progress until its block ends.

    `size` is that of IN in the unit of `Place.offset`; None where it is not known: no bar then.
    """

    def __init__(
        self, size: int | None, journal: Told, *, label: str = "predict", unit: str = "lines"
    ) -> None:
        self._journal, self._size, self._unit = journal, size, unit
        self._begun = self._shown = time.monotonic()
        self._from, self._lines = journal.place.offset, journal.tally.lines
        self._at = self._from
        self._bar: ProgressBar[int] | None = None
        if size is not None and sys.stderr.isatty():
            self._bar = click.progressbar(
                length=size - self._from,
                label=label,
                item_show_func=lambda _: self._rate(),
                file=sys.stderr,
            )

    def __enter__(self) -> Self:
        if self._from:
            singular = self._unit.removesuffix("s")
            click.echo(f"Going on after {singular} {self._journal.place.line:,}.", err=True)
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
            shown = f"{self._journal.tally.lines:,} {self._unit}, "
            if self._size is None:
                click.echo(shown + self._rate(), err=True)
                return
            left = (now - self._begun) * (self._size - self._at) / max(1, self._at - self._from)
            share = self._at / max(1, self._size)
            click.echo(f"{shown}{share:.0%}, {self._rate()}, {left:,.0f} s left", err=True)

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._begun, 1e-3)
        return f"{(self._journal.tally.lines - self._lines) / seconds:,.0f} {self._unit}/s"
