"""Whom a model is trusted from: an Ed25519 signature over its manifest, beside the model.

`signature.json` holds a key id and the signature of `DOMAIN` and the manifest's bytes (RFC 8032):
a signature of anything else, also of another manifest, does not fit. Whether the key is trusted is
the setting's word alone; nothing in a model's folder can say so. The models that come with the
package are trusted as its code is: `shipped/SHA256SUMS` pins the digests of their manifests.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wardgate.errors import ManifestInvalid, ModelUntrusted, SettingsInvalid
from wardgate.registry.fields import integer, read

DOMAIN = b"wardgate model manifest, format 1\0"
"""Stands before the manifest's bytes, so that no signature made for another purpose fits."""
SIGNATURE_BYTES = 4096
"""Largest signature file, bytes."""
_FORMAT = 1
_KEY_ID = re.compile(r"[0-9a-f]{16}")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{86}==")
_RAW_BYTES = 32
"""An Ed25519 public key, RFC 8032 §5.1.5."""

_SMALL_ORDER = frozenset(
    [bytes(32), bytes([1, *bytes(31)])]
    + [bytes([low, *[0xFF] * 30, 0x7F]) for low in (0xEC, 0xED, 0xEE)]
    + list(
        map(
            bytes.fromhex,
            (
                "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
                "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            ),
        )
    )
)
"""Points of order 1 to 8 without their sign bit, as libsodium refuses them:
anybody can sign for such a key, and one of zeros is a likely placeholder."""

State = Literal["shipped", "signed", "unsigned", "unknown-key", "bad"]


@dataclass(frozen=True, slots=True)
class Signed:
    """What stands beside a manifest about who vouches for it."""

    state: State
    key_id: str | None = None
    """The key that the signature names, where there is one."""

    @property
    def trusted(self) -> bool:
        """Whether somebody trusted vouches for it."""
        return self.state in ("shipped", "signed")

    def __str__(self) -> str:
        """Say it in words."""
        return {
            "shipped": "shipped with wardgate",
            "signed": f"signed by {self.key_id}",
            "unsigned": "not signed",
            "unknown-key": f"signed by {self.key_id}, a key that is not trusted here",
            "bad": "its signature is not that of its manifest",
        }[self.state]


class Trust:
    """The keys whose models are served, and the manifests that came with the package.

    `keys` are base64 of raw Ed25519 public keys. `allow_unsigned` lets unsigned models, and those
    of unknown keys, through; a wrong signature of a trusted key is refused all the same.
    Raises SettingsInvalid for a key that is none.
    """

    def __init__(
        self,
        keys: Iterable[str] = (),
        *,
        pinned: frozenset[str] = frozenset(),
        allow_unsigned: bool = False,
    ) -> None:
        self._keys = {key_id(key): key for key in map(public_key, keys)}
        self._pinned = pinned
        self._allow_unsigned = allow_unsigned

    def judge(self, manifest: bytes, signature: bytes | None) -> Signed:
        """Say who vouches for these bytes. Raises ManifestInvalid for what is no signature."""
        if hashlib.sha256(manifest).hexdigest() in self._pinned:
            return Signed("shipped")
        if signature is None:
            return Signed("unsigned")
        name, value = _parse(signature)
        key = self._keys.get(name)
        if key is None:
            return Signed("unknown-key", name)
        try:
            key.verify(value, DOMAIN + manifest)
        except InvalidSignature:
            return Signed("bad", name)
        return Signed("signed", name)

    def require(self, manifest: bytes, signature: bytes | None) -> Signed:
        """As `judge`. Raises ModelUntrusted where nobody that is trusted vouches for the bytes."""
        found = self.judge(manifest, signature)
        if found.trusted:
            return found
        if self._allow_unsigned and found.state in ("unsigned", "unknown-key"):
            return found
        raise ModelUntrusted(f"The model is refused: {found}.")


def sign(manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return the content of `signature.json` for a manifest."""
    value = key.sign(DOMAIN + manifest)
    tree = {
        "format": _FORMAT,
        "key_id": key_id(key.public_key()),
        "signature": base64.b64encode(value).decode(),
    }
    return (json.dumps(tree, indent=2) + "\n").encode()


def key_id(public: Ed25519PublicKey) -> str:
    """Return the first 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]


def public_text(public: Ed25519PublicKey) -> str:
    """Return a public key as the setting `registry.trusted_keys` takes it."""
    return base64.b64encode(public.public_bytes_raw()).decode()


def public_key(text: str) -> Ed25519PublicKey:
    """Return a key of the setting `registry.trusted_keys`. Raises SettingsInvalid."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _RAW_BYTES or bytes([*raw[:-1], raw[-1] & 0x7F]) in _SMALL_ORDER:
        raise SettingsInvalid(
            "registry.trusted_keys: expected base64 of raw Ed25519 public keys, 44 characters "
            "each, as 'wardgate models keygen' prints them."
        )
    return Ed25519PublicKey.from_public_bytes(raw)


def pinned(sums: Path) -> frozenset[str]:
    """Return the digests in a file as `sha256sum` writes it."""
    return frozenset(line.split()[0] for line in sums.read_text("ascii").splitlines())


def _parse(raw: bytes) -> tuple[str, bytes]:
    fields = read(raw, "signature")
    fields.take("format", f"{_FORMAT}", lambda value: integer(value) and value == _FORMAT)
    name = fields.text("key_id", _KEY_ID, "16 hex digits")
    text = fields.text("signature", _SIGNATURE, "64 bytes as base64")
    fields.end()
    try:
        return name, base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ManifestInvalid("signature: expected 64 bytes as base64.") from None
