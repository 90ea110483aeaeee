"""Begins a job over a file or goes on with it, and tells how it ended.

Whatever decides what is written is part of what the job is: to go on, it must be the same.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click

from wardgate.cli.files import records
from wardgate.cli.files.choice import Choice, check_lasting
from wardgate.cli.files.crew import COMMAND, Crew
from wardgate.cli.files.folder import Folder
from wardgate.cli.files.forms import Cells, Form, JsonLine, TextFile, pack
from wardgate.cli.files.job import Job
from wardgate.cli.files.source import STANDARD, LineSource, Source, opened
from wardgate.cli.files.stream import Stream
from wardgate.cli.files.table import Table
from wardgate.cli.journal import Journal, Refused, Stopped, Tally, drafts, start_over
from wardgate.cli.jsonl import Lines, check_distinct, dump
from wardgate.cli.progress import Progress
from wardgate.deid.policy import Policy

BROKEN = 3
"""Exit code of a job that is complete, with lines in the error file."""
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Files:
    """What the user named, and how it is worked on."""

    source: Path
    target: Path
    errors: Path | None
    choice: Choice
    processes: int
    patient: str | None = None
    """Member or column that names the patient."""
    overwrite: bool = False
    command: tuple[str, ...] = COMMAND
    """What the processes run."""


def jsonl(files: Files, *, keep_text: bool) -> None:
    """De-identify the lines of a file. Raises as `_run` does."""
    with ExitStack() as stack:
        file, size = opened(files.source, stack)
        _run(files, LineSource(Lines(file), size), JsonLine(keep_text, files.patient), stack)


def csv(files: Files, *, columns: Sequence[str], delimiter: str, header: bool) -> None:
    """De-identify columns of a CSV file. Raises as `_run` does."""
    with ExitStack() as stack:
        file, size = opened(files.source, stack)
        lines = records.Records(file, delimiter)
        first = next(iter(lines), b"")
        form = records.form(first, delimiter, columns, header=header, patient=files.patient)
        assert first is not None
        begin = (1, first if header else first.removeprefix(_BOM))
        _run(files, LineSource(lines, size, first=begin), form, stack, unit="records")


def folder(files: Files) -> None:
    """De-identify each file of a folder. Raises as `_run` does."""
    source, target = files.source.resolve(), files.target.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise click.UsageError("IN and OUT must not be one folder, nor one within the other.")
    listed = _beside(files.target, ".files")
    try:
        tree = Folder(source)
        if not listed.exists() and files.target.exists() and any(files.target.iterdir()):
            raise Refused(f"{files.target} holds something already. Name another folder.")
        files.target.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}.") from None
    with ExitStack() as stack:
        form = TextFile(str(source), str(target))
        _run(files, tree, form, stack, rows=listed, unit="files")


def parquet(files: Files, *, columns: Sequence[str]) -> None:
    """De-identify columns of a Parquet file. Raises as `_run` does."""
    part = _beside(files.target, ".part")
    with ExitStack() as stack:
        table = Table(files.source, columns, stack, patient=files.patient)
        errors = files.errors or _beside(files.target, ".errors")
        check_distinct(files.source, files.target, _beside(files.target, ".new"), errors, part)
        there = files.target.exists() and not _journal(part).exists()
        if there and not files.overwrite:
            raise Refused(f"{files.target} is there already. Name another, or give --overwrite.")
        said = {
            "columns": list(columns),
            "patient": files.patient,
            "sha256 of IN": table.sha256,
        }

        def finish() -> None:
            try:
                table.finish(part, files.target)
            except OSError as error:
                raise Stopped(f"{files.target} cannot be written: {error.strerror}.") from None
            part.unlink()
            _journal(part).unlink()

        form = Cells(files.patient is not None)
        _run(files, table, form, stack, rows=part, unit="rows", said=said, finish=finish)


def _run(
    files: Files,
    source: Source,
    form: Form,
    stack: ExitStack,
    *,
    rows: Path | None = None,
    unit: str = "lines",
    said: Mapping[str, object] | None = None,
    finish: Callable[[], None] = lambda: None,
) -> None:
    """Run a job and print its report; `rows` is the file that the journal keeps, OUT by default.

    Raises Refused, ClickException or Abort; exits with BROKEN where lines are in the error file.
    """
    target = rows or files.target
    streamed = files.target == STANDARD
    errors = files.errors or (None if streamed else _beside(files.target, ".errors"))
    check_lasting(files.choice)
    if streamed:
        sink: Journal | Stream = Stream(errors)
    else:
        assert errors is not None
        check_distinct(files.source, target, errors, *drafts(target))
        if files.overwrite:
            start_over(target, errors)
        places = {"source", "target"}  # of a folder: it may be moved
        job = {
            "size of IN": source.size,
            **{name: value for name, value in pack(form).items() if name not in places},
            **(said or {}),
            **files.choice.job(),
            "errors": os.path.relpath(errors, target.parent),
            "version of wardgate": version("wardgate"),
        }
        sink = Journal(target, errors, job)
    stack.callback(sink.close)
    try:
        same = source.skip(sink.place)
    except OSError as error:
        raise click.ClickException(f"{files.source}: {error.strerror}.") from None
    if not same:
        raise Refused(f"{files.source} is not what the job of {files.target} was begun with.")
    if sink.done:
        click.echo(f"{files.target} is complete; there is nothing to do.", err=True)
    try:
        if not sink.done:
            said = files.choice.pack()
            crew = Crew(form, said, processes=files.processes, command=files.command)
            with closing(crew), Progress(source.size, sink, label="deid", unit=unit) as progress:
                Job(source, sink, crew, progress.show).run()
        finish()
    except Stopped as end:
        again = ""
        if not streamed:
            after = f"{unit.removesuffix('s')} {sink.place.line:,}"
            again = f" Run the same command again to go on after {after}."
        if end.detail:
            raise click.ClickException(f"{end.detail}{again}") from None
        click.echo(f"Stopped.{again}", err=True)
        raise click.Abort from None
    _report(sink.tally, unit, files.choice.policy, streamed=streamed)


def _journal(path: Path) -> Path:
    return _beside(path, ".journal")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _report(tally: Tally, unit: str, policy: Policy, *, streamed: bool) -> None:
    """Print what was done and found: counts, no text. Exits where something is broken."""
    said = {
        unit: tally.lines,
        "written": tally.answered,
        "broken": tally.broken,
        "spans": dict(sorted(tally.labels.items())),
        "seconds": round(tally.seconds, 2),
        "policy": policy.name,
        "policy_hash": policy.hash,
    }
    click.echo(dump(said).decode(), err=streamed)
    if tally.broken:
        sys.exit(BROKEN)
