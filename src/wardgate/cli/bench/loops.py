"""Closed and open loops over lanes.

A closed loop has so many callers, each with one request at a time: where the server is slow, fewer
are sent. An open loop sends when requests are due, whatever was answered, and times each from the
moment it was due: a server that stalls has all those behind the stall counted as slow ("coordinated
omission" is what it is called where they are not).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from wardgate.cli.bench.alarm import Alarm
from wardgate.cli.bench.recorder import Recorder
from wardgate.cli.bench.wire import Lane

_TICK = 0.01
"""Seconds between two looks at how late a closed loop's event loop is."""


class Closed:
    """Callers that send again once they are answered; counts what is answered in the window."""

    def __init__(self, recorder: Recorder, requests: int, callers: int) -> None:
        self._recorder, self._requests, self._callers = recorder, requests, callers
        self._sent: dict[Lane, tuple[float, int]] = {}
        self._over = asyncio.get_running_loop().create_future()

    async def run(self, lanes: Sequence[Lane], patience: float) -> None:
        """Send until the end; wait at most `patience` seconds for the last answers."""
        for place, lane in enumerate(lanes):
            self._send(lane, place % self._requests)
        self._alarm = Alarm(asyncio.get_running_loop(), self._tick)
        self._next = time.perf_counter() + _TICK
        self._alarm.set(self._next)
        left = self._recorder.end - time.perf_counter()
        try:
            async with asyncio.timeout(left + patience):
                await self._over
        except TimeoutError:
            now = time.perf_counter()
            for sent, _ in self._sent.values():
                self._recorder.timed_out(now - sent)
        finally:
            self._alarm.close()

    def answered(self, lane: Lane, status: int, head: bytes, body: bytes) -> None:  # noqa: ARG002
        """Take an answer, and send the lane's next request."""
        now = time.perf_counter()
        sent, number = self._sent.pop(lane)
        recorder = self._recorder
        if recorder.begin <= now < recorder.end:
            recorder.answered(now - sent, status, head)
        if now < recorder.end:
            self._send(lane, (number + self._callers) % self._requests)
        elif not self._sent and not self._over.done():
            self._over.set_result(None)

    def _send(self, lane: Lane, number: int) -> None:
        self._sent[lane] = (time.perf_counter(), number)
        lane.send(number)

    def _tick(self) -> None:
        now = time.perf_counter()
        if self._recorder.begin <= now < self._recorder.end:
            self._recorder.lag(now - self._next)
        self._next = max(self._next + _TICK, now)
        self._alarm.set(self._next)


class Open:
    """Requests at the times `due` (of `time.perf_counter`); counts those due in the window."""

    def __init__(self, recorder: Recorder, requests: int, due: Sequence[float]) -> None:
        self._recorder, self._requests, self._due = recorder, requests, due
        self._next = 0
        self._late: deque[int] = deque()
        """Due, and waiting for a lane."""
        self._free: deque[Lane] = deque()
        self._taken: dict[Lane, int] = {}
        self._over = asyncio.get_running_loop().create_future()

    async def run(self, lanes: Sequence[Lane], patience: float) -> None:
        """Send all; wait at most `patience` seconds after the end for answers."""
        self._free.extend(lanes)
        self._alarm = Alarm(asyncio.get_running_loop(), self._ring)
        self._ring()
        left = self._recorder.end - time.perf_counter()
        try:
            async with asyncio.timeout(left + patience):
                await self._over
        except TimeoutError:
            now = time.perf_counter()
            for place in (*self._taken.values(), *self._late):
                if self._counts(place):
                    self._recorder.timed_out(now - self._due[place])
        finally:
            self._alarm.close()

    def answered(self, lane: Lane, status: int, head: bytes, body: bytes) -> None:  # noqa: ARG002
        """Take an answer; the lane serves what waits."""
        place = self._taken.pop(lane)
        if self._counts(place):
            self._recorder.answered(time.perf_counter() - self._due[place], status, head)
        self._free.append(lane)
        self._pump()

    def _counts(self, place: int) -> bool:
        return self._recorder.begin <= self._due[place] < self._recorder.end

    def _ring(self) -> None:
        """Take in all that is due by now."""
        now = time.perf_counter()
        while self._next < len(self._due) and self._due[self._next] <= now:
            if self._counts(self._next):
                self._recorder.lag(now - self._due[self._next])
            self._late.append(self._next)
            self._next += 1
        if self._next < len(self._due):
            self._alarm.set(self._due[self._next])
        self._pump()

    def _pump(self) -> None:
        while self._late and self._free:
            lane, place = self._free.popleft(), self._late.popleft()
            self._taken[lane] = place
            lane.send(place % self._requests)
        done = self._next == len(self._due) and not self._late and not self._taken
        if done and not self._over.done():
            self._over.set_result(None)
