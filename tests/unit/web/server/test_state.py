import asyncio

from wardgate.web.server.exchange import Exchange
from wardgate.web.server.limits import Limits
from wardgate.web.server.state import State, address, base_scope


class Transport:
    def __init__(self, **info):
        self.get_extra_info = info.get


def test_scope_of_a_connection():
    scope = base_scope(Transport(peername=("10.0.0.1", 5), sockname=("::1", 80, 0, 0)), None)
    assert (scope["client"], scope["server"]) == (("10.0.0.1", 5), ("::1", 80))
    assert address(scope) == "10.0.0.1"
    assert scope["scheme"] == "http"
    scope = base_scope(Transport(sockname="/run/gate.sock"), {"tls_version": 0x0304})
    assert (scope["client"], scope["server"]) == (None, None)
    assert address(scope) is None
    assert (scope["scheme"], scope["extensions"]) == ("https", {"tls": {"tls_version": 0x0304}})


async def test_tasks_are_owned_until_they_end():
    gate = asyncio.Event()

    async def app(scope, receive, send):
        await gate.wait()

    class Silent(Exchange):
        def fail(self):
            self.complete = True

        want = head = write = abort = None

    state = State(app, Limits(connections=1), asyncio.get_running_loop())
    state.start(Silent({"method": "GET"}))
    (task,) = state.tasks
    gate.set()
    await task
    await asyncio.sleep(0)
    assert not state.tasks


async def test_full_above_the_cap_and_date_in_its_form():
    state = State(None, Limits(connections=1), asyncio.get_running_loop())
    state.connections.add(1)
    assert not state.full
    state.connections.add(2)
    assert state.full
    state.renew_date()
    assert state.date.endswith(b" GMT")
    assert len(state.date) == 29
