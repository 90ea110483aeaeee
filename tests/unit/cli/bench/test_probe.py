from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wardgate.cli.bench import probe
from wardgate.cli.bench.probe import COUNTS, Batches

PAGE = """
# TYPE wardgate_batch_rows histogram
wardgate_batch_rows_bucket{model="a",le="1.0"} 2
wardgate_batch_rows_bucket{model="a",le="+Inf"} 4
wardgate_batch_rows_sum{model="a"} 10
wardgate_batch_rows_count{model="a"} 4
# TYPE wardgate_batch_padding_ratio histogram
wardgate_batch_padding_ratio_bucket{model="a",le="+Inf"} 4
wardgate_batch_padding_ratio_sum{model="a"} 0.5
wardgate_batch_padding_ratio_count{model="a"} 4
"""


def test_a_tree_with_its_memory_and_time() -> None:
    code = (
        "import subprocess,sys;p=subprocess.Popen([sys.executable,'-c','import sys;"
        "sum(n*n for n in range(3000000));print(1,flush=True);sys.stdin.read()']);p.wait()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    pids = probe.tree(process.pid)
    assert len(pids) == 2
    assert pids[0] == process.pid
    assert 3 < probe.memory_mib(pids) < 200
    assert probe.cpu_seconds(pids) > 0.05
    assert probe.started(process.pid)
    assert process.pid in probe.tree(os.getpid())
    process.communicate()
    assert probe.tree(process.pid) == []
    assert probe.started(process.pid) == ""
    assert probe.memory_mib(pids) == probe.cpu_seconds(pids) == 0


def test_counters_of_several_processes_add_up(tmp_path) -> None:
    assert probe.counted(tmp_path) == Batches()
    for name in ("1-a", "2-b"):
        (tmp_path / f"{name}.counts").write_bytes(COUNTS.pack(2, 6, 60, 80))
    (tmp_path / "3-c.counts").write_bytes(b"half")
    found = probe.counted(tmp_path).since(Batches())
    assert found == {"runs": 4, "rows_a_batch": 3.0, "padding_share": 0.25}


def test_counters_from_metrics() -> None:
    found = probe.read(PAGE).since(Batches())
    assert found == {"runs": 4, "rows_a_batch": 2.5, "padding_share": 0.125}
    triton = 'nv_inference_count{model="a"} 12\nnv_inference_exec_count{model="a"} 4\n'
    assert probe.read(triton).since(Batches()) == {"runs": 4, "rows_a_batch": 3.0}
    assert probe.read("").since(Batches()) is None


def test_metrics_that_are_not_there_tell_nothing() -> None:
    assert probe.scraped("http://127.0.0.1:1/metrics") == Batches()


@pytest.mark.parametrize("before", [Batches(4, 10, 3, 4)])
def test_only_what_came_since_counts(before) -> None:
    assert Batches(6, 30, 9, 12).since(before) == {
        "runs": 2, "rows_a_batch": 10.0, "padding_share": 0.25,
    }  # fmt: skip


def test_open_descriptors_are_counted() -> None:
    before = probe.descriptors([os.getpid()])
    with Path(os.devnull).open() as _:
        assert probe.descriptors([os.getpid()]) == before + 1
    assert probe.descriptors([]) == 0
