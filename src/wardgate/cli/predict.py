"""`wardgate predict`: a client of `POST /v1/predict`, for one text or a file of them."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import httpx

from wardgate.cli import bulk
from wardgate.cli.form import Form
from wardgate.cli.journal import drafts
from wardgate.cli.jsonl import check_distinct
from wardgate.cli.options import access_token, gateway_url, state_option
from wardgate.cli.sender import Sender
from wardgate.setting_groups import is_loopback
from wardgate.types import Priority

_SECONDS = {Priority.INTERACTIVE: 10.0, Priority.BULK: 60.0}
"""How long a request may take where the user does not say."""
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("text", required=False)
@click.option("--model", default="sentiment", show_default=True, help="Name of a served model.")
@click.option("--policy", default=None, help="De-identification policy.")
@click.option("--purpose", default=None, help="HL7 PurposeOfUse code, such as TREAT.")
@click.option(
    "--priority",
    type=click.Choice([each.value for each in Priority]),
    default=None,
    help="Who goes first in the gateway.  [default: interactive; bulk with --jsonl]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.001),
    default=None,
    help="Seconds to wait for an answer.  [default: 10; 60 with priority bulk]",
)
@click.option(
    "--jsonl",
    nargs=2,
    type=_FILE,
    metavar="IN OUT",
    help='Read {"text": ...} a line from IN; write it to OUT with the answer and without "text".',
)
@click.option(
    "--errors",
    type=_FILE,
    default=None,
    help="File for the lines of IN that got no answer.  [default: OUT.errors]",
)
@click.option("--keep-text", is_flag=True, help='Leave "text" in OUT as it was: OUT is then PHI.')
@click.option(
    "--under",
    metavar="NAME",
    default=None,
    help="Write the answer as one member of this name.  [default: as several]",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 1024),
    default=32,
    show_default=True,
    help="Lines in a request.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Requests in flight.",
)
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=300.0,
    show_default=True,
    help="Seconds that the gateway may be away or busy before a job stops.",
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
    priority: str | None,
    timeout: float | None,
    jsonl: tuple[Path, Path] | None,
    errors: Path | None,
    keep_text: bool,
    under: str | None,
    batch: int,
    concurrency: int,
    patience: float,
    url: str | None,
    ca: str | None,
    cert: str | None,
    key: str | None,
    state: Path,
) -> None:
    """Send TEXT (or standard input, with - or nothing) through the gateway and print the reply.

    A note belongs on standard input: other users of the machine can read a command line, and shells
    keep it. TEXT is overwritten there as soon as it was read, which is late and not everywhere.

    With --jsonl send the lines of a file. A job that was cut off goes on when the same command is
    run again: OUT.journal says how far it was. The report on standard output counts all lines. Exit
    code 0: every line is in OUT or in the error file; 1: the job stopped and can go on; 2: it did
    not begin; 130: Ctrl-C.
    """
    if text is not None:
        _veil(text)
    rank = Priority(priority) if priority else Priority.BULK if jsonl else Priority.INTERACTIVE
    seconds = _SECONDS[rank] if timeout is None else timeout
    fields: dict[str, Any] = {"model": model, "timeout_ms": max(1, int(seconds * 1000))}
    said = {"policy": policy, "purpose": purpose, "priority": rank.value}
    fields |= {name: value for name, value in said.items() if value is not None}
    trust = _trust(ca, cert, key)

    def address() -> str:
        found = gateway_url(state, url)
        if found.startswith("http://") and not _is_here(found):
            raise click.UsageError("The note and the token go to another machine over https alone.")
        return found

    if jsonl is None:
        if errors is not None or keep_text or under is not None:
            raise click.UsageError("--errors, --keep-text and --under go with --jsonl.")
        _one(text, fields, address=address, state=state, seconds=seconds, trust=trust)
        return
    if text is not None:
        raise click.UsageError("Give a text or --jsonl IN OUT, not both.")
    source, target = jsonl
    errors = errors or target.with_name(target.name + ".errors")
    check_distinct(source, target, errors, *drafts(target))
    address()  # before a file is made
    access_token(state, model)

    def sender(stop: asyncio.Event) -> Sender:
        return Sender(
            client=httpx.AsyncClient(timeout=seconds + 5, verify=trust, trust_env=False),
            address=address,
            token=lambda: access_token(state, model),
            fields=fields,
            room=asyncio.Semaphore(concurrency),
            stop=stop,
            patience=patience,
            tell=lambda sentence: click.echo(sentence, err=True),
            most=batch,
        )

    bulk.run(
        source,
        target,
        errors,
        form=Form(keep_text, under),
        options={"model": model, "policy": policy, "purpose": purpose},
        concurrency=concurrency,
        sender=sender,
    )


def _one(
    text: str | None,
    fields: dict[str, Any],
    *,
    address: Callable[[], str],
    state: Path,
    seconds: float,
    trust: ssl.SSLContext | bool,
) -> None:
    """Send one text and print the reply."""
    if text is None and sys.stdin.isatty():
        raise click.UsageError("Give the text, or - to read it from standard input.")
    raw = sys.stdin.buffer.read() if text in {None, "-"} else os.fsencode(str(text))
    try:
        note = raw.decode()
    except UnicodeDecodeError:
        raise click.ClickException("The text is not UTF-8.") from None
    place = address()
    try:
        reply = httpx.post(
            f"{place}/v1/predict",
            json={**fields, "text": note},
            headers={"Authorization": f"Bearer {access_token(state, fields['model'])}"},
            timeout=seconds + 5,
            verify=trust,
            trust_env=False,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise click.ClickException(f"{place} did not answer ({type(error).__name__}).") from None
    try:
        answer = reply.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise click.ClickException(f"{place} is not a Wardgate gateway.")
    if reply.status_code != httpx.codes.OK:
        raise click.ClickException(
            f"{answer.get('status')} {answer.get('title')}: {answer.get('detail')}"
        )
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def _veil(text: str) -> None:
    """Overwrite the text in what `ps` shows of this process, where the system lets us (Linux)."""
    wanted = b"\0" + os.fsencode(text) + b"\0"
    with suppress(OSError, ValueError, IndexError):
        # The fields after the name, which may hold anything: arg_start is the 48th, proc(5).
        fields = Path("/proc/self/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
            memory.seek(start)
            at = memory.read(end - start).find(wanted)
            if text and at >= 0:
                memory.seek(start + at + 1)
                memory.write(b"*" * (len(wanted) - 2))


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
