"""Where and of what a result was made: commit, processor, memory, what else the machine did."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from wardgate.engine.cpus import available


def describe(folder: Path) -> dict[str, Any]:
    """Return it for a result; the commit is that of the repository around `folder`."""
    return {
        "commit": _commit(folder),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "cpu": _field("/proc/cpuinfo", "model name") or platform.machine(),
            "processors": available(),
            "memory_gib": round(
                int((_field("/proc/meminfo", "MemTotal") or "0").split()[0]) / 2**20
            ),
            "system": f"{platform.system()} {platform.release()}",
            "governor": _governor(),
            "load_before": round(os.getloadavg()[0], 2),
            "gpu": _gpu(),
        },
    }


def _commit(folder: Path) -> str:
    """Return the commit, with `+changes` where files that it holds differ; nothing without git."""
    git = shutil.which("git")
    if git is None:
        return ""

    def ask(*words: str) -> str:
        done = subprocess.run(  # noqa: S603 -- git itself, with words of ours
            [git, "-C", str(folder), *words], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    commit = ask("rev-parse", "HEAD")
    return commit + ("+changes" if commit and ask("status", "--porcelain", "-uno") else "")


def _field(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    values = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(values, "")


def _governor() -> str:
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return ""


def _gpu() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    done = subprocess.run(  # noqa: S603 -- the tool itself
        [tool, "--query-gpu=name", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip().replace("\n", ", ") if done.returncode == 0 else ""
