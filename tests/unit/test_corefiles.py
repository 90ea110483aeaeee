"""A process that sees text forbids its core files."""

from __future__ import annotations

import resource
import subprocess
import sys

from wardgate import corefiles
from wardgate.corefiles import forbid_core_files


def test_core_files_are_forbidden() -> None:
    """In a process of its own: the limit cannot be raised again."""
    code = (
        "import ctypes, resource\n"
        "from wardgate.corefiles import forbid_core_files\n"
        "forbid_core_files()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    dumpable = "0" if sys.platform == "linux" else done.stdout.split()[-1]
    assert done.stdout.split() == ["(0,", "0)", dumpable]


def test_core_files_are_forbidden_by_limit_where_there_is_no_prctl(monkeypatch) -> None:
    limits = []
    monkeypatch.setattr(corefiles.sys, "platform", "darwin")
    monkeypatch.setattr(corefiles.resource, "setrlimit", lambda *given: limits.append(given))
    forbid_core_files()
    assert limits == [(resource.RLIMIT_CORE, (0, 0))]
