"""Becomes the Triton server: takes away what it does not need, then replaces itself with it.

Run as a script by `engine/tritonserver.py`: `tritonlaunch.py UID PARENT COMMAND...`, a UID of -1
keeps the user. A process of its own does this, because code between fork and exec in a process with
threads can deadlock. Uses the standard library alone.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import sys
from contextlib import suppress

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
"""linux/prctl.h"""
NICE_TO_ZERO = 20
"""RLIMIT_NICE that lets a thread come back to nice 0 (getrlimit(2)): models warm up with less."""


def main(arguments: list[str]) -> None:
    """Lead a group, forbid core files, drop to UID, end with PARENT, run COMMAND, all of it."""
    # No session: Linux may weigh a session as one (sched(7), autogroup), whatever the nice values
    # in it, and a model that loads would take from the gateway what it yields to its neighbours.
    os.setpgid(0, 0)
    uid, parent, command = int(arguments[0]), int(arguments[1]), arguments[2:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError):  # takes a right; without, models that load keep to half of the cores
        resource.setrlimit(resource.RLIMIT_NICE, (NICE_TO_ZERO, NICE_TO_ZERO))
    if uid >= 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    os.umask(0o077)
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # After the change of user, which clears it; a parent that died before this line is noticed.
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    _watch()
    os.execv(command[0], command)  # noqa: S606 -- there is no shell, and none is wanted


def _watch() -> None:
    """Leave a process behind that ends the whole group once this one, the server, has ended.

    The processes of models look for their server too, and end in order; one that has a call in
    flight then waits for it for ever.
    """
    with suppress(OSError):  # before Linux 5.3
        server = os.pidfd_open(os.getpid())
        if os.fork():
            os.close(server)
            return
        try:
            os.closerange(0, server)  # no key and no pipe stays open here
            os.closerange(server + 1, os.sysconf("SC_OPEN_MAX"))
            select.select([server], [], [])
            os.killpg(0, signal.SIGKILL)
        finally:
            os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
