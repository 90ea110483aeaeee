"""Several processes: what becomes of callers when one dies, and when all shall end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest
from tests.e2e.processes import Gateway, alive, descendants, gateway, launched, until

NOTE = {"model": "sentiment", "text": "Dr. Thaddeus Okonkwo was kind and the pain is gone."}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("workers"), "--workers", "2") as found:
        yield found


def _served(reply: httpx.Response) -> httpx.Response | None:
    return reply if reply.status_code == 200 else None


class Load:
    """Callers on kept-alive connections; keeps what each of them was told."""

    def __init__(self, found: Gateway, callers: int) -> None:
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.lost: list[str] = []
        self.refused = 0
        self._stop = threading.Event()
        self._headers = found.bearer()
        self._url = found.url
        self._lock = threading.Lock()
        with found.client(headers=self._headers) as client:
            reply = until(lambda: _served(client.post("/v1/predict", json=NOTE)), 20, "an answer")
            answer = reply.json()
        self._right = answer["label"], answer["text"]
        assert "Okonkwo" not in answer["text"]
        self._threads = [
            threading.Thread(target=self._call, args=(number,)) for number in range(callers)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        until(lambda: self.statuses[200] >= 2 * len(self._threads), 30, "a load")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads), "a caller got no answer"

    def _call(self, number: int) -> None:
        # No retries: what is lost is seen.
        with httpx.Client(base_url=self._url, headers=self._headers, trust_env=False) as client:
            while not self._stop.is_set():
                try:
                    reply = client.post("/v1/predict", json=NOTE, timeout=20)
                except httpx.ConnectError:
                    self.refused += 1  # nothing was sent
                    self._stop.wait(0.05)
                    continue
                except httpx.HTTPError as error:
                    self.lost.append(f"{type(error).__name__} {error}")
                    continue
                with self._lock:
                    self.statuses[reply.status_code] += 1
                self._check(reply)

    def _check(self, reply: httpx.Response) -> None:
        if reply.status_code == 200:
            answer = reply.json()
            right = (answer["label"], answer["text"]) == self._right
        else:
            right = (
                reply.status_code == 503
                and reply.headers["content-type"] == "application/problem+json"
                and int(reply.headers["retry-after"]) >= 1
            )
        if not right:
            self.wrong.append(f"{reply.status_code} {reply.text}")


def test_metrics_are_summed_over_the_workers(running: Gateway) -> None:
    assert len(running.workers()) == 2
    headers = running.bearer()
    name, labels = "wardgate_requests_total", ('route="/v1/predict"', 'status="200"')
    before = running.metric(name, *labels)
    for _ in range(10):  # a connection each, so that both workers get some
        with running.client(headers=headers) as client:
            assert client.post("/v1/predict", json=NOTE).status_code == 200
    until(lambda: running.metric(name, *labels) == before + 10, 10, "ten more")
    assert running.metric("wardgate_ready", 'check="audit"') == 1
    assert running.metric("wardgate_batch_rows_count") > 0, "the engine's own"


def test_callers_of_an_engine_that_dies_get_503_and_a_new_one(running: Gateway) -> None:
    engine = running.engine()
    with Load(running, 8) as load:
        os.kill(engine, signal.SIGKILL)
        until(lambda: load.statuses[503], 20, "somebody was told")
        until(lambda: running.engine() != engine, 20, "a new process")
        told = load.statuses[200]
        until(lambda: load.statuses[200] > told + 16, 40, "answers again")
    assert load.wrong == load.lost == []
    assert set(load.statuses) == {200, 503}
    until(lambda: running.metric("wardgate_process_restarts_total", '"engine"') == 1, 10)


def test_a_worker_that_dies_is_replaced(running: Gateway) -> None:
    victim, other = running.workers()
    with Load(running, 8) as load:
        os.kill(victim, signal.SIGKILL)
        until(lambda: not alive(victim))
        told = load.statuses[200]
        until(lambda: load.statuses[200] > told + 16, 30, "the other one serves")
        until(lambda: len(running.workers()) == 2, 40, "a new process")
    assert load.wrong == load.lost == []
    assert load.refused == 0
    assert set(load.statuses) <= {200, 503}
    assert other in running.workers()
    until(lambda: running.metric("wardgate_process_restarts_total", '"worker"') == 1, 10)


def test_whoever_waits_for_a_worker_that_dies_gets_503(running: Gateway) -> None:
    """Also while its body is on the way; a connection that waits for nothing is just closed."""
    with running.client(headers=running.bearer()) as client:
        until(lambda: _served(client.post("/v1/predict", json=NOTE)), 20, "an answer")
    body = json.dumps(NOTE).encode()
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: wardgate\r\nContent-Type: application/json\r\n"
        f"Authorization: {running.bearer()['authorization']}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with contextlib.ExitStack() as stack:
        where = tuple(running.url.removeprefix("http://").split(":"))
        callers = [
            stack.enter_context(socket.create_connection((where[0], int(where[1])), timeout=30))
            for _ in range(12)
        ]
        waiting, idle = callers[:8], callers[8:]
        for caller in waiting:
            caller.sendall(head + body[:5])
        until(lambda: running.metric("wardgate_in_flight") == 8, 20, "all are in")
        for victim in running.workers():
            os.kill(victim, signal.SIGKILL)
        for caller in waiting:
            caller.sendall(body[5:])  # the rest is let in, so that the reply is not lost
            reply = b"".join(iter(lambda: caller.recv(65536), b""))  # noqa: B023 -- called at once
            top, _, problem = reply.partition(b"\r\n\r\n")
            assert top.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 1" in top
            assert b"\r\nconnection: close" in top
            assert json.loads(problem)["type"] == "urn:wardgate:problem:worker-lost"
        assert [caller.recv(1) for caller in idle] == [b""] * len(idle)
    until(lambda: len(running.workers()) == 2, 40, "new processes")
    with running.client(headers=running.bearer()) as client:
        until(lambda: _served(client.post("/v1/predict", json=NOTE)), 40, "an answer")
    until(lambda: running.metric("wardgate_process_restarts_total", '"worker"') == 3, 10)
    assert running.verify().returncode == 0


@pytest.mark.parametrize("everyone", [False, True], ids=["the supervisor", "every process"])
def test_sigterm_under_load_loses_no_request(tmp_path: Path, *, everyone: bool) -> None:
    """A service manager may signal the supervisor alone, or its whole group."""
    with gateway(tmp_path, "--workers", "2") as found:
        pids = [found.popen.pid, *found.processes()]
        with Load(found, 24) as load:
            for pid in pids if everyone else pids[:1]:
                os.kill(pid, signal.SIGTERM)
            assert found.popen.wait(30) == 0
        assert load.wrong == []
        assert load.lost == []
        assert set(load.statuses) <= {200, 503}
        assert not everyone or load.statuses[503] == 0
        until(lambda: not any(map(alive, pids)), 10, "all have ended")
        assert "Traceback" not in found.stderr
        assert list((found.home / "tmp").iterdir()) == []
        report = found.verify()
        assert report.returncode == 0
        assert "without an outcome" not in report.stdout
        assert not (found.state / "gateway.json").exists()


def test_ctrl_c_leaves_no_process_and_no_stack_trace(tmp_path: Path) -> None:
    with gateway(tmp_path, "--workers", "2") as found:
        pids = [found.popen.pid, *found.processes()]
        os.killpg(found.popen.pid, signal.SIGINT)  # as a terminal does
        assert found.popen.wait(30) in (0, 130)
        until(lambda: not any(map(alive, pids)), 10, "all have ended")
        assert "Traceback" not in found.stderr + found.stdout
        assert list((found.home / "tmp").iterdir()) == []


@pytest.mark.parametrize(("program", "workers"), [("serve", "2"), ("up", "1")])
def test_ctrl_c_before_it_is_ready_leaves_nothing(
    tmp_path: Path, program: str, workers: str
) -> None:
    with launched(tmp_path, "--workers", workers, program=program) as found:
        # The state is being made, and nothing is ready.
        until((found.state / "issuer" / "issuer.json").exists, 30)
        pids = [found.popen.pid, *descendants(found.popen.pid)]
        os.killpg(found.popen.pid, signal.SIGINT)
        assert found.popen.wait(40) in (0, 130)
        until(lambda: not any(map(alive, pids)), 10, "all have ended")
        assert "Traceback" not in found.stderr
        assert "ready http" not in found.stdout
        assert not (found.state / "gateway.json").exists()
        assert list((found.home / "tmp").iterdir()) == []


def test_no_process_outlives_a_supervisor_that_is_killed(running: Gateway) -> None:
    pids = running.processes()
    assert len(pids) == 5
    os.kill(running.popen.pid, signal.SIGKILL)
    running.popen.wait()
    until(lambda: not any(map(alive, pids)), 20, "all have ended by themselves")
    assert "Traceback" not in running.stderr
    assert running.verify().returncode == 0
