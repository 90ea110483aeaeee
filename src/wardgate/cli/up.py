"""`wardgate up`: start the gateway, send one real note through it, show what became of it."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import click
import httpx

from wardgate.audit.keys import load_public_keys
from wardgate.audit.read import search
from wardgate.audit.verify import verify
from wardgate.auth.issuer import DevelopmentIssuer
from wardgate.cli.serve import in_loop, server_options, settings_from
from wardgate.errors import SettingsInvalid, StateInvalid
from wardgate.settings import Settings
from wardgate.types import EntityType
from wardgate.web.process import log_to_stderr
from wardgate.web.run import Addresses, run

_COLOURS = ("bright_red", "bright_yellow", "bright_cyan", "bright_green", "bright_magenta")
_TAG = re.compile(r"\[(" + "|".join(EntityType) + r")\]")
_BAR = 28


@click.command()
@server_options
@click.option("--once", is_flag=True, help="Show one note and exit.")
def up(*, once: bool, **flags: Any) -> None:
    """Start the gateway, send a clinical note with invented PHI through it, and keep serving."""
    settings = settings_from(flags)
    if not settings.development_issuer or settings.server.tls_cert:
        raise SettingsInvalid("'up' shows the gateway with its development issuer, without TLS.")
    log_to_stderr()
    began = time.monotonic()
    shown = False

    async def ready(addresses: Addresses) -> bool:
        nonlocal shown
        click.echo(f"the gateway is ready after {time.monotonic() - began:.1f} s")
        await asyncio.to_thread(_show, settings, addresses)
        shown = True
        if once:
            return False
        click.echo(addresses.line())
        click.echo("serving; Ctrl-C ends it")
        return True

    click.echo("starting: checking the models, warming the engine, opening the audit record ...")
    in_loop(run(settings, on_ready=ready))
    if once and not shown:
        sys.exit(1)


def _show(settings: Settings, addresses: Addresses) -> None:
    """Send the note and print all that came of it."""
    note = resources.files("wardgate.cli").joinpath("notes", "clinic.txt").read_text("utf-8")
    token = DevelopmentIssuer.open(settings.state).issue(subject="up", now=time.time())
    body = {"model": "sentiment", "text": note, "purpose": "TREAT", "reference_date": "2024-03-14"}
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=addresses.url, headers=headers, trust_env=False) as client:
        reply = client.post("/v1/predict", json=body, timeout=30)
    answer = reply.json()
    if reply.status_code != httpx.codes.OK:
        raise StateInvalid(f"The gateway answered {answer.get('title')}: {answer.get('detail')}")
    _heading("the note, as it was sent")
    click.echo(note)
    _heading("de-identified (policy safe_harbor), all that the model saw")
    click.echo(_coloured(answer["text"]))
    _heading("the prediction")
    for label, score in answer["scores"].items():
        bar = "#" * round(score * _BAR)
        click.echo(f"  {label:<10}{score:7.4f}  {bar}")
    _heading("where the time went")
    for hop, milliseconds in _hops(reply.headers["server-timing"]):
        click.echo(f"  {hop:<10}{milliseconds:9.3f} ms")
    _audit(settings, answer["request_id"])
    _next(settings, addresses)


def _audit(settings: Settings, request_id: str) -> None:
    """Print the records of a request and the verdict on the whole chain."""
    folder = settings.audit.folder or settings.state / "audit"
    _heading(f"the audit record of request {request_id}")
    for record in search(folder, request_id=request_id):
        said = {"seq": record["seq"], **record["event"]}
        shown = [f"{name}={_short(said[name])}" for name in _SHOWN if said.get(name)]
        click.echo("  " + "  ".join(shown))
    report = verify(folder, load_public_keys(settings.state))
    if not report.ok:
        raise StateInvalid("The audit chain does not verify; run 'wardgate audit verify'.")
    click.echo(f"  {report.records} records verified: hashes, order and signatures hold")


_SHOWN = ("seq", "kind", "sub", "route", "model", "policy", "purpose", "status", "phi_counts")


def _short(value: object) -> str:
    """Return a value of a record in few words."""
    if not isinstance(value, dict):
        return str(value)
    if "digest" in value:
        return f"{value['name']}:{value['version']}"
    return ",".join(f"{name}:{count}" for name, count in value.items())


def _next(settings: Settings, addresses: Addresses) -> None:
    """Print the three lines that a newcomer types next."""
    given = settings.state != Settings.model_fields["state"].default
    state = f" --state {shlex.quote(str(settings.state))}" if given else ""
    program = "wardgate" if Path(sys.argv[0]).name == "wardgate" else "python -m wardgate"
    if sys.prefix != sys.base_prefix:
        program = str(Path(sys.prefix, "bin", "wardgate"))
    with_cwd = Path(program)
    if with_cwd.is_absolute() and with_cwd.is_relative_to(Path.cwd()):
        program = str(with_cwd.relative_to(Path.cwd()))
    _heading("go on")
    click.echo(f"  export WARDGATE_TOKEN=$({program} token{state})")
    click.echo(
        f'  curl -s {addresses.url}/v1/predict -H "Authorization: Bearer $WARDGATE_TOKEN" '
        "-H 'Content-Type: application/json' "
        """-d '{"model":"sentiment","text":"John Smith is much better today."}'"""
    )
    click.echo(f"  {program} predict{state} 'Dr. Amy Lee was kind and the pain is gone.'")
    click.echo(f"\n  the interface is described at {addresses.url}/docs")


def _coloured(text: str) -> str:
    """Return the text with its tags coloured by type; click drops colours off a terminal."""
    order = list(EntityType)

    def colour(found: re.Match[str]) -> str:
        place = order.index(EntityType(found[1])) % len(_COLOURS)
        return click.style(found[0], fg=_COLOURS[place], bold=True)

    return _TAG.sub(colour, text)


def _hops(header: str) -> list[tuple[str, float]]:
    """Return name and milliseconds of each hop of a `Server-Timing` header."""
    found = []
    for item in header.split(", "):
        name, _, duration = item.partition(";dur=")
        found.append((name, float(duration)))
    return found


def _heading(text: str) -> None:
    click.echo("\n" + click.style(f"-- {text} ", bold=True) + "-" * max(2, 76 - len(text)))
