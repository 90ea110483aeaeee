"""Key files of the audit: made once under a lock, mode 0600, never printed.

Verification needs public keys alone. They lie beside the private key, not beside the records: who
can write the records must not be able to add a key that vouches for them.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from wardgate.errors import StateInvalid

SIGNING_FILE: Final = "audit-signing.key"
PUBLIC_GLOB: Final = "audit-*.pub"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The private key that signs heads."""

    key_id: str
    """First 16 hex digits of the SHA-256 of the raw public key."""
    private: Ed25519PrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id})"


def key_id(public: Ed25519PublicKey) -> str:
    """Return the id of a public key: 16 hex digits."""
    return sha256(public.public_bytes_raw()).hexdigest()[:16]


def open_signing_key(folder: Path) -> SigningKey:
    """Return the signing key of a state folder, made if there is none, its public half beside it.

    Raises StateInvalid where the file is damaged, open to others, or cannot be made.
    """
    pem = secret_file(folder / SIGNING_FILE, _new_pem)
    try:
        private = load_pem_private_key(pem, password=None)
    except ValueError:
        raise StateInvalid(f"{SIGNING_FILE} in the state folder holds no private key.") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise StateInvalid(f"{SIGNING_FILE} in the state folder is not an Ed25519 key.")
    public = private.public_key()
    name = key_id(public)
    secret_file(
        folder / f"audit-{name}.pub",
        lambda: public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )
    return SigningKey(name, private)


def load_public_keys(folder: Path) -> dict[str, Ed25519PublicKey]:
    """Return all public keys of a state folder by key id; keys of the past stay valid.

    Raises StateInvalid where a file holds no Ed25519 public key.
    """
    keys: dict[str, Ed25519PublicKey] = {}
    for path in sorted(folder.glob(PUBLIC_GLOB)):
        try:
            public = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError):
            raise StateInvalid(f"{path.name} in the state folder holds no public key.") from None
        if not isinstance(public, Ed25519PublicKey):
            raise StateInvalid(f"{path.name} in the state folder is not an Ed25519 key.")
        keys[key_id(public)] = public
    return keys


def secret_file(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return what a file of mode 0600 holds; `make` it under a lock where it is not there yet.

    Raises StateInvalid where it is open to others, or can be neither read nor made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            with os.fdopen(
                os.open(path.parent / "keys.lock", os.O_CREAT | os.O_RDWR, 0o600)
            ) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not path.exists():
                    _write_new(path, make())
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise StateInvalid(f"{path.name} in the state folder is open to others: set mode 0600.")
        return path.read_bytes()
    except OSError as error:
        raise StateInvalid(
            f"{path.name} in the state folder can be neither read nor made ({error.strerror})."
        ) from error


def _write_new(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, also after a power cut."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
