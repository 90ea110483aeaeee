"""`wardgate policies`: which there are, what one does, and whether a site's files are right."""

from __future__ import annotations

import json
from pathlib import Path

import click

from wardgate.deid import policyfile
from wardgate.deid.policy import Action, Policy
from wardgate.deid.policyfile import SITE, Catalog
from wardgate.errors import SettingsInvalid

_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="WARDGATE_DEID__POLICIES",
    help="Folder of the site's own policies.",
)


@click.group()
def policies() -> None:
    """List, show and check de-identification policies."""


@policies.command("list")
@_folder
def list_(folder: Path | None) -> None:
    """List all policies: name, start of the hash, standard, and what they do."""
    for policy in _catalog(folder).policies.values():
        standard = policy.standard or "-"
        click.echo(f"{policy.name}\t{policy.hash[:12]}\t{standard}\t{policy.description}")


@policies.command()
@click.argument("name")
@_folder
def show(name: str, folder: Path | None) -> None:
    """Show a policy as JSON, a start for a file of one's own; its hash goes to standard error."""
    policy = _catalog(folder).get(name)
    click.echo(json.dumps(policy.document, indent=2, ensure_ascii=False))
    click.echo(f"hash {policy.hash}", err=True)


@policies.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
def check(file: Path) -> None:
    """Check a policy file, a site file, or a folder of both; exit code 2 where one is wrong.

    It says what a gateway would say at its start: file, line and reason.
    """
    if file.is_dir():
        found = policyfile.read(file)
        own = [p for p in found.policies.values() if p.name not in policyfile.shipped().policies]
        for policy in own:
            _said(policy)
        click.echo(f"{file}: {len(own)} policies of the site, all right")
    elif file.stem == SITE:
        site = policyfile.read_site(file)
        click.echo(f"{file.name}: right, hash {site.digest[:12]}")
    elif file.suffix in {".toml", ".json"}:
        _said(policyfile.read_policy(file))
    else:
        raise SettingsInvalid(f"{file.name}:1: a policy is a .toml or a .json file.")


def _said(policy: Policy) -> None:
    """Say what a checked policy is, and what is derived from the person under it."""
    derived = [
        f"{action} ({', '.join(sorted(k for k, a in policy.actions.items() if a is action))})"
        for action in Action
        if policy.uses(action) and action not in {Action.REDACT, Action.GENERALIZE}
    ]
    click.echo(f"{policy.name}: right, hash {policy.hash[:12]}")
    for each in derived:
        click.echo(f"  not Safe Harbor's own: {each}" if not policy.standard else f"  {each}")


def _catalog(folder: Path | None) -> Catalog:
    return policyfile.read(folder) if folder is not None else policyfile.shipped()
