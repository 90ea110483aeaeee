"""One gateway process: it serves on sockets that it was given, and drains."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client import REGISTRY
from tests.conftest import Shared

from wardgate.auth.issuer import DevelopmentIssuer
from wardgate.engine.server import EngineServer
from wardgate.errors import NotReady
from wardgate.settings import Settings
from wardgate.web import worker as module
from wardgate.web.server.serve import bind
from wardgate.web.server.tls import TlsFiles
from wardgate.web.worker import Worker, tls_files

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def settings(tmp_path) -> Settings:
    tmp_path.chmod(0o700)
    return Settings(state=tmp_path, deid={"processes": 0})


@pytest.fixture
def embedded(engine, monkeypatch):
    """The session's engine in place of one more of the same."""

    async def start_engine(*_: object) -> Shared:
        return Shared(engine)

    monkeypatch.setattr("wardgate.web.app.start_engine", start_engine)


async def predict(settings: Settings, port: int) -> httpx.Response:
    token = DevelopmentIssuer.open(settings.state).issue(subject="a", now=time.time())
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(
            f"http://127.0.0.1:{port}/v1/predict",
            json={"model": "sentiment", "text": "wonderful"},
            headers={"authorization": f"Bearer {token}"},
        )


@pytest.mark.parametrize("remote", [False, True])
async def test_a_worker_is_ready_when_started_and_gone_when_drained(
    engine, embedded, settings, tmp_path, remote
) -> None:
    path = tmp_path / "engine.sock"
    server = EngineServer(Shared(engine), path)
    if remote:
        await server.start()
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    worker = Worker(settings, [listener], index=3, engine_socket=path if remote else None)
    await worker.start()
    try:
        reply = await predict(settings, port)
        assert reply.status_code == 200
        assert reply.json()["label"] == "positive"
        assert worker._gateway.flow.engine.local is not remote
        assert (settings.state / "audit" / "worker-3.db").exists()
    finally:
        await worker.drain()
        if remote:
            await server.close()
    assert not worker._gateway.readiness.ready
    with pytest.raises(httpx.ConnectError):
        await predict(settings, port)


async def test_refusals_of_the_server_are_counted(engine, embedded, settings) -> None:
    def count() -> float:
        labels = {"route": "server", "reason": "request-malformed"}
        return REGISTRY.get_sample_value("wardgate_refusals_total", labels) or 0.0

    listener = bind("127.0.0.1", 0)
    worker = Worker(settings, [listener])
    before = count()
    await worker.start()
    try:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET /%zz HTTP/1.1\r\nHost: gate\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await reader.readline()).split()[1] == b"400"
        writer.close()
        await writer.wait_closed()
    finally:
        await worker.drain()
    assert count() == before + 1


async def test_a_worker_that_does_not_become_ready_says_which_part_is_missing(
    engine, settings, monkeypatch
) -> None:
    class Other(Shared):
        async def check(self):
            return ()

    async def start_engine(*_: object) -> Shared:
        return Other(engine)

    monkeypatch.setattr("wardgate.web.app.start_engine", start_engine)
    monkeypatch.setattr(module, "_READY_SECONDS", 0.05)
    worker = Worker(settings, [bind("127.0.0.1", 0)])
    with pytest.raises(NotReady, match="models the engine serves other model files"):
        await worker.start()
    await worker.drain()


async def test_a_worker_that_was_not_started_drains_at_once(settings) -> None:
    listener = bind("127.0.0.1", 0)
    await Worker(settings, [listener]).drain()
    listener.close()


async def test_tls_needs_both_files(settings) -> None:
    assert tls_files(settings) is None
    server = {"tls_cert": "c.pem", "tls_key": "k.pem", "client_ca": "ca.pem"}
    assert tls_files(Settings(server=server)) == TlsFiles(
        Path("c.pem"), Path("k.pem"), Path("ca.pem")
    )
