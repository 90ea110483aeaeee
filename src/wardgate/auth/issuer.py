"""The development issuer: signs access tokens for trying Wardgate out on one machine.

Its key and its client's secret are made once, under a lock, and kept in a file that nobody else can
read. It is no identity provider: it has one client, which may have any scope that Wardgate knows.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from wardgate.auth import encoding
from wardgate.auth.claims import DEFAULT_TENANT, TENANT, is_name
from wardgate.auth.permissions import is_scope
from wardgate.errors import ClientInvalid, GrantInvalid, StateInvalid

ISSUER = "urn:wardgate:development-issuer"
"""The `iss` of its tokens."""
AUDIENCE = "wardgate"
"""The `aud` of its tokens."""
CLIENT = "development"
"""Its only client."""
ALGORITHM = "ES256"
DEFAULT_SCOPES = ("infer:sentiment", "deid", "models:read")
"""Scopes of a token where none are asked for."""
MAX_TTL_SECONDS = 3_600
"""Longest life of a token."""
FOLDER = "issuer"
"""Its folder in the state folder."""


@dataclass(frozen=True, slots=True)
class DevelopmentIssuer:
    """A signing key and the secret of one client; `repr` shows neither."""

    key_id: str
    client_secret: str = field(repr=False)
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def open(cls, state: Path) -> DevelopmentIssuer:
        """Read the key and secret in the state folder; make them where there are none yet.

        Any number of processes may call this at once: one makes them, all get the same.

        Raises StateInvalid where the file is open to others, damaged, or cannot be written.
        """
        folder = state / FOLDER
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(folder / "lock"):
                path = folder / "issuer.json"
                if not path.exists():
                    _write(path, _make())
                return cls._read(path)
        except OSError:
            raise StateInvalid("The development issuer's files cannot be read or made.") from None

    @classmethod
    def _read(cls, path: Path) -> DevelopmentIssuer:
        status = path.stat()
        if status.st_mode & 0o077 or status.st_uid != os.geteuid():
            raise StateInvalid("The development issuer's key file is open to other users.")
        try:
            stored = json.loads(path.read_bytes())
            key = load_pem_private_key(stored["key"].encode(), password=None)
            secret = stored["client_secret"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StateInvalid("The development issuer's key file is damaged.") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(secret, str):
            raise StateInvalid("The development issuer's key file is damaged.")
        return cls(_thumbprint(key.public_key()), secret, key)

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public key set (RFC 7517)."""
        public = {**_public_members(self._key.public_key()), "kid": self.key_id}
        return {"keys": [{**public, "alg": ALGORITHM, "use": "sig"}]}

    def issue(
        self,
        *,
        subject: str,
        client: str = CLIENT,
        scopes: Iterable[str] = DEFAULT_SCOPES,
        tenant: str = DEFAULT_TENANT,
        ttl_seconds: int = MAX_TTL_SECONDS,
        now: float,
    ) -> str:
        """Sign an access token (RFC 9068) that is good for `ttl_seconds`, at most an hour.

        Raises GrantInvalid for a scope that Wardgate does not know, a name or life out of bounds.
        """
        asked = tuple(scopes)
        if not all(map(is_scope, asked)):
            raise GrantInvalid(reason="scope-unknown")
        if not (is_name(subject) and is_name(client)):
            raise GrantInvalid("A name is not of the form accepted.", reason="subject")
        if not TENANT.fullmatch(tenant):
            raise GrantInvalid("The tenant's name is not of the form accepted.", reason="tenant")
        if not 0 < ttl_seconds <= MAX_TTL_SECONDS:
            raise GrantInvalid("A token lives between 1 second and 1 hour.", reason="ttl")
        said: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "client_id": client,
            "tenant": tenant,
            "scope": " ".join(asked),
            "iat": int(now),
            "exp": int(now) + ttl_seconds,
            "jti": str(uuid.uuid4()),
        }
        header = {"typ": "at+jwt", "kid": self.key_id}
        return jwt.encode(said, self._key, algorithm=ALGORITHM, headers=header)

    def check_client(self, client: str, secret: str) -> None:
        """Compare a client's id and secret in constant time.

        Raises ClientInvalid where either is wrong.
        """
        good_client = hmac.compare_digest(client.encode(errors="replace"), CLIENT.encode())
        good_secret = hmac.compare_digest(
            secret.encode(errors="replace"), self.client_secret.encode()
        )
        if not (good_client & good_secret):
            raise ClientInvalid

    def grant(self, form: Mapping[str, str], *, now: float) -> dict[str, str | int]:
        """Answer a token request with the client credentials grant (RFC 6749 §4.4).

        The client has proved itself before (`check_client`). Raises GrantInvalid.
        """
        if form.get("grant_type") != "client_credentials":
            raise GrantInvalid(reason="grant-type")
        scopes = tuple(form.get("scope", "").split()) or DEFAULT_SCOPES
        token = self.issue(subject=CLIENT, scopes=scopes, now=now)
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": MAX_TTL_SECONDS,
            "scope": " ".join(scopes),
        }


def _make() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return json.dumps({"key": pem.decode(), "client_secret": secrets.token_urlsafe(32)}).encode()


def _write(path: Path, data: bytes) -> None:
    """Write a private file whole or not at all; the caller holds the lock."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 -- a descriptor, not a path
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; it ends with the process, so no stale lock is left behind."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _public_members(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """Return the required members of a P-256 key, in the order of their names."""
    numbers = key.public_numbers()
    x, y = (encoding.encode(value.to_bytes(32)) for value in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def _thumbprint(key: ec.EllipticCurvePublicKey) -> str:
    """Return the JWK thumbprint of a key (RFC 7638 §3)."""
    canonical = json.dumps(_public_members(key), separators=(",", ":"), sort_keys=True)
    return encoding.encode(hashlib.sha256(canonical.encode()).digest())
