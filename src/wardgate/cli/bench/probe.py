"""What a running system takes and tells: memory and processor time, and its batches."""

from __future__ import annotations

import os
import struct
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
COUNTS = struct.Struct("<4q")
"""Runs, rows, tokens, tokens with padding: what `systems/classifier.py` keeps in a file."""


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants that run."""
    parents: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid] if _stat(pid) else []
    for each in found:
        found += parents.get(each, [])
    return found


def memory_mib(pids: Iterable[int]) -> float:
    """Return the memory of processes, MiB; what several share is counted once between them."""
    total = 0
    for pid in pids:
        try:
            lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return round(total / 1024, 1)


def descriptors(pids: Iterable[int]) -> int:
    """Return the open file descriptors of processes."""
    count = 0
    for pid in pids:
        with suppress(OSError):
            count += len(os.listdir(_PROC / str(pid) / "fd"))  # noqa: PTH208 -- names are enough
    return count


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time of processes and of their children that have ended, seconds."""
    stats = filter(None, map(_stat, pids))
    return sum(sum(int(fields[at]) for at in range(11, 15)) for fields in stats) / _TICKS


def started(pid: int) -> str:
    """Return when a process that runs was started: an id alone may come to name another.

    Nothing where it has ended, waited for or not.
    """
    fields = _stat(pid)
    return fields[19] if fields and fields[0] != "Z" else ""


def _stat(pid: int) -> list[str]:
    """Return the fields of proc(5) stat after the name; none where the process is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@dataclass(frozen=True, slots=True)
class Batches:
    """Counters since the start of a system. `tokens` and `padded` are 0 where it tells none."""

    runs: float = 0.0
    rows: float = 0.0
    tokens: float = 0.0
    padded: float = 0.0
    """Tokens with padding."""

    def since(self, before: Batches) -> dict[str, float] | None:
        """Return rows a batch and the share of padding since then; None where nothing was told."""
        runs, rows = self.runs - before.runs, self.rows - before.rows
        if runs <= 0:
            return None
        found = {"runs": runs, "rows_a_batch": round(rows / runs, 3)}
        padded = self.padded - before.padded
        if padded > 0:
            found["padding_share"] = round(1 - (self.tokens - before.tokens) / padded, 4)
        return found


def counted(folder: Path) -> Batches:
    """Return the sum of the counters that the processes of a system keep in a folder."""
    totals = [0, 0, 0, 0]
    for path in folder.glob("*.counts"):
        raw = path.read_bytes()
        if len(raw) == COUNTS.size:
            totals = [a + b for a, b in zip(totals, COUNTS.unpack(raw), strict=True)]
    return Batches(*map(float, totals))


def scraped(url: str) -> Batches:
    """Return the counters in a page of Prometheus metrics, Wardgate's or Triton's."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 -- our own http URL
            return read(reply.read().decode())
    except (urllib.error.URLError, TimeoutError):
        return Batches()


def read(page: str) -> Batches:
    """Return the counters in a page of Prometheus metrics."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    if "wardgate_batch_rows_count" in sums:
        runs = sums["wardgate_batch_rows_count"]
        # It tells the mean share over batches; taken as the share of all tokens.
        padding = sums.get("wardgate_batch_padding_ratio_sum", 0.0)
        return Batches(runs, sums["wardgate_batch_rows_sum"], runs - padding, runs)
    rows = sums.get("nv_inference_count", sums.get("nv_inference_count_total", 0.0))
    runs = sums.get("nv_inference_exec_count", sums.get("nv_inference_exec_count_total", 0.0))
    return Batches(runs, rows)
