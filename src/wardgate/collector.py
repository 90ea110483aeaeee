"""The cyclic garbage collector, kept out of large requests and off what lives for ever."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

YOUNG = 10_000
"""Objects made and not freed from which the youngest are looked at; Python's own is 700."""


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Keep the collector out of work that makes many objects and no cycle.

    Ten thousand spans or list members would set off a walk over every object of the process, which
    takes longer than the work itself.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def settle() -> None:
    """Take all objects that there are for permanent: no later collection walks them.

    Word lists and routes live as long as the process. A full collection of a process that serves
    would walk them for a tenth of a second and more, and every request in it waits. What comes
    after is looked at more seldom: a request makes objects by the hundred, and next to no cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
