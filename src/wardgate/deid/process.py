"""The process that de-identifies long texts: reads frames on stdin, writes frames on stdout.

Started by `pool.py`, it ends when its stdin ends, and with its parent where the system can do that.
It writes no core file and prints nothing: text passes through the two pipes alone. A frame is a
length of four bytes (big-endian) and that many bytes of `marshal`: plain values, no code.

A request names its policy by hash alone. A process that has no policy of that hash says so, is
given the documents, and goes by them only where they have that hash: none works by a policy of
another time. Nothing is derived here: the keys stay in the gateway.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime as dt
import gc
import json
import marshal
import os
import signal
import struct
import sys
from typing import BinaryIO

from wardgate.corefiles import forbid_core_files
from wardgate.deid import policy as policies
from wardgate.deid.deidentify import Deidentifier, Found, Reference
from wardgate.deid.policy import Policy
from wardgate.deid.policyfile import parse_site
from wardgate.deid.spans import Detail, Place
from wardgate.types import EntityType

HEADER = struct.Struct(">I")
READY = b"ready"
_LARGEST_FRAME = 1 << 28
_LABELS = {label.value: label for label in EntityType}
_UNKNOWN = marshal.dumps(False)
_MOST_POLICIES = 1_024
_NICER = 10
"""Long texts give way to the gateway, which answers short ones."""
_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


def pack_request(text: str, policy_hash: str, reference: Reference) -> bytes:
    """Return the frame of one request; a date travels as its ordinal."""
    return _frame(
        marshal.dumps((text.encode("utf-8", "surrogatepass"), policy_hash, _day(reference)))
    )


def pack_policy(policy: Policy) -> bytes:
    """Return the frame that gives a process a policy."""
    site = policy.site.document or None
    return _frame(marshal.dumps((json.dumps(policy.document), json.dumps(site), policy.hash)))


def lacks_policy(body: bytes) -> bool:
    """Whether a reply's body says that the process has no policy of the hash asked for."""
    return body == _UNKNOWN


def unpack_reply(body: bytes) -> Found | None:
    """Return what was found, from a reply's body, or None where the process reports a fault."""
    reply = marshal.loads(body)  # noqa: S302 -- written by our own child, over our own pipe
    if reply is None:
        return None
    spans, edits, day = reply
    return Found(
        [(start, end, _LABELS[label], score, _detail(d)) for start, end, label, score, d in spans],
        edits,
        dt.date.fromordinal(day) if isinstance(day, int) else None,
    )


class Answerer:
    """Answers requests; holds the policies that it was given, by hash."""

    def __init__(self, detector: Deidentifier) -> None:
        self._detector = detector
        self._policies = {policy.hash: policy for policy in policies.shipped().values()}

    def answer(self, body: bytes) -> bytes:
        """Return the reply to a frame's body. Any fault becomes a reply that says just that."""
        try:
            first, second, third = marshal.loads(body)  # noqa: S302 -- written by our own parent
            if isinstance(first, str):
                self._learn(first, second, third)
                return _frame(marshal.dumps(True))
            policy = self._policies.get(second)
            if policy is None:
                return _frame(_UNKNOWN)
            reference: Reference = dt.date.fromordinal(third) if isinstance(third, int) else third
            found = self._detector.find(first.decode("utf-8", "surrogatepass"), policy, reference)
        except Exception:  # noqa: BLE001 -- the parent learns that it failed, and never why
            return _frame(marshal.dumps(None))
        spans = [
            (start, end, label.value, score, detail.value if isinstance(detail, Place) else detail)
            for start, end, label, score, detail in found.spans
        ]
        return _frame(marshal.dumps((spans, found.edits, _day(found.reference))))

    def _learn(self, document: str, site: str, policy_hash: str) -> None:
        """Take a policy in, if its hash is what the parent says it is."""
        policy = policies.parse(json.loads(document))
        added = json.loads(site)
        if added is not None:
            policy = policy.at(parse_site(added))
        if policy.hash == policy_hash:
            if len(self._policies) >= _MOST_POLICIES:
                self._policies.clear()  # what is asked for again is given again
            self._policies[policy.hash] = policy


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer frames until the source ends."""
    answerer = Answerer(Deidentifier(vault=True))  # nothing is put in here, codes neither
    gc.freeze()  # the word lists live as long as the process; no collection need walk them
    _send(sink, _frame(READY))
    while len(header := source.read(HEADER.size)) == HEADER.size:
        (size,) = HEADER.unpack(header)
        if size > _LARGEST_FRAME:
            return
        body = source.read(size)
        if len(body) < size:
            return
        _send(sink, answerer.answer(body))


def _day(reference: Reference) -> int | str | None:
    return reference.toordinal() if isinstance(reference, dt.date) else reference


def _detail(detail: str | tuple[int, int, int, bool] | None) -> Detail:
    return Place(detail) if isinstance(detail, str) else detail


def _frame(body: bytes) -> bytes:
    return HEADER.pack(len(body)) + body


def _send(sink: BinaryIO, data: bytes) -> None:
    sink.write(data)
    sink.flush()


def _isolate() -> None:
    """No core file, no message of Ctrl-C, no life without the parent."""
    forbid_core_files()
    os.nice(_NICER)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> None:
    """Run until the parent closes our stdin. Nothing else may write to the pipe of replies."""
    _isolate()
    sink = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sink)
    os._exit(0)


if __name__ == "__main__":
    main()
