"""Options that several commands take, and what they find through the state folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from wardgate.auth.issuer import DEFAULT_SCOPES, FOLDER, DevelopmentIssuer
from wardgate.auth.permissions import is_scope
from wardgate.errors import StateInvalid
from wardgate.web.process import GATEWAY_FILE

_Command = TypeVar("_Command", bound=Callable[..., Any])


def state_option(command: _Command) -> _Command:
    """Add `--state`."""
    return click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="WARDGATE_STATE",
        default=Path(".wardgate"),
        show_default=True,
        help="State folder of the gateway.",
    )(command)


def policies_option(command: _Command) -> _Command:
    """Add `--policies`."""
    return click.option(
        "--policies",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="WARDGATE_DEID__POLICIES",
        default=None,
        help="Folder of the site's own policies.",
    )(command)


def gateway_url(state: Path, url: str | None) -> str:
    """Return the address given, or that of the gateway running on this state folder.

    Raises StateInvalid where there is neither.
    """
    if url:
        return url.rstrip("/")
    try:
        found = json.loads((state / GATEWAY_FILE).read_text())["url"]
    except (OSError, ValueError, KeyError):
        raise StateInvalid(
            f"No gateway runs on {state}; start one with 'wardgate serve', or give --url."
        ) from None
    return str(found)


def access_token(state: Path, model: str = "") -> str:
    """Return `WARDGATE_TOKEN`, or a token of the development issuer of this state folder.

    The issuer's token is for what it gives by itself, and for `model`.
    Raises StateInvalid where there is neither.
    """
    given = os.environ.get("WARDGATE_TOKEN")
    if given:
        return given
    scope = f"infer:{model}"
    scopes = (*DEFAULT_SCOPES, scope) if is_scope(scope) else DEFAULT_SCOPES
    return development_issuer(state).issue(
        subject="cli", now=time.time(), scopes=dict.fromkeys(scopes)
    )


def development_issuer(state: Path) -> DevelopmentIssuer:
    """Return the development issuer of a state folder. Raises StateInvalid where there is none."""
    if not (state / FOLDER).is_dir():
        raise StateInvalid(
            f"There is no development issuer in {state}: start a gateway there first, or set "
            "WARDGATE_TOKEN."
        )
    return DevelopmentIssuer.open(state)
