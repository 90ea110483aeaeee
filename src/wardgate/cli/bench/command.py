"""`wardgate bench`: its commands."""

from __future__ import annotations

from pathlib import Path

import click

from wardgate.cli.bench import compare as comparison
from wardgate.cli.bench import page, results, rounds, scenario, trials
from wardgate.cli.bench.compare import Side
from wardgate.cli.bench.shell import FILE, FOLDER, OUT, ends_on_terminate, say
from wardgate.cli.bench.sim import command as simulation


@click.group()
def bench() -> None:
    """Measure systems under the same load, and say what may be said of the difference."""


@bench.command()
@click.argument("scenarios", nargs=-1, required=True, type=FILE, metavar="SCENARIO...")
@click.option("--out", type=FOLDER, default=OUT, show_default=True, help="Folder of the results.")
@click.option("--rounds", "many", type=click.IntRange(1), help="Rounds, in place of the file's.")
@click.option("--seconds", type=float, help="Seconds of each load, in place of the file's.")
@click.option("--only", multiple=True, help="Run the system of this label alone; may be repeated.")
def run(
    scenarios: tuple[Path, ...],
    out: Path,
    many: int | None,
    seconds: float | None,
    only: tuple[str, ...],
) -> None:
    """Run each SCENARIO and write OUT/<scenario>.json.

    Systems are started, checked for right answers, measured and ended one at a time, in another
    order each round. Ctrl-C ends what runs; the rounds before it are in the file.
    """
    found = [
        scenario.changed(scenario.read(path), rounds=many, seconds=seconds, only=only)
        for path in scenarios
    ]
    ends_on_terminate()
    for each in found:
        say(f"{each.name}: {each.title}")
        click.echo(str(rounds.run(each, out, say)))


@bench.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True), metavar="DIR")
@click.option("--out", type=FOLDER, help="Folder of the page and figures.  [default: DIR]")
@click.option("--price", type=click.FloatRange(0), help="Price of this machine for an hour.")
@click.option("--currency", default="USD", show_default=True, help="Of the price.")
def report(folder: Path, out: Path | None, price: float | None, currency: str) -> None:
    """Write report.html and PNG figures from the results in DIR.

    The page fetches nothing. Without --price it tells machine-hours for a million notes.
    """
    found = results.read_all(folder)
    target = out or (folder if folder.is_dir() else folder.parent)
    click.echo(str(page.write(found, target, price, currency)))


@bench.command()
@click.argument("a")
@click.argument("b")
def compare(a: str, b: str) -> None:
    """Say whether B differs from A: each a result, a folder of them, or either with :SYSTEM.

    Ratios are B over A with a 95 % interval, by bootstrap over rounds; in pairs where both are of
    one run.
    """
    first, second = Side.read(a), Side.read(b)
    last = ""
    for each in comparison.differences(first, second):
        title = f"{each.scenario}, {each.systems}, {each.load}"
        if title != last:
            click.echo(title)
            last = title
        found = each.ratio
        between = "" if found.low is None else f" ({found.low:.3f} to {found.high:.3f})"
        click.echo(
            f"  {each.figure:<11}{each.a:>10.2f} {each.b:>10.2f}   x {found.value:.3f}{between}"
            f"  {each.verdict}"
        )
    for warning in comparison.warnings(first, second):
        click.echo(f"note: {warning}", err=True)


for _each in (
    trials.capacity,
    trials.soak,
    trials.overload,
    trials.beside,
    simulation.service,
    simulation.simulate,
    simulation.validation,
):
    bench.add_command(_each)
