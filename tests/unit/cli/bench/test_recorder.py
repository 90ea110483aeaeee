from __future__ import annotations

import pytest

from wardgate.cli.bench.histogram import Latencies
from wardgate.cli.bench.recorder import Recorder

HEAD = b"HTTP/1.1 200 OK\r\nServer-Timing: auth;dur=0.5, infer;dur=%d.0\r\nX: y"


def test_figures_of_a_window() -> None:
    recorder = Recorder(10.0, 12.0)
    for n in range(16):
        recorder.answered(0.010 + n / 1000, 200, HEAD % n)
    recorder.answered(0.5, 503, b"")
    recorder.timed_out(3.0)
    recorder.lag(0.0002)
    found = recorder.measured()
    assert (found["requests"], found["errors"]) == (18, {"503": 1, "timeout": 1})
    assert found["requests_per_second"] == 8.0
    assert found["max_ms"] == pytest.approx(3000, rel=1e-3)
    assert len(Latencies.decode(found["histogram"])) == 18
    # the 8th and the 16th were read
    assert found["hops_ms"] == {"auth": 0.5, "infer": 11.0}
    assert found["generator"]["lag"]["p99_ms"] == pytest.approx(0.2, abs=0.01)


def test_its_own_processor_time_is_counted_between_start_and_stop() -> None:
    recorder = Recorder(0.0, 1.0)
    recorder.start()
    sum(n * n for n in range(2_000_000))
    recorder.stop()
    own = recorder.measured()["generator"]
    assert 0.01 < own["cpu_share"] < 5
    assert own["waited_for_cpu_share"] >= 0


def test_a_reply_without_timing_is_no_fault() -> None:
    recorder = Recorder(0.0, 1.0)
    for _ in range(8):
        recorder.answered(0.001, 200, b"HTTP/1.1 200 OK\r\nServer-Timing: broken")
    assert recorder.measured()["hops_ms"] == {}


def test_refusals_are_told_apart_from_answers() -> None:
    recorder = Recorder(0.0, 1.0)
    assert "refused" not in recorder.measured()
    for status, seconds in ((200, 0.1), (429, 0.001), (503, 0.003), (504, 9.0)):
        recorder.answered(seconds, status, b"")
    found = recorder.measured()
    assert found["refused"]["requests"] == 2
    assert found["refused"]["max_ms"] == pytest.approx(3, rel=1e-2)
    assert found["good"]["max_ms"] == pytest.approx(100, rel=1e-2)
