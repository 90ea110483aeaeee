"""`wardgate token`: a JWT of the development issuer."""

from __future__ import annotations

import time
from pathlib import Path

import click

from wardgate.auth.issuer import DEFAULT_SCOPES, MAX_TTL_SECONDS
from wardgate.cli.options import development_issuer, state_option


@click.command()
@state_option
@click.option("--subject", default="developer", show_default=True, help="Who the token is for.")
@click.option("--scope", default=None, help="Scopes, separated by spaces.  [default: the usual]")
@click.option("--tenant", default="default", show_default=True, help="Tenant of the caller.")
@click.option(
    "--ttl",
    type=click.IntRange(1, MAX_TTL_SECONDS),
    default=MAX_TTL_SECONDS,
    show_default=True,
    help="Seconds that it is valid.",
)
def token(state: Path, subject: str, scope: str | None, tenant: str, ttl: int) -> None:
    """Print an access token of the development issuer."""
    click.echo(
        development_issuer(state).issue(
            subject=subject,
            scopes=DEFAULT_SCOPES if scope is None else scope.split(),
            tenant=tenant,
            ttl_seconds=ttl,
            now=time.time(),
        )
    )
