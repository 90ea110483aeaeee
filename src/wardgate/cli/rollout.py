"""`wardgate models promote|canary|shadow|rollback|retire|status`: clients of `/v1/models`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
import httpx

from wardgate.cli.models import models
from wardgate.cli.options import development_issuer, gateway_url, state_option
from wardgate.setting_groups import is_loopback

__all__ = ["models"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_POLL_SECONDS = 0.2
_SCOPES = ("models:read", "models:write")
_ENDED_BADLY = frozenset({"refused", "rolled-back"})


def _client(command: _Command) -> _Command:
    """Add the options of a client of the gateway."""
    command = state_option(command)
    command = click.option(
        "--ca",
        type=click.Path(exists=True, dir_okay=False),
        default=None,
        help="PEM file of the authorities that the gateway's certificate is checked with.",
    )(command)
    return click.option(
        "--url",
        envvar="WARDGATE_URL",
        default=None,
        help="Address of the gateway.  [default: the one on the state folder]",
    )(command)


def _waiting(command: _Command) -> _Command:
    """Add `--wait`."""
    return click.option(
        "--wait",
        type=click.FloatRange(0),
        default=900.0,
        show_default=True,
        help="Seconds to wait until the change is done; 0 does not wait.",
    )(command)


@models.command()
@click.argument("name")
@click.argument("version")
@_waiting
@_client
def promote(name: str, version: str, **options: Any) -> None:
    """Let VERSION of the model NAME serve, in place of the one that does."""
    _change("promote", name, {"version": version}, **options)


@models.command()
@click.argument("name")
@click.argument("version")
@click.option(
    "--percent",
    type=click.IntRange(1, 99),
    default=5,
    show_default=True,
    help="Share of the requests that it answers.",
)
@click.option(
    "--max-error-rate",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Take it back where it fails more than this share of its requests.",
)
@click.option(
    "--max-latency-ratio",
    type=click.FloatRange(1, 100),
    default=2.0,
    show_default=True,
    help="Take it back where its 95th percentile is more than this multiple of the other's.",
)
@click.option(
    "--min-requests",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Requests of each before latency is compared.",
)
@_waiting
@_client
def canary(  # noqa: PLR0917 -- click passes options by name
    name: str,
    version: str,
    percent: int,
    max_error_rate: float,
    max_latency_ratio: float,
    min_requests: int,
    **options: Any,
) -> None:
    """Let VERSION of the model NAME answer a share of the requests."""
    body = {
        "version": version,
        "percent": percent,
        "max_error_rate": max_error_rate,
        "max_latency_ratio": max_latency_ratio,
        "min_requests": min_requests,
    }
    _change("canary", name, body, **options)


@models.command()
@click.argument("name")
@click.argument("version")
@_waiting
@_client
def shadow(name: str, version: str, **options: Any) -> None:
    """Show requests for the model NAME to VERSION, and count whether it agrees."""
    _change("shadow", name, {"version": version}, **options)


@models.command()
@click.argument("name")
@_waiting
@_client
def rollback(name: str, **options: Any) -> None:
    """Take a candidate of the model NAME away, or go back to the version that served before."""
    _change("rollback", name, {}, **options)


@models.command()
@click.argument("name")
@click.argument("version")
@_client
def retire(name: str, version: str, **options: Any) -> None:
    """Take VERSION of the model NAME out for good."""
    _change("retire", name, {"version": version}, wait=0.0, **options)


@models.command()
@click.argument("name", required=False)
@_client
def status(name: str | None, url: str | None, ca: str | None, state: Path) -> None:
    """Show what serves of the model NAME (or of all), and what is on its way."""
    with _open(url, ca, state) as client:
        answer = _send(client, "GET", f"/v1/models/{name}" if name else "/v1/models")
    for model in answer.get("models", [answer]):
        _print(model)


def _change(
    action: str,
    name: str,
    body: dict[str, Any],
    *,
    wait: float,
    url: str | None,
    ca: str | None,
    state: Path,
) -> None:
    """Ask for a change, and show how it goes until it has ended."""
    with _open(url, ca, state) as client:
        model = _send(client, "POST", f"/v1/models/{name}/{action}", body)
        asked = model["change"]["id"]
        end, stage = time.monotonic() + wait, ""
        while model["change"]["state"] == "running" and time.monotonic() < end:
            if model["stage"] != stage:
                stage = model["stage"]
                click.echo(f"{stage} ...", err=True)
            time.sleep(_POLL_SECONDS)
            model = _send(client, "GET", f"/v1/models/{name}")
            if model["change"]["id"] != asked:
                raise click.ClickException("Another change has taken the place of this one.")
    _print(model)
    if model["change"]["state"] in _ENDED_BADLY:
        sys.exit(1)


def _print(model: dict[str, Any]) -> None:
    """Print where a model stands."""
    click.echo(f"{model['name']}  version {model['version']} serves  sha256:{model['digest']}")
    if model["previous"]:
        click.echo(f"  before it: version {model['previous']}")
    if model["candidate"]:
        share = f", {model['percent']} % of the requests" if model["percent"] else ""
        traffic = model["traffic"] if model["traffic"] != "all" else "no requests yet"
        click.echo(f"  candidate: version {model['candidate']} ({traffic}{share})")
    if model["stage"] != "serving":
        click.echo(f"  stage: {model['stage']}")
    for arm, seen in (model["seen"] or {}).items():
        said = (
            seen if not isinstance(seen, dict) else ", ".join(f"{k} {v}" for k, v in seen.items())
        )
        click.echo(f"  {arm}: {said}")
    if model["retired"]:
        click.echo(f"  retired: {', '.join(model['retired'])}")
    change = model["change"]
    if change:
        why = f": {change['reason']}" if change["reason"] else ""
        click.echo(
            f"  last change: {change['action']} {change['version']} by {change['by']}, "
            f"{change['state']}{why}"
        )
    workers = ", ".join(f"{name} at {at}" for name, at in model["workers"].items())
    click.echo(f"  generation {model['generation']}; {workers or 'no worker lives'}")


def _open(url: str | None, ca: str | None, state: Path) -> httpx.Client:
    """Return a client of the gateway that may change models."""
    token = os.environ.get("WARDGATE_TOKEN") or development_issuer(state).issue(
        subject="cli", scopes=_SCOPES, now=time.time()
    )
    address = gateway_url(state, url)
    host = urlsplit(address).hostname
    if address.startswith("http://") and host is not None and not is_loopback(host):
        raise click.UsageError("The token goes to another machine over https alone.")
    return httpx.Client(
        base_url=address,
        headers={"Authorization": f"Bearer {token}"},
        verify=ca or True,
        trust_env=False,
        timeout=30,
    )


def _send(
    client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Send a request and return what the reply holds; a refusal is told in its own words."""
    try:
        reply = client.request(method, path, json=body)
        answer = reply.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise click.ClickException(
            f"{client.base_url} did not answer ({type(error).__name__})."
        ) from None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise click.ClickException(f"{client.base_url} is not a Wardgate gateway.")
    if reply.is_error:
        raise click.ClickException(
            f"{answer.get('status')} {answer.get('title')}: {answer.get('detail')}"
        )
    return answer
