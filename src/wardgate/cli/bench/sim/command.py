"""`wardgate bench service`, `simulate` and `validate`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from wardgate.cli.bench import results, scenario
from wardgate.cli.bench.shell import FILE, FOLDER, OUT, ends_on_terminate, say
from wardgate.cli.bench.sim import plan, run, validate
from wardgate.cli.bench.sim import service as services
from wardgate.engine.cpus import available

FORMAT = "wardgate-simulation/1"


@click.command()
@click.argument("path", type=FILE, metavar="SCENARIO")
@click.option("--out", type=FOLDER, default=OUT, show_default=True, help="Folder of the result.")
def service(path: Path, out: Path) -> None:
    """Measure how long a scenario's model and gateway take here, for `simulate`.

    The scenario has a closed load of one caller and one of many; its first system is run.
    """
    ends_on_terminate()
    click.echo(str(validate.service(scenario.read(path), out, say)))


@click.command()
@click.argument("path", type=FILE, metavar="SIMULATION")
@click.option("--out", type=FOLDER, default=OUT, show_default=True, help="Folder of the result.")
@click.option("--processes", type=click.IntRange(1), help="Processes.  [default: one a processor]")
def simulate(path: Path, out: Path, processes: int | None) -> None:
    """Run the gateway's own scheduler on simulated time and write OUT/<simulation>.json.

    SIMULATION is a TOML file: replicas, tenants, rates and a zone that fails
    (benchmarks/simulations). Service times come from the measurement that it names.
    """
    ends_on_terminate()
    found = plan.read(path)
    measured = services.read(found.service)
    say(f"{path.stem}: {found.title}")
    done = run.run(found, measured, say, processes or available())
    times = json.loads(found.service.read_text("utf-8"))
    told = {key: times[key] for key in ("commit", "time", "machine") if key in times}
    content = {
        "simulation": found.settings(),
        "measured": {**told, "model": measured.model, "overhead": asdict(measured.overhead)},
        "rates": done,
    }
    results.write(out / f"{path.stem}.json", content, FORMAT)
    click.echo(str(out / f"{path.stem}.json"))


@click.command("validate")
@click.argument("path", type=FILE, metavar="SCENARIO")
@click.option("--out", type=FOLDER, default=OUT, show_default=True, help="Folder of the result.")
@click.option(
    "--share",
    "shares",
    type=click.FloatRange(0, 1, min_open=True),
    multiple=True,
    default=(0.3, 0.6, 0.85),
    show_default=True,
    help="Of the capacity; may be repeated.",
)
@click.option("--rounds", "many", type=click.IntRange(1), help="Rounds, in place of the file's.")
@click.option("--seconds", type=float, help="Seconds of each load, in place of the file's.")
def validation(
    *,
    path: Path,
    out: Path,
    shares: tuple[float, ...],
    many: int | None,
    seconds: float | None,
) -> None:
    """Hold the simulation against the real gateway at shares of its capacity.

    Exits with 1 where throughput is off by more than 10 % or p95 by more than 20 %.
    """
    ends_on_terminate()
    found = scenario.changed(scenario.read(path), rounds=many, seconds=seconds)
    written, within = validate.validate(found, shares, out, say)
    click.echo(str(written))
    if not within:
        sys.exit(1)
