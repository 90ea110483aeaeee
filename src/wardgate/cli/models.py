"""`wardgate models`: which models there are, and whether their files are what was declared."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from wardgate.errors import WardgateError
from wardgate.registry.store import SHIPPED, Store

_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    envvar="WARDGATE_REGISTRY__FOLDER",
    default=None,
    help="Folder of models besides the shipped ones.",
)


@click.group()
def models() -> None:
    """List and verify models."""


@models.command("list")
@_folder
def list_models(folder: Path | None) -> None:
    """List the models: name, version, precision, digest of the manifest."""
    for name, home in sorted(_homes(folder).items()):
        loaded = Store((home,)).load(name)
        manifest = loaded.manifest
        click.echo(
            f"{name}  version {manifest.version}  {manifest.precision}  sha256:{manifest.digest}"
        )


@models.command()
@click.argument("names", nargs=-1)
@_folder
def verify(names: tuple[str, ...], folder: Path | None) -> None:
    """Check every file of the models NAMES (or of all) against its manifest."""
    homes = _homes(folder)
    unknown = [name for name in names if name not in homes]
    if unknown:
        raise click.UsageError(f"No such model: {', '.join(unknown)}.")
    failed = False
    for name in names or sorted(homes):
        try:
            loaded = Store((homes[name],)).load(name)
        except WardgateError as error:
            failed = True
            click.echo(f"{name}: {error.detail}", err=True)
        else:
            click.echo(f"{name}: {len(loaded.manifest.files)} files as declared")
    if failed:
        sys.exit(1)


def _homes(folder: Path | None) -> dict[str, Path]:
    """Return the folder that holds each model, by name; a site's own folder wins."""
    found: dict[str, Path] = {}
    for home in (SHIPPED, *([folder] if folder else [])):
        for manifest in home.glob("*/manifest.json"):
            found[manifest.parent.name] = home
    return found
