"""Files through `wardgate deid`: memory over size, rate over processes, and the path without detector.

    python benchmarks/deid_files.py scale NOTES          one process against all cores, real detector
    python benchmarks/deid_files.py memory NOTES         20 MB against 200 MB, real detector
    python benchmarks/deid_files.py stream NOTES         100 MB against 10 GB, no detector

NOTES is a JSONL file with `text`; its lines are repeated. They go in through a pipe, so that no disk
need hold them, and OUT of `stream` is standard output. `resident_mib` is the highest sum of the
resident memory of the job's processes, read ten times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from itertools import cycle
from pathlib import Path

import servers

from wardgate.cli.files import process
from wardgate.engine.cpus import available
from wardgate.types import Deidentified

ROUNDS = 3


def nothing(_: object) -> object:
    """Return a detector that finds nothing: what is left is the path."""

    def detect(text: str, **_: object) -> Deidentified:
        return Deidentified(text, (), (), "none", "0")

    return detect


RUN = """
import sys
from pathlib import Path
from wardgate.cli.files import start
from wardgate.cli.files.choice import choose
out, processes, script = sys.argv[1:]
command = (sys.executable, script, "child") if script else start.COMMAND
start.jsonl(start.Files(Path("-"), Path(out), None, choose("safe_harbor", None, None),
            int(processes), command=command), keep_text=True)
"""


def job(lines: list[bytes], size: int, *, processes: int, out: Path | None) -> dict[str, object]:
    """Put `size` bytes of lines through a job; `out` None drops its rows, and finds nothing."""
    script = "" if out is not None else __file__
    with tempfile.TemporaryFile() as report:
        popen = subprocess.Popen(
            [sys.executable, "-c", RUN, str(out or "-"), str(processes), script],
            stdin=subprocess.PIPE,
            stdout=report if out is not None else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if out is not None else report,
        )
        feeder = threading.Thread(target=feed, args=[popen, lines, size])
        begun, highest = time.monotonic(), 0.0
        feeder.start()
        while popen.poll() is None:
            highest = max(highest, resident(popen.pid))
            time.sleep(0.1)
        seconds = time.monotonic() - begun
        feeder.join()
        report.seek(0)
        said = json.loads(report.read().splitlines()[-1])
    if popen.returncode:
        raise SystemExit(f"the job ended with {popen.returncode}")
    return {
        "mb": round(size / 1e6),
        "processes": processes,
        "lines": said["lines"],
        "seconds": round(seconds, 1),
        "mb_per_second": round(size / 1e6 / seconds, 2),
        "lines_per_second": round(said["lines"] / seconds),
        "resident_mib": round(highest),
    }


def feed(popen: subprocess.Popen[bytes], lines: list[bytes], size: int) -> None:
    assert popen.stdin is not None
    left, block = size, bytearray()
    for line in cycle(lines):
        block += line
        left -= len(line)
        if len(block) >= 1 << 18 or left <= 0:
            popen.stdin.write(block)
            block.clear()
        if left <= 0:
            break
    popen.stdin.close()


def resident(pid: int) -> float:
    """Return the resident memory of a process and its children in MiB."""
    total = 0
    for each in [pid, *children(pid)]:
        try:
            pages = int(Path(f"/proc/{each}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
        total += pages * os.sysconf("SC_PAGE_SIZE")
    return total / 2**20


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except OSError:
            continue
    return found


def main() -> None:
    """Run and write the result."""
    if sys.argv[1:2] == ["child"]:
        del sys.argv[1]
        process.main(nothing)
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["scale", "memory", "stream"])
    parser.add_argument("notes", type=Path)
    parser.add_argument("--mb", type=int, nargs="*", help="sizes; of scale the first")
    given = parser.parse_args()
    lines = [line + b"\n" for line in given.notes.read_bytes().splitlines()]
    lines = [json.dumps({"text": json.loads(line)["text"]}).encode() + b"\n" for line in lines]
    cores = available()
    runs = []
    with tempfile.TemporaryDirectory(dir=".") as folder:
        out = Path(folder) / "out"
        if given.what == "scale":
            size = given.mb[0] if given.mb else 10
            plan = [(size, each, out) for _ in range(ROUNDS) for each in (1, cores)]
        elif given.what == "memory":
            plan = [(mb, cores, out) for mb in given.mb or (20, 200)]
        else:
            plan = [(mb, cores, None) for mb in given.mb or (100, 10_000)]
        for mb, processes, to in plan:
            runs.append(job(lines, mb * 1_000_000, processes=processes, out=to))
            for each in Path(folder).iterdir():
                each.unlink()
            print(runs[-1], flush=True)
    result = {"what": __doc__, "cores": cores, "runs": runs}
    if given.what == "scale":
        best = {n: max(r["mb_per_second"] for r in runs if r["processes"] == n) for n in (1, cores)}
        result["of_cores_times_one"] = round(best[cores] / best[1] / cores, 3)
        print(result["of_cores_times_one"])
    servers.write(f"deid-files-{given.what}", result)


if __name__ == "__main__":
    main()
