from __future__ import annotations

import os
import threading

from wardgate.cli.bench import watch
from wardgate.cli.bench.watch import Watch


def test_a_reading_of_this_process() -> None:
    found = watch.take([os.getpid()])
    assert found["memory_mib"] > 10
    assert found["descriptors"] >= 3
    assert found["processes"] == 1


def test_a_process_that_is_gone_takes_nothing() -> None:
    assert watch.take([]) == {"memory_mib": 0.0, "descriptors": 0, "processes": 0}


def test_it_reads_again_and_again_until_it_is_left() -> None:
    often = threading.Semaphore(0)

    def tree():
        often.release()
        return []

    with Watch(tree, 0.001) as watching:
        for _ in range(3):
            assert often.acquire(timeout=30)
    count = len(watching.readings)
    assert count >= 3
    assert not watching._thread.is_alive()
    assert [r["seconds"] for r in watching.readings] == sorted(
        r["seconds"] for r in watching.readings
    )
