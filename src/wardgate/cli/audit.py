"""`wardgate audit`: read the record, and prove that it is whole."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from wardgate.audit import read
from wardgate.audit.keys import load_public_keys
from wardgate.audit.verify import ChainReport
from wardgate.audit.verify import verify as verify_folder
from wardgate.cli.options import state_option
from wardgate.errors import StateInvalid

_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="WARDGATE_AUDIT__FOLDER",
    default=None,
    help="Audit folder.  [default: audit in the state folder]",
)
_LISTED = 10
"""Intents without an outcome that are listed for each chain."""


@click.group()
def audit() -> None:
    """Verify, follow and search the audit record."""


@audit.command()
@state_option
@_folder
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify(state: Path, folder: Path | None, *, as_json: bool) -> None:
    """Check every chain; exits with 1 and names the first bad record if one does not hold."""
    report = verify_folder(_existing(state, folder), load_public_keys(state))
    if as_json:
        click.echo(json.dumps([_as_dict(chain) for chain in report.chains], indent=2))
    else:
        for chain in report.chains:
            _print(chain)
        verdict = "verified" if report.ok else "NOT VERIFIED"
        click.echo(f"{report.records} records in {len(report.chains)} chains: {verdict}")
    if not report.ok:
        sys.exit(1)


@audit.command()
@state_option
@_folder
@click.option(
    "-n", "--lines", type=click.IntRange(1), default=10, show_default=True, help="How many records."
)
def tail(state: Path, folder: Path | None, lines: int) -> None:
    """Print the last records of all chains, one JSON object a line."""
    _lines(read.tail(_existing(state, folder), lines))


@audit.command()
@state_option
@_folder
@click.option("--tenant", help="Tenant of the record.")
@click.option("--subject", help="Subject of the caller.")
@click.option("--request-id", help="Id of the request.")
@click.option("--kind", help="Kind of the record, such as intent, outcome or refusals.")
@click.option("--since", type=click.DateTime(), help="From this UTC time on.")
@click.option("--until", type=click.DateTime(), help="Before this UTC time.")
def search(
    state: Path,
    folder: Path | None,
    since: dt.datetime | None,
    until: dt.datetime | None,
    **filters: str | None,
) -> None:
    """Print all records that match, one JSON object a line."""
    _lines(
        read.search(_existing(state, folder), since=_micro(since), until=_micro(until), **filters)
    )


def _existing(state: Path, folder: Path | None) -> Path:
    found = folder or state / "audit"
    if not found.is_dir():
        raise StateInvalid(f"There is no audit record at {found}.")
    return found


def _micro(moment: dt.datetime | None) -> int | None:
    """Return microseconds since 1970 of a UTC time."""
    return int(moment.replace(tzinfo=dt.UTC).timestamp() * 1e6) if moment else None


def _lines(records: Iterable[dict[str, Any]]) -> None:
    try:
        for record in records:
            click.echo(json.dumps(record, ensure_ascii=False))
    except (sqlite3.Error, ValueError):
        raise StateInvalid(
            "The audit record cannot be read; 'wardgate audit verify' says where it breaks."
        ) from None


def _print(chain: ChainReport) -> None:
    result = chain.result
    click.echo(
        f"{chain.name}: {result.records} records, {result.heads} signed heads"
        + (f", {result.ahead} records past the last head" if result.ahead else "")
    )
    if result.interrupted:
        click.echo(f"  {result.interrupted} intents without an outcome: the gateway was killed")
    if result.in_flight:
        click.echo(
            f"  {result.in_flight} intents without an outcome so far: in flight, or cut short "
            "where the gateway does not run"
        )
    for intent in result.without_outcome[:_LISTED]:
        click.echo(f"    record {intent.seq}, request {intent.request_id}")
    if result.finding is not None:
        found = result.finding
        click.echo(f"  BROKEN at record {found.seq}: {found.what}: {found.detail}")


def _as_dict(chain: ChainReport) -> dict[str, Any]:
    result = chain.result
    finding = result.finding
    return {
        "chain": chain.name,
        "ok": chain.ok,
        "records": result.records,
        "heads": result.heads,
        "ahead": result.ahead,
        "in_flight": result.in_flight,
        "interrupted": result.interrupted,
        "without_outcome": [i.request_id for i in result.without_outcome],
        "finding": finding and {"seq": finding.seq, "what": finding.what, "detail": finding.detail},
    }
