"""Models change under load, and no request that was taken is lost or answered wrongly."""

from __future__ import annotations

import contextlib
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
CALLERS = 6
SCOPES = (f"infer:{NAME}", "models:read", "models:write")


@contextlib.contextmanager
def serving(home: Path, workers: int) -> Iterator[Gateway]:
    """A gateway that serves version 1, which says `yes`; version 2 says `no`."""
    registry = home / "state" / "registry"
    add(registry, "1", tiny_models.fingerprint().graph, LABEL["good"])
    (home / "state").chmod(0o700)
    with gateway(home, "--workers", str(workers), **ENV) as found:
        add(registry, "2", other().graph, LABEL["other"])
        yield found


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with serving(tmp_path_factory.mktemp("one"), 1) as found:
        yield found


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with serving(tmp_path_factory.mktemp("three"), 3) as found:
        yield found


@pytest.fixture(params=["one", "three"])
def running(request: pytest.FixtureRequest) -> Gateway:
    """A gateway with one process or three workers, at rest with version 1."""
    found: Gateway = request.getfixturevalue(request.param)
    return rested(found)


def rested(found: Gateway) -> Gateway:
    """Bring a gateway back to version 1 alone."""
    if settled(found)["candidate"]:
        models(found, "rollback", NAME)
    if settled(found)["version"] != "1":
        models(found, "promote", NAME, "1")
    assert settled(found)["version"] == "1"
    return found


def models(found: Gateway, *arguments: str) -> Any:
    return command("models", *arguments, "--state", str(found.state))


def standing(found: Gateway) -> dict[str, Any]:
    with found.client(headers=found.bearer(*SCOPES)) as client:
        return client.get(f"/v1/models/{NAME}").json()


def settled(found: Gateway) -> dict[str, Any]:
    """Wait until a change is done and the old is let go."""
    return until(lambda: (s := standing(found))["stage"] == "serving" and s, 60, "a model at rest")


def events(found: Gateway, kind: str, *filters: str) -> list[dict[str, Any]]:
    """Return the audit's events of a kind."""
    said = command("audit", "search", "--state", str(found.state), "--kind", kind, *filters)
    return [json.loads(line)["event"] for line in said.stdout.splitlines()]


class Load:
    """Callers on kept-alive connections; every answer is held against the version it names."""

    def __init__(self, found: Gateway, callers: int = CALLERS, text: str = "a w1 w2") -> None:
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


def test_a_promotion_and_a_rollback_under_load_lose_nothing(running: Gateway) -> None:
    workers = len(standing(running)["workers"])
    with Load(running) as load:
        done = models(running, "promote", NAME, "2")
        assert done.returncode == 0, done.stderr
        # Done means that every worker has it: but for what is in flight nobody gets the old one.
        at_promotion = load.versions["1"]
        load.more(100, "2")
        assert load.versions["1"] <= at_promotion + CALLERS
        now = standing(running)
        assert (now["version"], now["previous"]) == ("2", "1")
        settled(running)
        assert models(running, "rollback", NAME).returncode == 0
        load.more(100, "1")
    assert set(load.statuses) == {200}
    assert settled(running)["version"] == "1"
    expected = workers * standing(running)["generation"]
    until(lambda: running.metric("wardgate_control_generation") == expected, 10, "all follow")
    told = events(running, "change", "--request-id", now["change"]["id"])
    assert [event["sub"] for event in told if "sub" in event] == ["cli"]
    assert [event["stage"] for event in told] == [
        "verifying", "loading", "proving", "shifting", "serving", "drained",
    ]  # fmt: skip
    assert running.verify().returncode == 0


def damaged(registry: Path, damage: str) -> str:
    """Add a version with something wrong in it and return its name."""
    graph, label = tiny_models.fingerprint().graph, "yes"
    options: dict[str, Any] = {}
    match damage:
        case "nan":
            graph = tiny_models.always_nan().graph
        case "graph":
            graph = b"not a graph"
        case "golden":
            label = "no"
        case "labels":
            label, options = "ja", {"labels": ["nein", "ja"]}
    home = add(registry, damage, graph, label, **options)
    match damage:
        case "missing":
            (home / "tokenizer.json").unlink()
        case "digest":
            content = bytearray((home / "model.onnx").read_bytes())
            content[-1] ^= 1
            (home / "model.onnx").write_bytes(content)
        case "signature":
            (home / "signature.json").write_bytes(sign(b"another manifest", KEY))
        case "unsigned":
            (home / "signature.json").unlink()
    return home.name


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
def test_a_bad_model_is_refused_with_its_reason(one: Gateway, damage: str, why: str) -> None:
    running = rested(one)
    version = damaged(running.state / "registry", damage)
    with Load(running, 3) as load:
        done = models(running, "promote", NAME, version)
        load.more(20, "1")
    assert done.returncode == 1
    assert re.search(why, done.stdout), done.stdout + done.stderr
    assert set(load.versions) == {"1"}
    assert set(load.statuses) == {200}
    found = settled(running)
    assert (found["version"], found["candidate"]) == ("1", None)
    assert found["change"]["state"] == "refused"
    assert re.search(why, found["change"]["reason"])


@pytest.mark.parametrize(
    ("workers", "version", "word", "why"),
    [("three", "3", "w7", "failed"), ("one", "4", "w8", "95th percentile")],
    ids=["fails", "is slow"],
)
def test_a_canary_that_fails_or_is_slow_is_taken_back(
    request: pytest.FixtureRequest, workers: str, version: str, word: str, why: str
) -> None:
    running = rested(request.getfixturevalue(workers))
    ids = {"w7": tiny_models.NAN_ID, "w8": tiny_models.SLOW_ID}
    graph = tiny_models.fingerprint().graph
    add(running.state / "registry", version, graph, "yes", ids=ids)
    with Load(running, text=f"take {word} with food") as load:
        models(running, "canary", NAME, version, "--percent", "50", "--min-requests", "20")
        until(lambda: standing(running)["change"]["state"] == "rolled-back", 60, "taken back")
        load.more(30, "1")
    found = settled(running)
    assert (found["version"], found["candidate"]) == ("1", None)
    assert why in found["change"]["reason"]
    assert set(load.statuses) == {200}, "what the canary failed was answered all the same"
    if word == "w7":
        assert load.versions[version] == 0
        fell_back = [event for event in events(running, "outcome") if event.get("fallback")]
        assert {event["fallback"] for event in fell_back} == {"model-output-invalid"}
        assert {event["model"]["version"] for event in fell_back} == {"1"}


def test_a_canary_gets_its_share_and_is_then_promoted(three: Gateway) -> None:
    running = rested(three)
    add(running.state / "registry", "5", other().graph, "no")
    with Load(running) as load:
        assert models(running, "canary", NAME, "2", "--percent", "50").returncode == 0
        load.versions.clear()
        load.more(200)
        share = load.versions["2"] / (load.versions["1"] + load.versions["2"])
        assert 0.3 < share < 0.7
        until(lambda: standing(running)["seen"]["candidate"]["requests"] >= 50, 10, "counts")
        assert models(running, "promote", NAME, "5").returncode == 1
        assert models(running, "promote", NAME, "2").returncode == 0
        load.more(50, "2")
    assert set(load.statuses) == {200}
    assert settled(running)["version"] == "2"


def test_a_shadow_is_counted_and_returns_nothing(one: Gateway) -> None:
    running = rested(one)
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


def test_a_worker_that_dies_in_a_change_holds_nobody_up(three: Gateway) -> None:
    running = rested(three)
    victim = running.workers()[0]
    models(running, "promote", NAME, "2", "--wait", "0")
    os.kill(victim, signal.SIGKILL)
    until(lambda: not alive(victim))
    until(lambda: standing(running)["change"]["state"] == "done", 60, "the change is done")
    until(lambda: len(standing(running)["workers"]) == 3, 60, "a new worker")
    with Load(running) as load:
        load.more(60)
    assert set(load.versions) == {"2"}, "the new one has it too"


def test_an_engine_that_dies_in_a_change_goes_on_where_it_stopped(three: Gateway) -> None:
    running = rested(three)
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


def test_a_restart_keeps_what_serves_though_a_higher_version_came(tmp_path: Path) -> None:
    with serving(tmp_path, 1) as found:
        assert standing(found)["version"] == "1"
        found.stop()
    with gateway(tmp_path, **ENV) as again:
        assert standing(again)["version"] == "1"
        assert models(again, "retire", NAME, "2").returncode == 0
        assert models(again, "retire", NAME, "1").returncode == 1
        assert "retired" in models(again, "promote", NAME, "2").stderr
