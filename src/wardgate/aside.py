"""Work that gives way: in a thread of lower priority, so that what is asked just now goes first.

Linux alone knows a priority for each thread. A thread may lower its own and needs a right to raise
it again, so each piece of work here has a thread that ends with it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_NICE = 10
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def give_way() -> None:
    """Lower the calling thread's priority for good, where the system knows one for each thread."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        nice = max(_NICE, os.getpriority(os.PRIO_PROCESS, thread))
        os.setpriority(os.PRIO_PROCESS, thread, nice)


async def aside(
    do: Callable[_Arguments, _Result],
    /,
    *arguments: _Arguments.args,
    **named: _Arguments.kwargs,
) -> _Result:
    """Return what `do` returns, called in a thread that gives way and then ends.

    A caller that is cancelled leaves the thread to finish what it does.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="aside", initializer=give_way)
    try:
        return await asyncio.get_running_loop().run_in_executor(
            executor, lambda: do(*arguments, **named)
        )
    finally:
        executor.shutdown(wait=False)
