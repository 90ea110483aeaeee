"""How many processors this process may really use: its affinity and its control group's quota.

A container that may use two of 64 cores must not start 64 threads: they would throttle each other.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def available(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Return the number of processors, at least 1; a fraction of one counts as a whole."""
    # macOS has neither affinity nor control groups.
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    cpus = len(allowed) or os.cpu_count() or 1
    quota = _quota(cgroups, own)
    return max(1, cpus if quota is None else min(cpus, math.ceil(quota)))


def _quota(cgroups: Path, own: Path) -> float | None:
    """Return the smallest quota from this process's control group up to the root, in processors."""
    quotas = []
    for folder in _folders(cgroups, own):
        words = _words(folder / "cpu.max")  # control groups v2: "<quota or max> <period>"
        if not words:
            words = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        try:
            quota, period = int(words[0]), int(words[1])
        except (IndexError, ValueError):  # no quota here: the file is missing or says `max`
            continue
        if quota > 0 and period > 0:
            quotas.append(quota / period)
    return min(quotas, default=None)


def _folders(cgroups: Path, own: Path) -> list[Path]:
    """Return the folders of this process's group and all above it, v1 and v2."""
    found = [cgroups, cgroups / "cpu"]
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = cgroups / "cpu" if controllers else cgroups
        for part in Path(path.lstrip("/")).parts:
            if part == "..":  # the group lies outside this container's view
                break
            folder /= part
            found.append(folder)
    return found


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
