"""The process that de-identifies long texts: reads frames on stdin, writes frames on stdout.

Started by `pool.py`, it ends when its stdin ends, and with its parent where the system can do that.
It writes no core file and prints nothing: text passes through the two pipes alone. A frame is a
length of four bytes (big-endian) and that many bytes of `marshal`: plain values, no code.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime as dt
import gc
import marshal
import os
import signal
import struct
import sys
from typing import BinaryIO

from wardgate.corefiles import forbid_core_files
from wardgate.deid.deidentify import Deidentifier, Reference
from wardgate.types import CleanText, Deidentified, EntityType, Replacement, Span

HEADER = struct.Struct(">I")
READY = b"ready"
_LARGEST_FRAME = 1 << 28
_LABELS = {label.value: label for label in EntityType}
_NICER = 10
"""Long texts give way to the gateway, which answers short ones."""
_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


def pack_request(text: str, policy: str | None, reference: Reference) -> bytes:
    """Return the frame of one request; a date travels as its ordinal."""
    day = reference.toordinal() if isinstance(reference, dt.date) else reference
    return _frame(marshal.dumps((text.encode("utf-8", "surrogatepass"), policy, day)))


def unpack_reply(body: bytes) -> Deidentified | None:
    """Return the result in a reply's body, or None where the process reports a fault."""
    reply = marshal.loads(body)  # noqa: S302 -- written by our own child, over our own pipe
    if reply is None:
        return None
    text, spans, alignment, policy, policy_hash = reply
    return Deidentified(
        text=CleanText(text.decode("utf-8", "surrogatepass")),
        spans=tuple(Span(start, end, _LABELS[label], score) for start, end, label, score in spans),
        alignment=tuple(Replacement(*row) for row in alignment),
        policy=policy,
        policy_hash=policy_hash,
    )


def answer(detector: Deidentifier, body: bytes) -> bytes:
    """Return the reply to a request's body. Any fault becomes a reply that says just that."""
    try:
        text, policy, day = marshal.loads(body)  # noqa: S302 -- written by our own parent
        reference: Reference = dt.date.fromordinal(day) if isinstance(day, int) else day
        result = detector.deidentify(
            text.decode("utf-8", "surrogatepass"), policy=policy, reference_date=reference
        )
    except Exception:  # noqa: BLE001 -- the parent learns that it failed, and never why
        return _frame(marshal.dumps(None))
    spans = [(s.start, s.end, str(s.label), s.score) for s in result.spans]
    alignment = [(r.start, r.end, r.out_start, r.out_end) for r in result.alignment]
    clean = result.text.encode("utf-8", "surrogatepass")
    return _frame(marshal.dumps((clean, spans, alignment, result.policy, result.policy_hash)))


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer frames until the source ends."""
    detector = Deidentifier()
    gc.freeze()  # the word lists live as long as the process; no collection need walk them
    _send(sink, _frame(READY))
    while len(header := source.read(HEADER.size)) == HEADER.size:
        (size,) = HEADER.unpack(header)
        if size > _LARGEST_FRAME:
            return
        body = source.read(size)
        if len(body) < size:
            return
        _send(sink, answer(detector, body))


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
