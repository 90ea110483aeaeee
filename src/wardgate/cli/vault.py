"""`wardgate vault`: what the vault holds, and how it forgets. Beside a running gateway or without.

Nothing here shows or releases a value: that is `POST /v1/reidentify`, with a scope and a record.
"""

from __future__ import annotations

import getpass
import json
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import TextIO

import click

from wardgate.audit.digest import BodyDigest
from wardgate.audit.event import vault_entry
from wardgate.audit.keys import load_public_keys, open_signing_key
from wardgate.audit.sink import SqliteSink, now_us
from wardgate.cli.options import state_option
from wardgate.corefiles import forbid_core_files
from wardgate.deid.vault_store import VaultStore
from wardgate.errors import StateInvalid
from wardgate.settings import Settings, load
from wardgate.web.reidentify import reason_digest
from wardgate.web.vault import FOLDER, open_store

CHAIN = "vault-cli"
"""Audit chain of what is done here."""


@click.group()
def vault() -> None:
    """Show what the vault holds, delete what has expired, destroy a tenant's codes."""


@vault.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(state: Path, *, as_json: bool) -> None:
    """Show how many codes each tenant has, and under which data key."""
    with closing(_existing(load(state=state))) as store:
        standings = store.standings()
    if as_json:
        rows = [{"tenant": s.tenant, "codes": s.codes, "key": s.key or None} for s in standings]
        click.echo(json.dumps(rows, indent=2))
        return
    for each in standings:
        click.echo(f"{each.tenant}: {each.codes} codes, key {each.key or 'destroyed'}")
    if not standings:
        click.echo("The vault holds no codes.")


@vault.command()
@state_option
def expire(state: Path) -> None:
    """Delete what has expired now; a running gateway does so every minute."""
    with closing(_existing(load(state=state))) as store:
        while store.sweep():
            pass
    click.echo("What had expired is deleted.")


@vault.command()
@state_option
@click.argument("tenant")
@click.option("--yes", is_flag=True, help="Do not ask.")
def destroy(state: Path, tenant: str, *, yes: bool) -> None:
    """Destroy TENANT's data key: none of its codes can ever be turned back again.

    The audit record shows who did it. Copies of the folder 'vault' in backups hold the key still;
    they must go too.
    """
    settings = load(state=state)
    with closing(_existing(settings)) as store:
        key = next((s.key for s in store.standings() if s.tenant == tenant), "")
        if not key:
            raise StateInvalid("This tenant has no codes.")
        if not yes:
            click.confirm(f"Destroy all codes of {tenant} for good?", abort=True)
        with closing(_sink(settings)) as sink:
            by = getpass.getuser()
            _record(sink, tenant, "intent", key, by)
            done = store.destroy(tenant)
            _record(sink, tenant, "done" if done else "nothing", done or key, by)
        while store.sweep():
            pass
    click.echo(f"The codes of {tenant} are destroyed.")


@vault.command()
@state_option
@click.argument("file", type=click.File("r", encoding="utf-8"), default="-")
def reason(state: Path, file: TextIO) -> None:
    """Print the digest under which the audit record holds the reason in FILE or standard input.

    To check a reason that somebody says they gave: the record holds no words.
    """
    if not state.is_dir():
        raise StateInvalid(f"There is no state folder at {state}.")
    click.echo(reason_digest(BodyDigest(state), file.read()))


def _existing(settings: Settings) -> VaultStore:
    if not (settings.state / FOLDER).is_dir():
        raise StateInvalid(f"There is no vault in {settings.state}.")
    forbid_core_files()  # a key is about to be read
    return open_store(settings.state, settings.vault)


def _sink(settings: Settings) -> SqliteSink:
    return SqliteSink(
        settings.audit.folder or settings.state / "audit",
        CHAIN,
        key=open_signing_key(settings.state),
        version=metadata.version("wardgate"),
        public_keys=load_public_keys(settings.state),
    )


def _record(sink: SqliteSink, tenant: str, stage: str, key: str, by: str) -> None:
    """Write what is about to be done, or was done; durable on return."""
    sink.append([vault_entry(tenant, now_us(), action="destroy", stage=stage, key=key, by=by)])
    sink.seal()
