from __future__ import annotations

import gc

import pytest

from wardgate import collector


def test_the_collector_rests_inside_and_works_after_also_after_an_error() -> None:
    def work() -> None:
        with collector.paused():
            assert not gc.isenabled()
            raise ValueError("of the work")

    assert gc.isenabled()
    with pytest.raises(ValueError, match="of the work"):
        work()
    assert gc.isenabled()


def test_one_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with collector.paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_has_settled_is_not_walked_again() -> None:
    usual = gc.get_threshold()
    try:
        collector.settle()
        assert gc.get_freeze_count() > len(gc.get_objects())
        assert gc.get_threshold()[0] == collector.YOUNG
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
