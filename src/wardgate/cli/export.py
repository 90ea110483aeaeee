"""`wardgate models export`: a model as a repository for a Triton server that runs elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import click

from wardgate.cli.models import place_options, read_settings, store_of
from wardgate.registry import export as triton


@click.command()
@click.argument("name")
@click.option("--to", "target", type=click.Choice(["triton"]), required=True, help="Form.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="Folder of the Triton repository; made if needed.")  # fmt: skip
@click.option("--version", default=None, help="Version of the model; the highest by default.")
@click.option("--backend", type=click.Choice(["python", "onnxruntime", "tensorrt"]),
              default="onnxruntime", show_default=True,
              help="python for the wheel's server, the others for the container.")  # fmt: skip
@click.option("--gpus", type=click.IntRange(0, 64), default=0, show_default=True,
              help="One instance on each of so many GPUs; 0 runs on the processor.")  # fmt: skip
@click.option("--instances", type=click.IntRange(1, 64), default=1, show_default=True,
              help="Instances on the processor.")  # fmt: skip
@click.option("--max-batch-size", type=click.IntRange(1, 1024), default=32, show_default=True,
              help="Most rows in one run.")  # fmt: skip
@click.option("--preferred-batch-size", "preferred", type=click.IntRange(1, 1024), multiple=True,
              help="Rows that go at once; may be repeated.  [default: the most]")  # fmt: skip
@click.option("--max-queue-delay-us", type=click.IntRange(0, 1_000_000), default=0,
              show_default=True, help="How long a batch waits to fill, microseconds.")  # fmt: skip
@click.option("--queue-policy/--no-queue-policy", default=None,
              help="Priorities, queue bound and deadlines in Triton too; its batcher may then "
              "stall for half a second.  [default: for the container's backends]")  # fmt: skip
@place_options
def export(
    *,
    name: str,
    target: str,  # noqa: ARG001 -- the only form there is
    out: Path,
    version: str | None,
    backend: str,
    gpus: int,
    instances: int,
    max_batch_size: int,
    preferred: tuple[int, ...],
    max_queue_delay_us: int,
    queue_policy: bool | None,
    **places: Any,
) -> None:
    """Write the model NAME, which a gateway must trust, as a complete Triton model repository."""
    if any(each > max_batch_size for each in preferred):
        raise click.UsageError("--preferred-batch-size goes up to --max-batch-size.")
    model = store_of(read_settings(**places)).load(name, version, whole=True)
    options = triton.Options(
        backend=cast("Any", backend),
        gpus=gpus,
        instances=instances,
        max_batch_size=max_batch_size,
        preferred=preferred,
        max_queue_delay_us=max_queue_delay_us,
        queue_policy=queue_policy,
    )
    written = triton.write(model, out, options)
    click.echo(f"{written}  sha256:{model.id.digest}")
