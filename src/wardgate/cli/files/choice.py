"""Which policy a job goes by, and how its processes come to go by exactly that one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wardgate.cli.journal import Refused
from wardgate.deid import policyfile
from wardgate.deid.deidentify import Deidentifier
from wardgate.deid.policy import Policy
from wardgate.deid.secret import mac
from wardgate.errors import PolicyUnknown, StateInvalid

_MARK = 16
"""Hex digits that tell one secret from another; nothing can be derived from them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A policy, the folder of the site that it came with, and the secret of derived values."""

    policy: Policy
    folder: Path | None = None
    secret: bytes | None = field(default=None, repr=False)

    def detector(self) -> Deidentifier:
        """Return what de-identifies so."""
        catalog = policyfile.read(self.folder) if self.folder else policyfile.shipped()
        found = Deidentifier(self.policy.name, catalog=catalog, secret=self.secret)
        found.chosen(None, self.policy.hash)
        return found

    def job(self) -> dict[str, object]:
        """Return what of it decides what is written."""
        said: dict[str, object] = {"policy": f"{self.policy.name} {self.policy.hash}"}
        if self.policy.derives and self.secret is not None:
            said["key file"] = mac(self.secret, "job", "").hex()[:_MARK]
        return said

    def pack(self) -> dict[str, Any]:
        """Return it as plain values, for `unpack` in another process."""
        folder = None if self.folder is None else str(self.folder)
        return {
            "policy": self.policy.name,
            "hash": self.policy.hash,
            "folder": folder,
            "secret": self.secret,
        }


def choose(name: str, folder: Path | None, key_file: Path | None) -> Choice:
    """Return a policy by name, of those shipped and those of a folder.

    Raises PolicyUnknown, SettingsInvalid with what is wrong in the folder or where the policy needs
    a vault, or StateInvalid where the secret is not 32 bytes that nobody else can read.
    """
    catalog = policyfile.read(folder) if folder else policyfile.shipped()
    found = Choice(catalog.get(name), folder, None if key_file is None else _secret(key_file))
    found.detector()
    return found


def check_lasting(choice: Choice) -> None:
    """Raise Refused where several processes, or a job that goes on, would derive other values."""
    if choice.policy.derives and choice.secret is None:
        raise Refused(
            f"Policy {choice.policy.name} derives values from a secret, which all processes of a "
            "job must share: give --key-file, a file of 32 random bytes of mode 0600."
        )


def unpack(said: Mapping[str, Any]) -> Deidentifier:
    """Return what de-identifies as `pack` says. Raises PolicyUnknown where the files changed."""
    folder = None if said["folder"] is None else Path(said["folder"])
    catalog = policyfile.read(folder) if folder else policyfile.shipped()
    policy = catalog.get(said["policy"])
    if policy.hash != said["hash"]:
        raise PolicyUnknown(reason="policy-changed")
    return Choice(policy, folder, said["secret"]).detector()


def _secret(path: Path) -> bytes:
    if not path.exists():
        raise StateInvalid(f"{path} is not there. Make it: head -c 32 /dev/urandom > {path}")
    from wardgate.audit.keys import secret_file  # noqa: PLC0415 -- costs what few need

    return secret_file(path, lambda: b"")
