"""No process that sees text leaves a core file: it would hold the notes in flight."""

from __future__ import annotations

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4
"""linux/prctl.h"""


def forbid_core_files() -> None:
    """Forbid core files of this process, for good."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # a core_pattern that pipes to a program ignores the limit
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
