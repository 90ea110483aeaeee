"""The gateway as a whole: what it leaves in the state folder, and every way to end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from tests.conftest import Shared

from wardgate.errors import SettingsInvalid, StateInvalid
from wardgate.settings import Settings
from wardgate.web import run as module
from wardgate.web.process import GATEWAY_FILE, StateLock
from wardgate.web.run import Addresses, _address, run
from wardgate.web.server.serve import bind

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(state=tmp_path / "state", server={"port": 0}, deid={"processes": 0})


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def here(engine, monkeypatch) -> AsyncIterator[None]:
    """Run in this process, with the session's engine; give the signals back."""

    async def start_engine(*_: object) -> Shared:
        return Shared(engine)

    monkeypatch.setattr("wardgate.web.app.start_engine", start_engine)
    monkeypatch.setattr(module, "forbid_core_files", lambda: None)
    yield
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_a_gateway_is_found_through_its_state_folder_while_it_runs(settings) -> None:
    seen: dict[str, object] = {}

    async def ready(addresses: Addresses) -> bool:
        path = settings.state / GATEWAY_FILE
        seen["file"] = json.loads(path.read_text())
        seen["line"] = addresses.line()
        with pytest.raises(StateInvalid):
            StateLock(settings.state)
        async with httpx.AsyncClient(trust_env=False) as client:
            seen["ready"] = (await client.get(f"{addresses.url}/readyz")).status_code
            seen["metrics"] = (await client.get(f"{addresses.metrics}/metrics")).text
            seen["hidden"] = (await client.get(f"{addresses.url}/metrics")).status_code
        return False

    await run(settings, on_ready=ready)
    file = seen["file"]
    assert file["pid"] == os.getpid()
    assert seen["line"] == f"ready {file['url']} metrics {file['metrics']}"
    assert seen["ready"] == 200
    assert 'wardgate_ready{check="models"} 1.0' in seen["metrics"]
    assert seen["hidden"] == 404
    assert not (settings.state / GATEWAY_FILE).exists()
    assert settings.state.stat().st_mode & 0o777 == 0o700
    StateLock(settings.state).release()
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{file['url']}/livez")


async def test_grpc_is_told_in_the_line_and_the_file(settings) -> None:
    server = settings.server.model_copy(update={"grpc_port": 0})
    seen: list[Addresses] = []

    async def ready(addresses: Addresses) -> bool:
        seen.append(addresses)
        assert json.loads((settings.state / GATEWAY_FILE).read_text())["grpc"] == addresses.grpc
        host, port = addresses.grpc.split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        return False

    await run(settings.model_copy(update={"server": server}), on_ready=ready)
    (found,) = seen
    assert found.line() == f"ready {found.url} grpc {found.grpc} metrics {found.metrics}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_without_a_word(settings, number, caplog) -> None:
    async def ready(addresses: Addresses) -> bool:
        os.kill(os.getpid(), number)
        return True

    await asyncio.wait_for(run(settings, on_ready=ready), 30)
    assert not (settings.state / GATEWAY_FILE).exists()
    assert "Traceback" not in caplog.text


async def test_a_signal_before_it_is_ready_ends_the_start(settings, monkeypatch) -> None:
    async def start_engine(*_: object) -> Shared:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
        raise AssertionError

    async def ready(_: Addresses) -> bool:
        raise AssertionError

    monkeypatch.setattr("wardgate.web.app.start_engine", start_engine)
    await asyncio.wait_for(run(settings, on_ready=ready), 30)
    StateLock(settings.state).release()


async def test_what_on_ready_raises_is_raised_after_all_has_ended(settings) -> None:
    async def ready(_: Addresses) -> bool:
        raise StateInvalid("The demonstration failed.")

    with pytest.raises(StateInvalid, match="demonstration"):
        await run(settings, on_ready=ready)
    assert not (settings.state / GATEWAY_FILE).exists()
    StateLock(settings.state).release()


async def never(_: Addresses) -> bool:
    raise AssertionError


async def test_a_port_that_is_taken_is_told(settings) -> None:
    taken = bind("127.0.0.1", 0)
    port = taken.getsockname()[1]
    for name in ("port", "metrics_port"):
        server = settings.server.model_copy(update={name: port})
        with pytest.raises(SettingsInvalid, match=f"Cannot listen on 127.0.0.1 port {port}"):
            await run(settings.model_copy(update={"server": server}), on_ready=never)
    taken.close()


async def test_a_second_gateway_on_the_same_state_is_refused(settings) -> None:
    settings.state.mkdir(mode=0o700)
    lock = StateLock(settings.state)
    with pytest.raises(StateInvalid, match="Another gateway"):
        await run(settings, on_ready=never)
    lock.release()


@pytest.mark.parametrize(
    ("name", "shown"),
    [(("127.0.0.1", 80), "127.0.0.1:80"), (("::1", 80, 0, 0), "[::1]:80")],
)
async def test_addresses_as_they_stand_in_a_url(name, shown) -> None:
    assert _address(name) == shown
