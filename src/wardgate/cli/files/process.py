"""A process that works on items of files; its owner is `crew.py`.

It ends with its owner, whatever ends that. It writes no core file and prints nothing: text comes
and goes through one socket, as `marshal` of plain values.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import marshal
import signal
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from wardgate.cli.files import forms
from wardgate.cli.files.choice import unpack
from wardgate.cli.files.forms import Detect
from wardgate.corefiles import forbid_core_files

READY = b"ready"
_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


def serve(link: Connection, detector: Callable[[Mapping[str, Any]], Detect]) -> None:
    """Answer tasks until the owner goes; `detector` makes what finds PHI of what `Choice` packs."""
    form, choice = marshal.loads(link.recv_bytes())  # noqa: S302 -- written by our own parent
    form, detect = forms.unpack(form), detector(choice)
    gc.freeze()  # the word lists live as long as the process; no collection need walk them
    link.send_bytes(READY)
    while True:
        items = marshal.loads(link.recv_bytes())  # noqa: S302 -- written by our own parent
        try:
            reply: Any = forms.work(form, items, detect)
        except OSError as error:
            reply = error.strerror or type(error).__name__
        link.send_bytes(marshal.dumps(reply))


def detector_of(choice: Mapping[str, Any]) -> Detect:
    """Return the detector of a choice. Raises PolicyUnknown where its files have changed."""
    return unpack(choice).deidentify


def main(detector: Callable[[Mapping[str, Any]], Detect] = detector_of) -> None:
    """Serve on the socket whose number is the first argument."""
    forbid_core_files()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    with contextlib.suppress(EOFError, ConnectionError):
        serve(Connection(int(sys.argv[1])), detector)


if __name__ == "__main__":
    main()
