"""The record when things go wrong: a full disk, a store that is gone, kill -9, a flood."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.e2e.processes import Gateway, command, gateway, until

BODY = {"text": "Patient: Thaddeus Okonkwo is better."}
SMALL = {"WARDGATE_DEID__PROCESSES": "0"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("audit"), **SMALL) as found:
        yield found


def readiness(client: httpx.Client) -> tuple[int, dict[str, str]]:
    reply = client.get("/readyz")
    return reply.status_code, reply.json()["checks"]


def assert_says_so(client: httpx.Client, words: str) -> None:
    """Expect 503 from the route and from `/readyz`, in these words."""
    reply = client.post("/v1/deidentify", json=BODY)
    assert reply.status_code == 503
    assert reply.json()["type"] == "urn:wardgate:problem:audit-unavailable"
    assert int(reply.headers["retry-after"]) >= 1
    assert "Okonkwo" not in reply.text
    assert "text" not in reply.json()
    status, checks = until(
        lambda: readiness(client) if readiness(client)[0] == 503 else None, 15, "not ready"
    )
    assert status == 503
    assert words in checks["audit"]


def test_a_store_that_is_gone_and_comes_back(running: Gateway) -> None:
    audit = running.state / "audit"
    away = audit.with_name("away")
    with running.client(headers=running.bearer()) as client:
        assert client.post("/v1/deidentify", json=BODY).status_code == 200
        audit.rename(away)
        assert_says_so(client, "gone")
        away.rename(audit)
        until(lambda: readiness(client)[0] == 200, 15, "ready again")
        assert client.post("/v1/deidentify", json=BODY).status_code == 200
    assert running.verify().returncode == 0


def test_a_store_that_is_swapped_for_another_is_not_written_to(running: Gateway) -> None:
    """An attacker who puts an empty store in its place gets no record and no reply."""
    audit = running.state / "audit"
    away = audit.with_name("away")
    audit.rename(away)
    audit.mkdir(mode=0o700)
    with running.client(headers=running.bearer()) as client:
        assert client.post("/v1/deidentify", json=BODY).status_code == 503
        assert list(audit.glob("*.db")) == []
        for path in audit.iterdir():
            path.unlink()
        audit.rmdir()
        away.rename(audit)
        until(lambda: readiness(client)[0] == 200, 15, "ready again")
    assert running.verify().returncode == 0


def test_an_anonymous_flood_makes_a_bounded_number_of_records(running: Gateway) -> None:
    before = running.metric("wardgate_audit_records_total")
    with running.client() as client:
        for number in range(1_000):
            given = {"authorization": f"Bearer {number}"} if number % 2 else {}
            assert client.post("/v1/deidentify", json=BODY, headers=given).status_code == 401
    counted = running.metric("wardgate_refusals_total", 'route="/v1/deidentify"')
    assert counted >= 1_000
    assert running.metric("wardgate_audit_records_total") - before <= 10
    assert running.stop() == 0
    found = command(
        "audit", "search", "--kind", "refusals", "--state", str(running.state)
    ).stdout.splitlines()
    counts = [row for line in found for row in json.loads(line)["event"]["counts"]]
    anonymous = [row for row in counts if row["status"] == 401]
    assert sum(row["count"] for row in anonymous) == 1_000
    assert {row["network"] for row in anonymous} == {"127.0.0.0/24"}
    assert {row["reason"] for row in anonymous} >= {"token-missing"}
    assert len(found) <= 30
    assert running.verify().returncode == 0


def test_a_disk_that_is_full_and_has_room_again(tmp_path: Path) -> None:
    """No file may grow past a bound; the record ends there, and says so."""
    with (
        gateway(tmp_path, file_bytes=150_000, **SMALL) as found,
        found.client(headers=found.bearer()) as client,
    ):
        # A log that is full makes room by moving into the store, until that is full too.
        until(
            lambda: all(
                client.post("/v1/deidentify", json=BODY).status_code == 503 for _ in range(20)
            ),
            60,
            "the disk is full",
        )
        assert_says_so(client, "The audit ")  # SQLite calls such a limit an I/O error
        assert found.verify().returncode == 0
        resource.prlimit(found.popen.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        until(lambda: readiness(client)[0] == 200, 15, "ready again")
        assert client.post("/v1/deidentify", json=BODY).status_code == 200
        assert found.stop() == 0
    report = found.verify()
    assert report.returncode == 0, report.stdout
    assert "without an outcome" not in report.stdout


def test_kill_9_in_the_middle_of_a_load_leaves_a_chain_that_verifies(tmp_path: Path) -> None:
    answered: list[str] = []
    with gateway(tmp_path) as found:
        headers = found.bearer()
        long = {"model": "sentiment", "text": "He is better. " * 400}

        def load() -> None:
            with contextlib.suppress(httpx.HTTPError), found.client(headers=headers) as client:
                while True:
                    reply = client.post("/v1/predict", json=long)
                    if reply.status_code == 200:
                        answered.append(reply.json()["request_id"])

        threads = [threading.Thread(target=load) for _ in range(6)]
        for thread in threads:
            thread.start()
        until(lambda: len(answered) >= 3 and found.metric("wardgate_in_flight") >= 2, 60, "a load")
        os.kill(found.popen.pid, signal.SIGKILL)
        found.popen.wait()
        for thread in threads:
            thread.join()
    refused = command("predict", "Dr. Amy Lee called.", "--state", str(found.state))
    assert refused.returncode == 1, "its address is stale"
    assert "Lee" not in refused.stderr
    report = command("audit", "verify", "--json", "--state", str(found.state))
    assert report.returncode == 0, report.stdout
    (chain,) = json.loads(report.stdout)
    assert chain["ok"]
    assert chain["ahead"] >= 0
    assert chain["finding"] is None
    cut_short = chain["without_outcome"]
    assert chain["in_flight"] == len(cut_short) >= 1
    assert not set(cut_short) & set(answered), "a reply left without its outcome"
    assert "without an outcome" in found.verify().stdout
    with gateway(tmp_path) as again:
        assert again.stop() == 0
    report = again.verify()
    assert report.returncode == 0
    assert f"{len(cut_short)} intents without an outcome: the gateway was killed" in report.stdout
    assert all(request in report.stdout for request in cut_short)
