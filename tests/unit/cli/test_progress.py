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


def test_a_pipe_has_no_end_to_show(journal, monkeypatch, capsys) -> None:
    monkeypatch.setattr(module, "_LINE_EVERY", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress(None, journal, label="deid", unit="records") as progress:
        journal.tally.lines = 7
        progress.show(Place(100, 20))
    shown = capsys.readouterr().err
    assert shown.startswith("7 records, ")
    assert shown.endswith(" records/s\n")


def test_an_empty_file_is_no_division(journal, monkeypatch, capsys) -> None:
    monkeypatch.setattr(module, "_LINE_EVERY", 0.0)
    with Progress(0, journal) as progress:
        progress.show(Place(0, 0))
    assert "0 lines" in capsys.readouterr().err
