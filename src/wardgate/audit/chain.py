"""The hash chain and its signed heads. Pure: bytes, keys and times are passed in.

A record is the JSON object `{"alg","chain","event","format","key","prev","seq"}`; its hash is the
SHA-256 of those bytes as stored, and `prev` is the hash of the record before it. A head signs
(chain, sequence, hash, time, key id) with Ed25519 (RFC 8032). A chain alone cannot show that its
end was cut off or that all of it was rewritten; its heads, kept outside the store, show both.

Heads are appended, so whoever cuts the store could cut them to match. The *end mark* stops that: it
is the newest head together with a secret whose SHA-256 (`seal`) that head carries. It is
overwritten in place, so the secrets of older heads are gone and no older head can be passed off as
the end. Only a copy of all files kept from an earlier time can; ship heads to another machine
against that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FORMAT: Final = 1
ALGORITHM: Final = "sha256"
GENESIS: Final = bytes(32)
"""The `prev` of the first record, and the hash of a chain that holds none."""
_CONTEXT: Final = b"wardgate audit head 1\n"
"""Signed before each head, so that a signature means nothing anywhere else."""


class Linker:
    """Wraps events as records of one chain; holds no position, so a failed group can be redone."""

    __slots__ = ("_before", "_middle", "chain")

    def __init__(self, chain: str, key_id: str) -> None:
        """Prepare the constant parts; `chain` and `key_id` are plain ASCII without quotes."""
        self.chain = chain
        self._before = b'{"alg":"%s","chain":"%s","event":' % (ALGORITHM.encode(), chain.encode())
        self._middle = b',"format":%d,"key":"%s","prev":"' % (FORMAT, key_id.encode())

    def link(self, event: bytes, seq: int, prev: bytes) -> bytes:
        """Return the bytes to store for `event` (JSON) at `seq` after the record hashed `prev`."""
        return b'%s%s%s%s","seq":%d}' % (
            self._before,
            event,
            self._middle,
            prev.hex().encode(),
            seq,
        )


def follows(record: bytes, *, chain: str, seq: int, prev: bytes) -> bool:
    """Say whether stored bytes are the record at `seq` of `chain` after the one hashed `prev`."""
    try:
        envelope = orjson.loads(record)
        return bool(
            envelope["chain"] == chain
            and envelope["seq"] == seq
            and envelope["prev"] == prev.hex()
            and envelope["format"] == FORMAT
            and envelope["alg"] == ALGORITHM
        )
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return False


@dataclass(frozen=True, slots=True)
class Head:
    """What a chain was at one moment, signed."""

    chain: str
    seq: int
    """Sequence of the last record; 0 for a chain that holds none."""
    hash: bytes
    """SHA-256 of the last record, 32 bytes; `GENESIS` for a chain that holds none."""
    time: int
    """Microseconds since 1970-01-01T00:00:00Z."""
    key: str
    """Id of the signing key."""
    seal: str
    """SHA-256 of the secret that the end mark shows for this head, hex."""
    signature: bytes

    def signed_by(self, keys: Mapping[str, Ed25519PublicKey]) -> bool:
        """Say whether one of `keys`, by id, made the signature."""
        key = keys.get(self.key)
        if key is None:
            return False
        try:
            key.verify(self.signature, _signed_bytes(self._fields()))
        except InvalidSignature:
            return False
        return True

    def line(self) -> bytes:
        """Return the head as one JSON line."""
        fields = self._fields()
        fields["sig"] = self.signature.hex()
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)

    def _fields(self) -> dict[str, object]:
        return _fields(
            chain=self.chain,
            seq=self.seq,
            digest=self.hash,
            time=self.time,
            key_id=self.key,
            seal=self.seal,
        )


@dataclass(frozen=True, slots=True)
class EndMark:
    """The newest head and the secret that shows it to be the newest."""

    head: Head
    secret: bytes

    def valid(self, keys: Mapping[str, Ed25519PublicKey]) -> bool:
        """Say whether the head is signed by one of `keys` and the secret is its own."""
        return sha256(self.secret).hexdigest() == self.head.seal and self.head.signed_by(keys)

    def line(self) -> bytes:
        """Return the mark as one JSON line; 512 bytes at most."""
        mark = {"head": orjson.Fragment(self.head.line()[:-1]), "secret": self.secret.hex()}
        return orjson.dumps(mark, option=orjson.OPT_APPEND_NEWLINE)


def sign_head(
    private: Ed25519PrivateKey,
    key_id: str,
    *,
    chain: str,
    seq: int,
    digest: bytes,
    time: int,
    secret: bytes,
) -> EndMark:
    """Sign the head of a chain at `seq`, whose record hashes to `digest`, at `time`.

    `secret` is 32 fresh random bytes.
    """
    seal = sha256(secret).hexdigest()
    fields = _fields(chain=chain, seq=seq, digest=digest, time=time, key_id=key_id, seal=seal)
    signature = private.sign(_signed_bytes(fields))
    return EndMark(Head(chain, seq, digest, time, key_id, seal, signature), secret)


def parse_head(line: bytes) -> Head | None:
    """Return the head that a line holds, its signature unchecked; None where it holds none."""
    try:
        return _head(orjson.loads(line))
    except (ValueError, KeyError, TypeError):
        return None


def parse_end(line: bytes) -> EndMark | None:
    """Return the end mark that a line holds, unchecked; None where it holds none."""
    try:
        mark = orjson.loads(line)
        return EndMark(_head(mark["head"]), bytes.fromhex(mark["secret"]))
    except (ValueError, KeyError, TypeError):
        return None


def _head(fields: Mapping[str, object]) -> Head:
    if fields["format"] != FORMAT or fields["alg"] != ALGORITHM:
        raise ValueError("A head of another format.")
    seq, time = fields["seq"], fields["time"]
    if not isinstance(seq, int) or not isinstance(time, int):
        raise TypeError("A head with a sequence or a time that is no whole number.")
    return Head(
        chain=str(fields["chain"]),
        seq=seq,
        hash=bytes.fromhex(str(fields["hash"])),
        time=time,
        key=str(fields["key"]),
        seal=str(fields["seal"]),
        signature=bytes.fromhex(str(fields["sig"])),
    )


def _fields(
    *, chain: str, seq: int, digest: bytes, time: int, key_id: str, seal: str
) -> dict[str, object]:
    return {
        "alg": ALGORITHM,
        "chain": chain,
        "format": FORMAT,
        "hash": digest.hex(),
        "key": key_id,
        "seal": seal,
        "seq": seq,
        "time": time,
    }


def _signed_bytes(fields: Mapping[str, object]) -> bytes:
    return _CONTEXT + orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
