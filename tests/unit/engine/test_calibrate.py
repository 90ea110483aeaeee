from __future__ import annotations

import math
import time

import pytest

from wardgate.engine import calibrate
from wardgate.engine.batch import Bucket, edges
from wardgate.engine.calibrate import Calibration, Layout, choose, layouts, lone, plan, throughput


@pytest.fixture
def clock(monkeypatch):
    """A clock that only runs while a batch does."""

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(calibrate, "time", clock)
    return clock


def shot(clock, cost, shapes=None):
    def run(rows, length):
        clock.now += cost(rows, length)
        if shapes is not None:
            shapes.append((rows, length))

    return run


def test_settings_fix_their_part_of_the_layout():
    assert layouts(8, 3, 2) == [Layout(3, 2)]
    assert layouts(8, 4, 0) == [Layout(4, 2)]
    assert layouts(8, 0, 4) == [Layout(2, 4)]
    assert layouts(2, 4, 0) == [Layout(4, 1)]
    assert layouts(2, 0, 4) == [Layout(1, 4)]


@pytest.mark.parametrize("cpus", [1, 2, 3, 4, 8, 64])
def test_layouts_fill_the_machine_and_never_exceed_it(cpus):
    found = layouts(cpus, 0, 0)
    assert Layout(cpus, 1) in found
    assert len(found) == len(set(found)) <= 3
    assert all(1 <= layout.sessions * layout.threads <= cpus for layout in found)


def test_wider_sessions_are_taken_only_where_they_do_clearly_more():
    narrow, middle, wide = Layout(8, 1), Layout(2, 4), Layout(1, 8)
    assert choose({narrow: 100.0, middle: 105.0, wide: 90.0}) == narrow
    assert choose({narrow: 100.0, middle: 130.0, wide: 140.0}) == middle
    assert choose({narrow: 100.0, middle: 130.0, wide: 200.0}) == wide
    assert choose({narrow: 1.0}) == narrow


def test_where_a_run_costs_a_fixed_part_batches_are_large(clock):
    buckets = plan(shot(clock, lambda rows, length: 0.001), 64, math.inf)
    assert all(bucket.rows in {32, 64} for bucket in buckets)


def test_where_a_row_costs_the_same_in_any_company_it_runs_alone(clock):
    buckets = plan(shot(clock, lambda rows, length: 1e-5 * rows * length), 64, math.inf)
    assert [bucket.rows for bucket in buckets] == [1] * len(buckets)
    assert [bucket.seconds for bucket in buckets] == pytest.approx(
        [1e-5 * length for length in edges(64)]
    )


def test_batches_are_larger_where_rows_are_shorter(clock):
    buckets = plan(shot(clock, lambda rows, length: 5e-4 + 1e-5 * rows * length), 256, math.inf)
    rows = [bucket.rows for bucket in buckets]
    assert rows == sorted(rows, reverse=True)
    assert rows[0] > rows[-1]


def test_no_batch_is_tried_that_would_hold_up_an_urgent_row(clock):
    shapes = []
    plan(shot(clock, lambda rows, length: 1e-4 * rows * length, shapes), 512, math.inf)
    assert max(1e-4 * rows * length for rows, length in shapes if rows > 1) <= 0.04 * 1.01


def test_every_length_is_warmed_even_when_time_is_up(clock):
    shapes = []
    buckets = plan(shot(clock, lambda rows, length: 0.5, shapes), 256, 1.0)
    assert [bucket.length for bucket in buckets] == list(edges(256))
    assert {length for _, length in shapes} == set(edges(256))
    assert clock.now < 20
    assert all(bucket.rows >= 1 and bucket.seconds > 0 for bucket in buckets)


def test_lone_is_the_least_of_several(clock):
    costs = iter([3.0, 1.0, 2.0, 5.0, 4.0])
    assert lone(shot(clock, lambda rows, length: next(costs))) == 1.0


def test_throughput_counts_the_tokens_of_all_threads():
    def run(rows, length):
        end = time.thread_time() + 0.001
        while time.thread_time() < end:
            pass

    assert 0 < throughput([run], 0.02) <= 4 * 32 / 0.001
    assert 0 < throughput([run, run], 0.02) <= 2 * 4 * 32 / 0.001


def test_it_explains_its_choice_on_one_line():
    chosen = Calibration(2, Layout(2, 1), 2, {"m": (Bucket(8, 4, 0.1),)}, 1234.5, 2.0)
    assert str(chosen) == (
        "2 sessions of 1 threads, 2 threads for a lone caller on 2 processors, 1234 tokens/s, "
        "batches (length x rows) m: 8x4"
    )
