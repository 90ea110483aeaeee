"""Models change under load, and no request that was taken is lost or answered wrongly."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from tests.e2e.processes import Gateway, alive, command, gateway, until

import tiny_models
from tiny_registry import KEY, LABEL, NAME, TRUSTED, add, other
from wardgate.registry.signature import sign

ENV = {
    "WARDGATE_REGISTRY__MODELS": json.dumps([NAME]),
    "WARDGATE_REGISTRY__TRUSTED_KEYS": TRUSTED,
    "WARDGATE_DEID__PROCESSES": "1",
}
SCOPES = (f"infer:{NAME}", "models:read", "models:write")


@pytest.fixture(params=[1, 3], ids=["one process", "three workers"])
def workers(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def running(workers: int, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that serves version 1, which says `yes`; version 2 says `no`."""
    registry = tmp_path / "state" / "registry"
    add(registry, "1", tiny_models.fingerprint().graph, LABEL["good"])
    (tmp_path / "state").chmod(0o700)
    with gateway(tmp_path, "--workers", str(workers), **ENV) as found:
        add(registry, "2", other().graph, LABEL["other"])
        yield found


def models(found: Gateway, *arguments: str) -> Any:
    return command("models", *arguments, "--state", str(found.state))


def standing(found: Gateway) -> dict[str, Any]:
    with found.client(headers=found.bearer(*SCOPES)) as client:
        return client.get(f"/v1/models/{NAME}").json()


def settled(found: Gateway) -> dict[str, Any]:
    """Wait until a change is done and the old is let go."""
    return until(lambda: (s := standing(found))["stage"] == "serving" and s, 60, "a model at rest")


class Load:
    """Callers on kept-alive connections; every answer is held against the version it names."""

    def __init__(self, found: Gateway, callers: int = 6, text: str = "a w1 w2") -> None:
        self.versions: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.slowest = 0.0
        self._stop = threading.Event()
        self._url, self._headers = found.url, found.bearer(*SCOPES)
        self._note = {"model": NAME, "text": text}
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.more(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads), "a caller got no answer"
        assert self.wrong == []

    def more(self, count: int, version: str | None = None) -> None:
        """Wait for so many answers more, of a version if given."""
        told = self.versions if version else self.statuses
        key: Any = version or 200
        before = told[key]
        until(lambda: told[key] >= before + count, 60, f"{count} answers more of {key}")

    def _call(self) -> None:
        with httpx.Client(base_url=self._url, headers=self._headers, trust_env=False) as client:
            while not self._stop.is_set():
                try:
                    reply = client.post("/v1/predict", json=self._note, timeout=20)
                except httpx.HTTPError as error:
                    self.wrong.append(f"{type(error).__name__} {error}")
                    continue
                self.statuses[reply.status_code] += 1
                self._check(reply)

    def _check(self, reply: httpx.Response) -> None:
        if reply.status_code == 200:
            answer = reply.json()
            self.versions[answer["version"]] += 1
            kind = "other" if answer["version"] == "2" else "good"
            right = answer["label"] == LABEL[kind]
        else:
            right = reply.status_code == 503 and int(reply.headers["retry-after"]) >= 1
        if not right:
            self.wrong.append(f"{reply.status_code} {reply.text}")


def test_a_promotion_and_a_rollback_under_load_lose_nothing(running: Gateway, workers: int) -> None:
    before = standing(running)
    assert (before["version"], len(before["workers"])) == ("1", workers)
    with Load(running) as load:
        done = models(running, "promote", NAME, "2")
        assert done.returncode == 0, done.stderr
        # Done means that every worker has it: from here on nobody gets the old one.
        at_promotion = load.versions["1"]
        in_flight = 6
        load.more(100, "2")
        assert load.versions["1"] <= at_promotion + in_flight
        now = standing(running)
        assert (now["version"], now["previous"]) == ("2", "1")
        settled(running)
        assert models(running, "rollback", NAME).returncode == 0
        load.more(100, "1")
    assert set(load.statuses) == {200}
    assert settled(running)["version"] == "1"
    expected = workers * standing(running)["generation"]
    until(lambda: running.metric("wardgate_control_generation") == expected, 10, "all follow")
    changes = command("audit", "search", "--state", str(running.state), "--kind", "change")
    told = [json.loads(line)["event"] for line in changes.stdout.splitlines()]
    assert [e["sub"] for e in told if "sub" in e] == ["cli", "cli"]
    stages = [e["stage"] for e in told if e["action"] == "promote"]
    assert stages == ["verifying", "loading", "proving", "shifting", "serving", "drained"]
    assert running.verify().returncode == 0


@pytest.mark.parametrize("workers", [1], ids=["one process"], indirect=True)
@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ("nan", "not finite|valid output"),
        ("golden", "golden example 1 of 1"),
        ("labels", "labels"),
        ("missing", "tokenizer.json"),
        ("digest", "SHA-256"),
        ("graph", "model.onnx"),
        ("signature", "signature"),
        ("unsigned", "signed"),
    ],
)
def test_a_bad_model_is_refused_with_its_reason(running: Gateway, damage: str, why: str) -> None:
    registry = running.state / "registry"
    graph = tiny_models.fingerprint().graph
    match damage:
        case "nan":
            add(registry, "3", tiny_models.always_nan().graph, "yes")
        case "golden":
            add(registry, "3", graph, "no")
        case "labels":
            add(registry, "3", graph, "ja", labels=["nein", "ja"])
        case "missing":
            (add(registry, "3", graph, "yes") / "tokenizer.json").unlink()
        case "digest":
            home = add(registry, "3", graph, "yes")
            content = bytearray((home / "model.onnx").read_bytes())
            content[-1] ^= 1
            (home / "model.onnx").write_bytes(content)
        case "graph":
            add(registry, "3", b"not a graph", "yes")
        case "signature":
            home = add(registry, "3", graph, "yes")
            (home / "signature.json").write_bytes(sign(b"another manifest", KEY))
        case "unsigned":
            (add(registry, "3", graph, "yes") / "signature.json").unlink()
    with Load(running, 3) as load:
        done = models(running, "promote", NAME, "3")
        load.more(20, "1")
    assert done.returncode == 1
    assert re.search(why, done.stdout), done.stdout + done.stderr
    assert set(load.versions) == {"1"}
    assert set(load.statuses) == {200}
    found = settled(running)
    assert (found["version"], found["candidate"]) == ("1", None)
    assert found["change"]["state"] == "refused"
    assert re.search(why, found["change"]["reason"])
    # what is right still goes
    assert models(running, "promote", NAME, "2").returncode == 0


@pytest.mark.parametrize(
    ("word", "why"), [("w7", "failed"), ("w8", "95th percentile")], ids=["fails", "is slow"]
)
def test_a_canary_that_fails_or_is_slow_is_taken_back(
    running: Gateway, word: str, why: str
) -> None:
    ids = {"w7": tiny_models.NAN_ID, "w8": tiny_models.SLOW_ID}
    graph = tiny_models.fingerprint().graph
    add(running.state / "registry", "3", graph, "yes", ids=ids)
    with Load(running, text=f"a {word}") as load:
        models(running, "canary", NAME, "3", "--percent", "50", "--min-requests", "20")
        until(lambda: standing(running)["change"]["state"] == "rolled-back", 60, "taken back")
        load.more(30, "1")
    found = settled(running)
    assert (found["version"], found["candidate"]) == ("1", None)
    assert why in found["change"]["reason"]
    assert set(load.statuses) == {200}, "what the canary failed was answered all the same"
    outcomes = command("audit", "search", "--state", str(running.state), "--kind", "outcome")
    fell_back = [
        event
        for line in outcomes.stdout.splitlines()
        if (event := json.loads(line)["event"]).get("fallback")
    ]
    if word == "w7":
        assert load.versions["3"] == 0
        assert fell_back
        assert {e["fallback"] for e in fell_back} == {"model-output-invalid"}
        assert {e["model"]["version"] for e in fell_back} == {"1"}


def test_a_canary_gets_its_share_and_is_then_promoted(running: Gateway) -> None:
    with Load(running) as load:
        assert models(running, "canary", NAME, "2", "--percent", "50").returncode == 0
        load.versions.clear()
        load.more(200)
        share = load.versions["2"] / (load.versions["1"] + load.versions["2"])
        assert 0.3 < share < 0.7
        until(lambda: standing(running)["seen"]["candidate"]["requests"] >= 50, 10, "counts")
        assert models(running, "promote", NAME, "3").returncode == 1
        assert models(running, "promote", NAME, "2").returncode == 0
        load.more(50, "2")
    assert set(load.statuses) == {200}
    assert settled(running)["version"] == "2"


def test_a_shadow_is_counted_and_returns_nothing(running: Gateway) -> None:
    with Load(running, 2) as load:
        assert models(running, "shadow", NAME, "2").returncode == 0
        until(lambda: (standing(running)["seen"] or {}).get("differed", 0) >= 5, 30, "counts")
        seen = standing(running)["seen"]
        assert (seen["agreed"], seen["failed"], seen["agreement"]) == (0, 0, 0.0)
        with running.client(headers=running.bearer(*SCOPES)) as client:
            note = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}
            reply = client.post(f"/v2/models/{NAME}/versions/2/infer", json=note)
        assert reply.status_code == 404
        assert models(running, "rollback", NAME).returncode == 0
    assert set(load.versions) == {"1"}
    assert set(load.statuses) == {200}
    assert running.metric("wardgate_shadow_rows_total", 'result="differed"') >= 5


@pytest.mark.parametrize("workers", [3], ids=["three workers"], indirect=True)
def test_a_worker_that_dies_in_a_change_holds_nobody_up(running: Gateway) -> None:
    victim = running.workers()[0]
    models(running, "promote", NAME, "2", "--wait", "0")
    os.kill(victim, signal.SIGKILL)
    until(lambda: not alive(victim))
    until(lambda: standing(running)["change"]["state"] == "done", 60, "the change is done")
    until(lambda: len(standing(running)["workers"]) == 3, 60, "a new worker")
    with Load(running) as load:
        load.more(60)
    assert set(load.versions) == {"2"}, "the new one has it too"


@pytest.mark.parametrize("workers", [3], ids=["three workers"], indirect=True)
def test_an_engine_that_dies_in_a_change_goes_on_where_it_stopped(running: Gateway) -> None:
    engine = running.engine()
    models(running, "promote", NAME, "2", "--wait", "0")
    until(lambda: standing(running)["stage"] != "verifying", 30)
    os.kill(engine, signal.SIGKILL)
    until(lambda: not alive(engine))
    assert (
        until(lambda: (s := standing(running))["change"]["state"] != "running" and s, 90)["version"]
        == "2"
    )
    with Load(running) as load:
        load.more(30, "2")


@pytest.mark.parametrize("workers", [1], ids=["one process"], indirect=True)
def test_a_restart_keeps_what_serves_though_a_higher_version_came(
    running: Gateway, tmp_path: Path
) -> None:
    assert standing(running)["version"] == "1"
    running.stop()
    with gateway(tmp_path, **ENV) as again:
        assert standing(again)["version"] == "1"
        retired = models(again, "retire", NAME, "2")
        assert retired.returncode == 0, retired.stderr
        assert models(again, "retire", NAME, "1").returncode == 1
        refused = models(again, "promote", NAME, "2")
        assert refused.returncode == 1
        assert "retired" in refused.stderr


@pytest.mark.parametrize("workers", [1], ids=["one process"], indirect=True)
def test_who_may_change_models(running: Gateway) -> None:
    with running.client() as client:
        place = f"/v1/models/{NAME}/promote"
        body = {"version": "2"}
        assert client.post(place, json=body).status_code == 401
        reader = running.bearer("models:read", f"infer:{NAME}")
        assert client.post(place, json=body, headers=reader).status_code == 403
        assert client.get("/v1/models", headers=running.bearer(f"infer:{NAME}")).status_code == 403
        writer = running.bearer("models:write")
        assert (
            client.post("/v1/models/absent/promote", json=body, headers=writer).status_code == 404
        )
        assert client.post(place, json={"version": 2}, headers=writer).status_code == 422
        reply = client.post(place, json=body, headers=writer)
    assert reply.status_code == 202
    assert reply.headers["location"] == f"/v1/models/{NAME}"
    assert reply.json()["stage"] == "verifying"
