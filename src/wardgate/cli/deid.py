"""`wardgate deid`: de-identify text and files here, without a server."""

from __future__ import annotations

import sys
from csv import reader
from pathlib import Path
from typing import Any

import click

from wardgate.cli.evaluate import evaluate
from wardgate.cli.explain import lines
from wardgate.cli.files import start
from wardgate.cli.files.choice import Choice, choose
from wardgate.cli.files.forms import TEXT_CHARS
from wardgate.cli.files.source import STANDARD
from wardgate.cli.options import policies_option
from wardgate.engine.cpus import available

_READ = click.Path(path_type=Path, dir_okay=False)
_MOST_BYTES = 4 * TEXT_CHARS
"""What so many characters take in UTF-8 at most."""
_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t"}


class _WithEval(click.Group):
    """`deid [FILE]` is a command itself; where its first word is `eval`, that is called."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        command = self.commands.get(args[0]) if args else None
        if command is not None:
            return command.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return click.Command.parse_args(self, ctx, args)


def _delimiter(ctx: click.Context, param: click.Parameter, value: str) -> str:  # noqa: ARG001
    sign = _NAMED_DELIMITERS.get(value, value)
    if len(sign) != 1 or not sign.isascii() or sign in '"\r\n\0':
        raise click.BadParameter("one ASCII character, or tab.")
    return sign


@click.group(
    cls=_WithEval,
    invoke_without_command=True,
    subcommand_metavar="",
    context_settings={"allow_interspersed_args": True, "allow_extra_args": False},
)
@click.argument("file", required=False, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--policy", default="safe_harbor", show_default=True, help="Policy to apply.")
@policies_option
@click.option(
    "--key-file",
    type=_READ,
    envvar="WARDGATE_DEID__KEY_FILE",
    default=None,
    help="32 random bytes that shifted dates, surrogates and pseudonyms come from.",
)
@click.option(
    "--patient",
    metavar="NAME",
    default=None,
    help="Member or column that names the patient, where a policy derives values from that.",
)
@click.option(
    "--jsonl",
    nargs=2,
    type=_FILE,
    metavar="IN OUT",
    help='Read {"text": ...} a line from IN, write it with "deidentified" and "spans" to OUT.',
)
@click.option(
    "--csv",
    nargs=2,
    type=_FILE,
    metavar="IN OUT",
    help="Replace the text in --columns of the CSV file IN.",
)
@click.option(
    "--parquet",
    nargs=2,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="IN OUT",
    help="Replace the text in --columns of the Parquet file IN.",
)
@click.option(
    "--folder",
    nargs=2,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="IN OUT",
    help="De-identify each file below IN to the same path below OUT.",
)
@click.option(
    "--columns",
    metavar="NAME,...",
    default=None,
    help="Columns of a CSV or Parquet file that hold text.",
)
@click.option(
    "--delimiter",
    default=",",
    show_default=True,
    callback=_delimiter,
    help="What stands between the fields of a CSV file; tab for a tabulator.",
)
@click.option(
    "--no-header",
    is_flag=True,
    help="The first record of the CSV file is data; --columns are numbers from 1.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="Print for every span of FILE who found it, the score, and what it beat.",
)
@click.option("--drop-text", is_flag=True, help='Leave "text" of a JSONL file out of OUT.')
@click.option(
    "--errors",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="File for what could not be de-identified.  [default: OUT.errors]",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 1024),
    default=None,
    help="Processes that de-identify.  [default: one for each core]",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Begin anew where OUT is there already; not with --folder.",
)
@click.pass_context
def deid(  # noqa: PLR0917 -- click passes options by name
    ctx: click.Context,
    file: Path | None,
    policy: str,
    policies: Path | None,
    key_file: Path | None,
    patient: str | None,
    jsonl: tuple[Path, Path] | None,
    csv: tuple[Path, Path] | None,
    parquet: tuple[Path, Path] | None,
    folder: tuple[Path, Path] | None,
    columns: str | None,
    delimiter: str,
    no_header: bool,
    explain: bool,
    drop_text: bool,
    errors: Path | None,
    processes: int | None,
    overwrite: bool,
) -> None:
    """De-identify FILE, or standard input (with - or nothing), and print the text.

    With --jsonl, --csv, --parquet or --folder de-identify a file of many texts, or many files. A
    job that was cut off goes on when the same command is run again: OUT.journal says how far it
    was. The report on standard output counts what was found, and shows no text. With --jsonl and
    --csv, - is standard input or output.

    Exit code 0: all is done; 1: the job stopped and can go on; 2: it did not begin; 3: all is done
    but for what the error file names; 130: Ctrl-C.
    """
    given = {"jsonl": jsonl, "csv": csv, "parquet": parquet, "folder": folder}
    kinds = [kind for kind, pair in given.items() if pair is not None]
    _check_options(ctx, kinds, file)
    choice = choose(policy, policies, key_file)
    if not kinds:
        _text(file, choice, explained=explain)
        return
    (kind,) = kinds
    source, target = given[kind] or (Path(), Path())
    files = start.Files(
        source,
        target,
        errors,
        choice,
        processes or available(),
        patient=patient,
        overwrite=overwrite,
    )
    # as a CSV record: a name may hold a comma
    named = [name for name in next(reader([columns or ""], skipinitialspace=True), []) if name]
    if kind == "jsonl":
        start.jsonl(files, keep_text=not drop_text)
    elif kind == "csv":
        start.csv(files, columns=named, delimiter=delimiter, header=not no_header)
    elif kind == "parquet":
        start.parquet(files, columns=named)
    else:
        start.folder(files)


deid.add_command(evaluate)

_GOES_WITH = {
    "columns": {"csv", "parquet"},
    "delimiter": {"csv"},
    "no_header": {"csv"},
    "drop_text": {"jsonl"},
    "patient": {"jsonl", "csv", "parquet"},
    "errors": {"jsonl", "csv", "parquet", "folder"},
    "processes": {"jsonl", "csv", "parquet", "folder"},
    "overwrite": {"jsonl", "csv", "parquet"},
}


def _check_options(ctx: click.Context, kinds: list[str], file: Path | None) -> None:
    """Raise UsageError where options do not go together."""
    if len(kinds) > 1 or (kinds and file is not None):
        raise click.UsageError("Give one of FILE, --jsonl, --csv, --parquet and --folder.")
    default = click.core.ParameterSource.DEFAULT
    if kinds and ctx.params["explain"]:
        raise click.UsageError("--explain goes with FILE.")
    for name, those in _GOES_WITH.items():
        if ctx.get_parameter_source(name) is not default and not those & set(kinds):
            flags = " or ".join(f"--{kind}" for kind in sorted(those))
            raise click.UsageError(f"--{name.replace('_', '-')} goes with {flags}.")
    if {"csv", "parquet"} & set(kinds) and not (ctx.params["columns"] or "").strip(" ,"):
        raise click.UsageError("Name the columns that hold text: --columns note,comment.")


def _text(file: Path | None, choice: Choice, *, explained: bool) -> None:
    """De-identify one text and print it, or what was found in it and why."""
    if file is None and sys.stdin.isatty():
        raise click.UsageError("Give a file, or - to read standard input.")
    raw = _read(file)
    try:
        text = "" if len(raw) > _MOST_BYTES else raw.decode()
    except UnicodeDecodeError:
        raise click.ClickException("The text is not UTF-8.") from None
    if len(raw) > _MOST_BYTES or len(text) > TEXT_CHARS:
        raise click.ClickException(f"The text has more than {TEXT_CHARS:,} characters.")
    if explained:
        for line in lines(choice.detector().explain(text)):
            click.echo(line)
        return
    clean = choice.detector().deidentify(text).text
    sys.stdout.buffer.write(clean.encode())
    sys.stdout.buffer.flush()


def _read(file: Path | None) -> bytes:
    """Return the bytes of a text, or more than there may be."""
    if file is None or file == STANDARD:
        return sys.stdin.buffer.read(_MOST_BYTES + 1)
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}.") from None
