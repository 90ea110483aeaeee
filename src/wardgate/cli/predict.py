"""`wardgate predict`: a client of `POST /v1/predict`."""

from __future__ import annotations

import json
import os
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click
import httpx

from wardgate.cli.options import access_token, gateway_url, state_option
from wardgate.settings import is_loopback


@click.command()
@click.argument("text", required=False)
@click.option("--model", default="sentiment", show_default=True, help="Name of a served model.")
@click.option("--policy", default=None, help="De-identification policy.")
@click.option("--purpose", default=None, help="HL7 PurposeOfUse code, such as TREAT.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.001),
    default=10.0,
    show_default=True,
    help="Seconds to wait.",
)
@click.option(
    "--url",
    envvar="WARDGATE_URL",
    default=None,
    help="Address of the gateway.  [default: the one on the state folder]",
)
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False),
    default=None,
    help="PEM file of the authorities that the gateway's certificate is checked with.",
)
@click.option(
    "--cert",
    type=click.Path(exists=True, dir_okay=False),
    default=None,
    help="PEM file of a client certificate.",
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False),
    default=None,
    help="PEM file of its private key.",
)
@state_option
def predict(  # noqa: PLR0917 -- click passes options by name
    text: str | None,
    model: str,
    policy: str | None,
    purpose: str | None,
    timeout: float,
    url: str | None,
    ca: str | None,
    cert: str | None,
    key: str | None,
    state: Path,
) -> None:
    """Send TEXT (or standard input, with - or nothing) through the gateway and print the reply."""
    if text is None and sys.stdin.isatty():
        raise click.UsageError("Give the text, or - to read it from standard input.")
    raw = sys.stdin.buffer.read() if text in {None, "-"} else os.fsencode(str(text))
    try:
        note = raw.decode()
    except UnicodeDecodeError:
        raise click.ClickException("The text is not UTF-8.") from None
    body = {"model": model, "text": note, "timeout_ms": max(1, int(timeout * 1000))}
    if policy is not None:
        body["policy"] = policy
    if purpose is not None:
        body["purpose"] = purpose
    address = gateway_url(state, url)
    if address.startswith("http://") and not _is_here(address):
        raise click.UsageError("The note and the token go to another machine over https alone.")
    try:
        reply = httpx.post(
            f"{address}/v1/predict",
            json=body,
            headers={"Authorization": f"Bearer {access_token(state)}"},
            timeout=timeout + 5,
            verify=_trust(ca, cert, key),
            trust_env=False,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise click.ClickException(f"{address} did not answer ({type(error).__name__}).") from None
    try:
        answer = reply.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise click.ClickException(f"{address} is not a Wardgate gateway.")
    if reply.status_code != httpx.codes.OK:
        raise click.ClickException(
            f"{answer.get('status')} {answer.get('title')}: {answer.get('detail')}"
        )
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def _trust(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext | bool:
    """Return what checks the gateway's certificate and shows ours."""
    if (cert is None) != (key is None):
        raise click.UsageError("--cert and --key go together.")
    if ca is None and cert is None:
        return True
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert is not None:
            context.load_cert_chain(cert, key)
    except (ssl.SSLError, OSError):
        raise click.ClickException("The certificate files cannot be used.") from None
    return context


def _is_here(address: str) -> bool:
    """Tell whether an address is on this machine; one that cannot be read goes nowhere anyway."""
    try:
        host = urlsplit(address).hostname
    except ValueError:
        return True
    return host is None or is_loopback(host)
