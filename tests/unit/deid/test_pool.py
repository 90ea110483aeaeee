from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from wardgate import Deidentifier
from wardgate.deid.pool import LongTextPool
from wardgate.errors import DetectorFailed, Overloaded, PolicyUnknown
from wardgate.types import PHI

DETECTOR = Deidentifier()
SHORT = "Dr. Smith saw Jane Doe on 3/14/2019."
LONG = SHORT * 400

STUB = """
import struct, sys, time
out = sys.stdout.buffer
def send(b): out.write(struct.pack('>I', len(b)) + b); out.flush()
send(b'ready')
{then}
"""


def _command(then):
    return (sys.executable, "-c", STUB.format(then=then))


async def _until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_short_inline_and_long_in_a_process_give_the_same():
    async with LongTextPool(DETECTOR, processes=1, inline_chars=100) as pool:
        assert pool.ready
        assert await pool.deidentify(PHI(SHORT)) == DETECTOR.deidentify(SHORT)
        assert await pool.deidentify(PHI(LONG)) == DETECTOR.deidentify(LONG)
        limited = await pool.deidentify(PHI(LONG), policy="limited_data_set", reference_date=None)
        assert limited.policy == "limited_data_set"
        assert "3/14/2019" in limited.text
        with pytest.raises(PolicyUnknown):
            await pool.deidentify(PHI(LONG), policy="none_such")


async def test_the_detectors_own_policy_goes_along():
    detector = Deidentifier("limited_data_set")
    async with LongTextPool(detector, processes=1, inline_chars=100) as pool:
        assert (await pool.deidentify(PHI(LONG))).policy == "limited_data_set"


async def test_without_processes_all_is_inline():
    async with LongTextPool(DETECTOR, processes=0, inline_chars=100) as pool:
        assert await pool.deidentify(PHI(LONG)) == DETECTOR.deidentify(LONG)


async def test_a_process_past_its_deadline_is_killed_and_replaced():
    async with LongTextPool(
        DETECTOR, processes=1, inline_chars=1, command=_command("time.sleep(60)")
    ) as pool:
        (old,) = pool._alive
        with pytest.raises(DetectorFailed) as caught:
            await pool.deidentify(PHI("Jane Canary"), timeout=0.05)
        assert caught.value.reason == "detector-deadline"
        assert "Canary" not in repr(caught.value)
        await _until(lambda: old.returncode is not None and pool.ready)
        assert next(iter(pool._alive)).pid != old.pid


async def test_a_process_that_dies_refuses_and_is_replaced():
    async with LongTextPool(
        DETECTOR, processes=1, inline_chars=1, command=_command("sys.stdin.buffer.read(1)")
    ) as pool:
        with pytest.raises(DetectorFailed):
            await pool.deidentify(PHI(SHORT))
        await _until(lambda: pool.ready)


@pytest.mark.parametrize("reply", ["b'garbage'", "b'N'", "b''"])
async def test_a_reply_that_is_none_refuses(reply):
    then = f"sys.stdin.buffer.read(8); send({reply}); time.sleep(60)"
    async with LongTextPool(DETECTOR, processes=1, inline_chars=1, command=_command(then)) as pool:
        with pytest.raises(DetectorFailed):
            await pool.deidentify(PHI(SHORT))


async def test_a_bounded_number_waits_and_waiting_has_a_deadline():
    command = _command("time.sleep(60)")
    async with LongTextPool(
        DETECTOR, processes=1, inline_chars=1, waiting=2, command=command
    ) as pool:
        first = asyncio.create_task(pool.deidentify(PHI(SHORT), timeout=30))
        await _until(pool._idle.empty)
        second = asyncio.create_task(pool.deidentify(PHI(SHORT), timeout=0.2))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as full:
            await pool.deidentify(PHI(SHORT))
        assert full.value.retry_after
        with pytest.raises(Overloaded):
            await second
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await _until(lambda: pool.ready)


async def test_a_start_that_fails_is_told():
    pool = LongTextPool(DETECTOR, processes=1, command=(sys.executable, "-c", ""))
    with pytest.raises(DetectorFailed):
        await pool.start()
    with pytest.raises(DetectorFailed):
        await LongTextPool(DETECTOR, processes=1, command=("/nonexistent",)).start()
    assert not pool.ready


async def test_stop_leaves_no_process_and_refuses():
    pool = LongTextPool(DETECTOR, processes=2, inline_chars=1)
    await pool.start()
    pids = [process.pid for process in pool._alive]
    await pool.stop()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(DetectorFailed):
        await pool.deidentify(PHI(SHORT))


async def test_stop_right_after_a_kill_leaves_no_process():
    pool = LongTextPool(DETECTOR, processes=1, inline_chars=1, command=_command("time.sleep(60)"))
    await pool.start()
    (process,) = pool._alive
    with pytest.raises(DetectorFailed):
        await pool.deidentify(PHI(SHORT), timeout=0.05)
    await pool.stop()
    assert process.returncode is not None
    assert process.stdin.is_closing()
    assert not pool._alive | pool._dying


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_the_process_writes_no_core_file():
    async with LongTextPool(DETECTOR, processes=1) as pool:
        (process,) = pool._alive
        # /proc/PID/limits of a process that is not dumpable belongs to root; either way no core.
        try:
            limits = Path(f"/proc/{process.pid}/limits").read_text()  # noqa: ASYNC240
        except PermissionError:
            return
        row = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert row.split()[4:6] == ["0", "0"]
