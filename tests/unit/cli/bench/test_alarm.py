from __future__ import annotations

import asyncio
import time

import pytest
import uvloop

from wardgate.cli.bench.alarm import Alarm


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_rings_at_the_time_and_not_before(factory) -> None:
    late = []

    async def main() -> None:
        over = asyncio.get_running_loop().create_future()
        wanted = [time.perf_counter() + 0.0123 + 0.0005 * n for n in range(20)]

        def ring() -> None:
            late.append(time.perf_counter() - wanted[len(late)])
            if len(late) == len(wanted):
                over.set_result(None)
            else:
                alarm.set(wanted[len(late)])

        alarm = Alarm(asyncio.get_running_loop(), ring)
        alarm.set(wanted[0])
        await asyncio.wait_for(over, 5)
        alarm.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert min(late) >= 0
    # a fraction of the millisecond that event loops round to, where the machine lets it
    assert min(late) < 0.0005


async def test_a_time_that_is_past_rings_at_once() -> None:
    rang = asyncio.Event()
    alarm = Alarm(asyncio.get_running_loop(), rang.set)
    alarm.set(time.perf_counter() - 1)
    await asyncio.wait_for(rang.wait(), 5)
    alarm.close()
