"""`wardgate bench capacity`, `soak`, `overload` and `beside`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from wardgate.cli.bench import beside as besides
from wardgate.cli.bench import capacity as capacities
from wardgate.cli.bench import overload as overloads
from wardgate.cli.bench import scenario
from wardgate.cli.bench import soak as soaking
from wardgate.cli.bench.capacity import Question
from wardgate.cli.bench.shell import FILE, FOLDER, OUT, ends_on_terminate, say


@click.command()
@click.argument("path", type=FILE, metavar="SCENARIO")
@click.option("--p95", type=click.FloatRange(0, min_open=True), required=True,
              help="Milliseconds that p95 may take, from when a request was due.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 256), multiple=True, default=(1,),
              show_default=True, help="Worker processes; may be repeated.")  # fmt: skip
@click.option("--target", type=click.FloatRange(0), default=0.0,
              help="Requests per second that all replicas together must take.")  # fmt: skip
@click.option("--headroom", type=click.FloatRange(0, 1, max_open=True), default=0.3,
              show_default=True, help="Share of each replica that stays free.")  # fmt: skip
@click.option("--precision", type=click.FloatRange(0, 1, min_open=True), default=0.05,
              show_default=True, help="Share by which the rate found may be too low.")  # fmt: skip
@click.option("--tries", type=click.IntRange(1, 9), default=3, show_default=True,
              help="Probes of a rate, of which most decide.")  # fmt: skip
@click.option("--seconds", type=float, help="Seconds of each probe, in place of the file's.")
@click.option("--only", multiple=True, help="Measure the system of this label alone.")
@click.option("--out", type=FOLDER, default=OUT, show_default=True, help="Folder of the result.")
def capacity(
    *,
    path: Path,
    p95: float,
    workers: tuple[int, ...],
    target: float,
    headroom: float,
    precision: float,
    tries: int,
    seconds: float | None,
    only: tuple[str, ...],
    out: Path,
) -> None:
    """Find the highest rate at which p95 stays within a limit, and the replicas a load needs.

    Rates are doubled until one does not hold, then what is between is halved. The search begins at
    the first rate of SCENARIO, if it has an open load. Writes OUT/<scenario>-capacity.json.
    """
    ends_on_terminate()
    found = scenario.changed(scenario.read(path), seconds=seconds, only=only)
    question = Question(p95, workers, precision, tries, target, headroom)
    click.echo(str(capacities.find(found, question, out, say)))


@click.command()
@click.argument("path", type=FILE, metavar="SCENARIO")
@click.option("--seconds", type=click.FloatRange(1), default=3600.0, show_default=True,
              help="How long.")  # fmt: skip
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), default=0.7,
              show_default=True, help="Of the capacity, which is measured first.")  # fmt: skip
@click.option("--out", type=FOLDER, default=OUT, show_default=True, help="Folder of the result.")
def soak(path: Path, seconds: float, share: float, out: Path) -> None:
    """Load a scenario's first system for an hour; follow memory, descriptors and p99.

    Writes OUT/soak-<date>.json. Exits with 1 where one of them grew or a request failed.
    """
    ends_on_terminate()
    written, flat = soaking.soak(scenario.read(path), seconds, share, out, say)
    click.echo(str(written))
    if not flat:
        sys.exit(1)


@click.command()
@click.argument("path", type=FILE, metavar="SCENARIO")
@click.option("--times", type=click.FloatRange(1), default=10.0, show_default=True,
              help="Of the capacity, which is measured first.")  # fmt: skip
@click.option("--rounds", "many", type=click.IntRange(1), help="Rounds, in place of the file's.")
@click.option("--seconds", type=float, help="Seconds of each load, in place of the file's.")
@click.option("--out", type=FOLDER, default=OUT, show_default=True, help="Folder of the result.")
def overload(path: Path, times: float, many: int | None, seconds: float | None, out: Path) -> None:
    """Send a scenario's first system ten times what it can do; tell what it still does.

    Writes OUT/<scenario>-overload.json: goodput, the latency of refusals, memory.
    """
    ends_on_terminate()
    found = scenario.changed(scenario.read(path), rounds=many, seconds=seconds)
    click.echo(str(overloads.overload(found, times, out, say)))


@click.command()
@click.argument("interactive", type=FILE, metavar="INTERACTIVE")
@click.argument("bulk", type=FILE, metavar="BULK")
@click.option("--rounds", "many", type=click.IntRange(1), help="Rounds, in place of the file's.")
@click.option("--seconds", type=float, help="Seconds of each load, in place of the file's.")
@click.option("--out", type=FOLDER, default=OUT, show_default=True, help="Folder of the result.")
def beside(
    interactive: Path, bulk: Path, many: int | None, seconds: float | None, out: Path
) -> None:
    """Measure interactive requests while bulk work saturates the engine.

    Two scenarios give notes and load of each kind; the system is INTERACTIVE's first. Writes
    OUT/<interactive>-beside-<bulk>.json.
    """
    ends_on_terminate()
    few = scenario.changed(scenario.read(interactive), rounds=many, seconds=seconds)
    click.echo(str(besides.beside(few, scenario.read(bulk), out, say)))
