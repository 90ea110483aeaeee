"""Reads a chain from its first record to its end and names the first one that is not as written.

Pure: rows, head lines, the end mark and the public keys are passed in; memory does not grow with
the chain. Every head's hash is compared. A signature costs as much as checking ten records, so in a
quick pass only some are verified: the newest vouches, through the hashes, for all before it. Where
a quick pass finds a fault in what was signed, the caller runs again with `every_signature` to place
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from wardgate.audit.chain import ALGORITHM, FORMAT, GENESIS, EndMark, Head, parse_head
from wardgate.audit.findings import ChainResult, Finding, Intents, Row, What

STRIDE: Final = 64
"""Records between two signatures verified in a quick pass."""


class _Heads:
    """Walks the head lines beside the records and remembers what was vouched for."""

    def __init__(
        self,
        lines: Iterable[bytes],
        end: EndMark | None,
        keys: Mapping[str, Ed25519PublicKey],
        stride: int,
    ) -> None:
        self._lines = iter(lines)
        self._keys, self._stride = keys, stride
        self.end = end
        self.compared = 0
        self.vouched = 0
        """Sequence of the last record that a verified signature stands for."""
        self.unsigned: int | None = None
        """Sequence of the first head not signed by a known key, though it names the right hash."""
        self.fault: Finding | None = None
        self.last = 0
        self.next = self._advance()

    def _advance(self) -> Head | None:
        for line in self._lines:
            head = parse_head(line)
            if head is not None and head.seq >= self.last:
                self.last = head.seq
                return head
            self.fault = self.fault or Finding(
                self.last + 1, What.HEAD_INVALID, "a head is damaged or out of order"
            )
        return None

    def beyond(self, last: int) -> Head | None:
        """Return a signed head of a record after `last`; reads the lines to their end."""
        if self.end is not None and self.end.head.seq > last:
            return self.end.head
        head = self.next
        while head is not None and not head.signed_by(self._keys):
            self.fault = self.fault or Finding(
                head.seq, What.HEAD_INVALID, "its head is not signed by a known key"
            )
            head = self._advance()
        return head

    def compare(self, chain: str, seq: int, digest: bytes, after: Iterator[Row]) -> Finding | None:
        """Hold the record at `seq` against all heads that name it."""
        while (head := self.next) is not None and head.seq == seq:
            self.compared += 1
            if head.hash != digest or head.chain != chain:
                if head.signed_by(self._keys):
                    return self._unlike(seq, head, after)
                return Finding(seq, What.HEAD_INVALID, "a head names another hash, unsigned")
            if seq - self.vouched >= self._stride and self.unsigned is None:
                if head.signed_by(self._keys):
                    self.vouched = seq
                else:
                    self.unsigned = seq
            elif self.unsigned is not None and head.signed_by(self._keys):
                self.vouched = seq
            self.next = self._advance()
        if self.end is not None and self.end.head.seq == seq:
            if self.end.head.hash != digest or self.end.head.chain != chain:
                return self._unlike(seq, self.end.head, after)
            self.vouched = seq
        return None

    def _unlike(self, seq: int, head: Head, after: Iterator[Row]) -> Finding:
        """Tell whether one record was changed or all since the last head; a signed head differs."""
        following = next(after, None)
        if following is not None and _envelope(following[6]).get("prev") == head.hash.hex():
            return Finding(seq, What.CHANGED, "its bytes do not hash to what was signed")
        first = self.vouched + 1
        return Finding(
            first,
            What.REWRITTEN,
            f"records {first} to {seq} are linked, but not to what was signed",
        )


def check_chain(
    rows: Iterable[Row],
    head_lines: Iterable[bytes],
    end: EndMark | None,
    keys: Mapping[str, Ed25519PublicKey],
    *,
    every_signature: bool = False,
) -> ChainResult:
    """Check `rows` (ascending sequence) against their own links, the heads and the end mark."""
    result = ChainResult()
    signed = end if end is not None and end.valid(keys) else None
    heads = _Heads(head_lines, signed, keys, 1 if every_signature else STRIDE)
    intents = Intents(result)
    stream = iter(rows)
    result.finding = _walk(stream, heads, intents, result)
    result.heads = heads.compared
    if result.finding is None:
        intents.close()
        result.finding = _check_end(result.records, heads, end)
        result.ahead = max(0, result.records - max(heads.last, signed.head.seq if signed else 0))
    return result


def _walk(
    stream: Iterator[Row], heads: _Heads, intents: Intents, result: ChainResult
) -> Finding | None:
    chain = heads.end.head.chain if heads.end else heads.next.chain if heads.next else None
    end_seq = heads.end.head.seq if heads.end else -1
    prev, trusted = GENESIS, 0
    if heads.next is not None and heads.next.seq == 0:
        finding = heads.compare(heads.next.chain, 0, GENESIS, iter(()))
        if finding is not None:
            return finding
    for expected, row in enumerate(stream, 1):
        seq, record = row[0], row[6]
        envelope = _envelope(record)
        if seq != expected or envelope.get("seq", seq) != seq:
            return _displaced(seq, expected, envelope, stream)
        if chain is None:
            chain = str(envelope.get("chain"))
        digest = sha256(record).digest() if isinstance(record, bytes) else b""
        unlike = _unlike(row, envelope, digest, chain)
        if unlike:
            return Finding(seq, What.CHANGED, unlike)
        if envelope.get("prev") != prev.hex():
            return _unlinked(seq, digest, trusted, heads, stream)
        prev = digest
        if (heads.next is not None and heads.next.seq == seq) or seq == end_seq:
            finding = heads.compare(chain, seq, digest, stream)
            if finding is not None:
                return finding
            trusted = seq
        result.records = seq
        intents.see(row)
    return None


def _envelope(record: bytes) -> dict[str, Any]:
    """Return a record's JSON object; an empty one where the bytes are none."""
    try:
        envelope = orjson.loads(record)
    except ValueError:  # also where the column holds no bytes at all
        return {}
    return envelope if isinstance(envelope, dict) else {}


def _unlike(row: Row, envelope: dict[str, Any], digest: bytes, chain: str) -> str:
    """Say in what a row is not as it was stored; empty where it is."""
    event = envelope.get("event")
    if not isinstance(event, dict):
        return "its bytes are no audit record"
    if digest != row[5]:
        return "its bytes do not hash to what was stored with them"
    if row[1:5] != (
        event.get("tenant"),
        event.get("kind"),
        event.get("request_id"),
        event.get("time"),
    ):
        return "its columns are not those of its bytes"
    if (envelope.get("format"), envelope.get("alg"), envelope.get("chain")) != (
        FORMAT,
        ALGORITHM,
        chain,
    ):
        return "it is of another chain or format"
    return ""


def _displaced(seq: int, expected: int, envelope: dict[str, Any], after: Iterator[Row]) -> Finding:
    """Tell whether a record was taken out or two were swapped."""
    if not isinstance(seq, int):
        return Finding(expected, What.CHANGED, "its sequence is no number")
    if seq < expected:
        return Finding(seq, What.REORDERED, "a record stands before the first")
    if seq > expected:
        return Finding(expected, What.REMOVED, f"the next record there is {seq}")
    own = envelope["seq"]
    following = next(after, None)
    if isinstance(own, int) and own > seq:
        shift = own - seq
        if following is None or _envelope(following[6]).get("seq") == following[0] + shift:
            return Finding(seq, What.REMOVED, f"record {own} was moved into its place")
    return Finding(seq, What.REORDERED, f"record {own} stands in its place")


def _unlinked(
    seq: int, digest: bytes, trusted: int, heads: _Heads, after: Iterator[Row]
) -> Finding:
    """Tell which was changed, `seq` or the record before it, whose hash it does not name."""
    before = Finding(seq - 1, What.CHANGED, "the next record names another hash for it")
    itself = Finding(seq, What.CHANGED, "it does not name the hash of the record before it")
    if seq == 1 or trusted == seq - 1:
        return itself
    following = next(after, None)
    if following is not None:
        return before if _envelope(following[6]).get("prev") == digest.hex() else itself
    for head in (heads.next, heads.end.head if heads.end else None):
        if head is not None and head.seq == seq and head.hash != digest:
            return itself
    return before


def _check_end(last: int, heads: _Heads, end: EndMark | None) -> Finding | None:
    """Tell whether the end of a chain without other faults is its true end."""
    seen = heads.compared
    beyond = heads.beyond(last)
    if beyond is not None:
        return Finding(last + 1, What.CUT_OFF, f"records to {beyond.seq} were signed")
    unproven = heads.vouched + 1
    if heads.unsigned is not None:
        if heads.vouched > heads.unsigned:
            return Finding(
                heads.unsigned, What.HEAD_INVALID, "its head is not signed by a known key"
            )
        return Finding(unproven, What.REWRITTEN, "no head from here on is signed by a known key")
    if heads.fault is not None:
        return heads.fault
    if end is None and (last or seen):
        return Finding(unproven, What.HEAD_MISSING, "no end mark: more may have followed")
    if end is not None and heads.end is None:
        what = What.HEAD_INVALID if seen else What.REWRITTEN
        return Finding(unproven, what, "the end mark is not signed by a known key")
    if last and not seen:
        return Finding(1, What.HEAD_MISSING, "there are no heads")
    return None
