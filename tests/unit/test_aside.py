"""Work in a thread that gives way."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from wardgate.aside import aside

linux = pytest.mark.skipif(sys.platform != "linux", reason="a priority for each thread")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@linux
async def test_the_work_has_a_lower_priority_and_nothing_else_has():
    before = niceness()
    assert await aside(niceness) == max(before, 10)
    assert niceness() == before


async def test_arguments_go_in_and_the_result_or_the_error_comes_out():
    assert await aside(sorted, [2, 1], reverse=True) == [2, 1]
    with pytest.raises(ValueError, match="invalid literal"):
        await aside(int, "x")


async def test_its_thread_ends_with_it():
    thread = await aside(threading.current_thread)
    thread.join(5)
    assert not thread.is_alive()
