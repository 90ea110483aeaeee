"""`wardgate models`: which models there are, who vouches for them, whether files are as declared.

Adding a model and signing it are two acts: `add` never signs, and `sign` takes a key that the
gateway does not have.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from wardgate import settings
from wardgate.errors import SettingsInvalid, StateInvalid, WardgateError
from wardgate.registry import signature
from wardgate.registry.publish import put_signature
from wardgate.registry.store import Store, Unread, open_store

_Command = TypeVar("_Command", bound=Callable[..., Any])
_path = click.Path(path_type=Path)


def place_options(command: _Command) -> _Command:
    """Add the options that say where models lie; without them the settings do."""
    for option in (
        click.option("--url", help="fsspec URL of models, such as s3://bucket/models."),
        click.option("--folder", type=_path, help="Folder of models besides the shipped ones."),
        click.option("--state", type=_path, help="State folder.  [default: .wardgate]"),
    ):
        command = option(command)
    return command


def read_settings(state: Path | None, folder: Path | None, url: str | None) -> settings.Settings:
    """Return a gateway's settings, with what the options gave on top. Raises SettingsInvalid."""
    tree: dict[str, Any] = {} if state is None else {"state": state}
    given = {"folder": folder, "url": url}
    registry = {name: value for name, value in given.items() if value is not None}
    return settings.load(**tree, **({"registry": registry} if registry else {}))


def store_of(found: settings.Settings) -> Store:
    """Return the store that a gateway with these settings has."""
    registry = found.registry
    return open_store(
        folder=registry.folder or found.state / "registry",
        url=registry.url,
        cache=found.state / "models",
        trusted=registry.trusted_keys,
        allow_unsigned=registry.insecure_allow_unsigned,
    )


def own_place(found: settings.Settings, *, folder: Path | None) -> str:
    """Return the folder or URL that models are added to, and signed in; `folder` is an option's."""
    if folder is None and found.registry.url:
        return found.registry.url
    return str(found.registry.folder or found.state / "registry")


_LATER = {"add": "wardgate.cli.add", "export": "wardgate.cli.export"}
"""Commands loaded on first use, by name: little else needs their modules."""


class _Models(click.Group):
    """The command group; loads what is in `_LATER` on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_LATER])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _LATER:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(_LATER[cmd_name]), cmd_name)
        return command


@click.group(cls=_Models)
def models() -> None:
    """Add, sign, verify and export models, and change which version answers."""


@models.command("list")
@place_options
def list_models(**places: Any) -> None:
    """List the models: name, version, task, precision, who vouches for it, manifest's digest.

    Exit code 1: something of the registry cannot be read; the rest is listed all the same.
    """
    store = store_of(read_settings(**places))
    found, unread = store.survey()
    failed = _say(unread)
    for each in found:
        try:
            manifest, signed = store.describe(each.name, each.version)
        except WardgateError as error:
            failed = True
            click.echo(f"{each.name}  version {each.version}: {error.detail}", err=True)
        else:
            click.echo(
                f"{each.name}  version {each.version}  {manifest.task or manifest.kind}  "
                f"{manifest.precision}  {signed}  sha256:{manifest.digest}"
            )
    if failed:
        sys.exit(1)


def _say(unread: list[Unread]) -> bool:
    """Say what cannot be read; tell whether there is any."""
    for each in unread:
        click.echo(each.detail, err=True)
    return bool(unread)


@models.command()
@click.argument("names", nargs=-1)
@place_options
def verify(names: tuple[str, ...], **places: Any) -> None:
    """Check signature and files of every version of the models NAMES, or of all.

    Exit code 1: one of them is not as declared, not trusted, or cannot be read.
    """
    store = store_of(read_settings(**places))
    found, unread = store.survey()
    if names:
        found = [each for each in found if each.name in names]
        unread = [each for each in unread if each.name in ("", *names)]
    failed = _say(unread)
    unknown = set(names) - {each.name for each in found} - {each.name for each in unread}
    if unknown:
        raise click.UsageError(f"No such model: {', '.join(sorted(unknown))}.")
    for each in found:
        try:
            loaded = store.load(each.name, each.version, whole=True)
        except WardgateError as error:
            failed = True
            click.echo(f"{each.name} {each.version}: {error.detail}", err=True)
        else:
            click.echo(
                f"{each.name} {each.version}: {len(loaded.files)} files as declared, "
                f"{loaded.signed}, sha256:{loaded.manifest.digest}"
            )
    if failed:
        sys.exit(1)


@models.command()
@click.argument("file", type=_path)
def keygen(file: Path) -> None:
    """Make a key pair to sign models with: the private key in FILE, the public one printed."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pem)
    except OSError as error:
        raise StateInvalid(f"The key file cannot be made ({error.strerror}).") from None
    public = key.public_key()
    click.echo(f"key {signature.key_id(public)} in {file}; keep it away from the gateway", err=True)
    click.echo(f"WARDGATE_REGISTRY__TRUSTED_KEYS='[\"{signature.public_text(public)}\"]'")


@models.command()
@click.argument("name")
@click.argument("version")
@click.option("--key", "key_file", type=_path, required=True, help="PEM file of the private key.")
@place_options
def sign(name: str, version: str, key_file: Path, **places: Any) -> None:
    """Sign VERSION of the model NAME, after all its files were held against its manifest."""
    found = read_settings(**places)
    key = _private_key(key_file)
    target = own_place(found, folder=places["folder"])
    store = open_store(
        folder=None if "://" in target else Path(target),
        url=target if "://" in target else None,
        cache=found.state / "models",
        trusted=(),
        allow_unsigned=False,
    )
    loaded = store.inspect(name, version)
    if loaded.signed.state == "shipped":
        raise click.UsageError("A shipped model needs no signature.")
    put_signature(target, name, version, signature.sign(loaded.raw, key))
    click.echo(
        f"{name} {version}: sha256:{loaded.manifest.digest} signed by "
        f"{signature.key_id(key.public_key())}"
    )


def _private_key(path: Path) -> Ed25519PrivateKey:
    """Return the key of a PEM file. Raises StateInvalid or SettingsInvalid."""
    try:
        with path.open("rb") as stream:
            if stat.S_IMODE(os.fstat(stream.fileno()).st_mode) & 0o077:
                raise StateInvalid("The key file is open to others: set mode 0600.")
            key = load_pem_private_key(stream.read(1 << 16), password=None)
    except OSError as error:
        raise StateInvalid(f"The key file cannot be read ({error.strerror}).") from None
    except (ValueError, TypeError):
        raise SettingsInvalid("The key file holds no private key without a password.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsInvalid("The key file holds no Ed25519 key.")
    return key
