"""Progress: a bar where someone looks, a line now and then elsewhere, never on standard output."""

from __future__ import annotations

import io
import sys

import pytest

from wardgate.cli import progress as module
from wardgate.cli.journal import Journal
from wardgate.cli.jsonl import Place
from wardgate.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def journal(tmp_path):
    found = Journal(tmp_path / "out", tmp_path / "errors", {})
    yield found
    found.close()


def test_a_bar_on_a_terminal(journal, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress(200, journal) as progress:
        journal.tally.lines = 10
        progress.show(Place(100, 10))
        progress.show(Place(200, 20))
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "predict" in shown
    assert "100%" in shown
    assert "lines/s" in shown


def test_lines_elsewhere_but_not_too_many(journal, monkeypatch, capsys) -> None:
    with Progress(200, journal) as progress:
        progress.show(Place(50, 10))
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(module, "_LINE_EVERY", 0.0)
        journal.tally.lines = 1234
        progress.show(Place(100, 20))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("1,234 lines, 50%, ")
    assert shown.err.endswith(" s left\n")


def test_going_on_is_told(journal, monkeypatch, capsys) -> None:
    journal.place = Place(100, 20)
    monkeypatch.setattr(module, "_LINE_EVERY", 0.0)
    with Progress(200, journal) as progress:
        progress.show(Place(150, 30))
    assert "after line 20." in capsys.readouterr().err
