"""`wardgate deid`: de-identify text here, without a server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

import click

from wardgate.cli.jsonl import Broken, Lines, check_distinct, dump, parse
from wardgate.deid.deidentify import Deidentifier
from wardgate.errors import WardgateError


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--policy", default="safe_harbor", show_default=True, help="Policy to apply.")
@click.option(
    "--jsonl",
    nargs=2,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="IN OUT",
    help='Read {"text": ...} a line from IN, write it with "deidentified" and "spans" to OUT.',
)
def deid(file: Path | None, policy: str, jsonl: tuple[Path, Path] | None) -> None:
    """De-identify FILE, or standard input (with - or nothing), and print the text."""
    detector = Deidentifier(policy=policy)
    if jsonl is not None:
        if file is not None:
            raise click.UsageError("Give a file or --jsonl IN OUT, not both.")
        _lines(detector, *jsonl)
        return
    if file is None and sys.stdin.isatty():
        raise click.UsageError("Give a file, or - to read standard input.")
    raw = sys.stdin.buffer.read() if file is None or str(file) == "-" else _read(file)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise click.ClickException("The text is not UTF-8.") from None
    sys.stdout.buffer.write(detector.deidentify(text).text.encode())
    sys.stdout.buffer.flush()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}.") from None


def _lines(detector: Deidentifier, source: Path, target: Path) -> None:
    """De-identify a JSONL file line by line; a bad line is named, left out, and exits with 1."""
    check_distinct(source, target)
    broken = 0
    try:
        with source.open("rb") as file, target.open("wb") as out:
            lines = Lines(file)
            for line in lines:
                fault = _line(detector, line, out) if line is None or line.strip() else None
                if fault is not None:
                    broken += 1
                    click.echo(f"line {lines.line}: {fault}", err=True)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}.") from None
    if broken:
        click.echo(f"{broken} lines were left out", err=True)
        sys.exit(1)


def _line(detector: Deidentifier, line: bytes | None, out: IO[bytes]) -> str | None:
    """De-identify one line; return why it could not be done, without a word of it."""
    try:
        record = parse(line)
        found = detector.deidentify(record["text"])
        record["deidentified"] = found.text
        record["spans"] = [
            {"start": s.start, "end": s.end, "label": s.label, "score": s.score}
            for s in found.spans
        ]
        out.write(dump(record) + b"\n")
    except (Broken, WardgateError) as error:
        return error.detail
    return None
