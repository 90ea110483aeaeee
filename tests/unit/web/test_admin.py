"""The routes of models: who may, in which order, what is written down and recorded."""

from __future__ import annotations

import dataclasses
import json

import httpx
import pytest
import pytest_asyncio
from tests.conftest import problem_of

import tiny_models
import tiny_registry
from tiny_registry import NAME, TRUSTED
from wardgate.audit.read import search
from wardgate.auth.issuer import DevelopmentIssuer
from wardgate.errors import AuditUnavailable
from wardgate.registry.standing import Arm, Goal, Limits, Stage, Standing, Tally, Version
from wardgate.settings import Settings
from wardgate.web.admin import view
from wardgate.web.app import Gateway

CHANGES = ("promote", "canary", "shadow", "rollback", "retire")


@pytest_asyncio.fixture
async def gateway(tmp_path):
    """A whole gateway with an engine and a driver of its own, on a tiny model."""
    tmp_path.chmod(0o700)
    registry = tmp_path / "registry"
    tiny_registry.add(registry, "1", tiny_models.fingerprint().graph, "yes")
    settings = Settings(
        state=tmp_path,
        deid={"processes": 0},
        engine={"sessions": 1, "threads": 1},
        registry={"models": (NAME,), "trusted_keys": tuple(json.loads(TRUSTED))},
    )
    found = await Gateway.open(settings, chain="worker-0")
    tiny_registry.add(registry, "2", tiny_registry.other().graph, "no")
    yield found
    await found.close()


@pytest.fixture
def client(gateway, tmp_path):
    issuer = DevelopmentIssuer.open(tmp_path)

    def made(*scopes: str) -> httpx.AsyncClient:
        scopes = scopes or ("models:read", "models:write", f"infer:{NAME}")
        token = issuer.issue(subject="operator", scopes=scopes, now=__import__("time").time())
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=gateway.app, raise_app_exceptions=False),
            base_url="http://gateway.test",
            headers={"authorization": f"Bearer {token}"},
        )

    return made


async def settled(http: httpx.AsyncClient) -> dict:
    while True:
        found = (await http.get(f"/v1/models/{NAME}")).json()
        if found["stage"] == "serving" and found["change"]["state"] != "running":
            return found


async def test_a_promotion_asked_over_the_routes(client, gateway, tmp_path):
    async with client() as http:
        listed = (await http.get("/v1/models")).json()
        assert [(m["name"], m["version"], m["stage"]) for m in listed["models"]] == [
            (NAME, "1", "serving")
        ]
        asked = await http.post(f"/v1/models/{NAME}/promote", json={"version": "2"})
        assert asked.status_code == 202
        assert asked.headers["location"] == f"/v1/models/{NAME}"
        assert asked.json()["change"]["by"] == "operator"
        found = await settled(http)
        assert (found["version"], found["change"]["state"]) == ("2", "done")
        said = await http.post("/v1/predict", json={"model": NAME, "text": "a w1"})
        assert (said.json()["version"], said.json()["label"]) == ("2", "no")
    assert await gateway.flow.recorder.check()
    records = [r["event"] for r in search(tmp_path / "audit", kind="change")]
    assert records[0]["sub"] == "operator"
    assert [r["stage"] for r in records] == [
        "verifying", "loading", "proving", "shifting", "serving", "drained",
    ]  # fmt: skip
    assert {r["request_id"] for r in records} == {asked.json()["change"]["id"]}
    assert records[1]["candidate"]["digest"] == records[-1]["serves"]["digest"]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_needs_its_own_scope_and_nothing_of_the_body_is_read_before(
    client, gateway, change
):
    async with client("models:read") as http:

        async def body():
            raise AssertionError("the body was read")
            yield b""

        headers = {"content-type": "application/json"}
        reply = await http.post(f"/v1/models/{NAME}/{change}", content=body(), headers=headers)
    assert reply.status_code == 403
    assert problem_of(reply)["type"].endswith("scope-insufficient")


async def test_reading_needs_its_scope(client):
    async with client("models:write") as http:
        for path in ("/v1/models", f"/v1/models/{NAME}"):
            assert (await http.get(path)).status_code == 403


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("absent/promote", {"version": "2"}, 404),
        (f"{NAME}/promote", {"version": "9"}, 404),
        (f"{NAME}/promote", {"version": "1"}, 409),
        (f"{NAME}/retire", {"version": "1"}, 409),
        (f"{NAME}/rollback", {}, 409),
        (f"{NAME}/promote", {}, 422),
        (f"{NAME}/canary", {"version": "2", "percent": 100}, 422),
    ],
)
async def test_what_cannot_be_done_is_refused_and_changes_nothing(client, path, body, status):
    async with client() as http:
        reply = await http.post(f"/v1/models/{path}", json=body)
        assert reply.status_code == status
        problem_of(reply)
        found = (await http.get(f"/v1/models/{NAME}")).json()
        assert (found["version"], found["change"], found["candidate"]) == ("1", None, None)


async def test_a_model_that_is_not_there_is_unknown(client):
    async with client() as http:
        assert (await http.get("/v1/models/absent")).status_code == 404


async def test_a_change_that_cannot_be_recorded_is_not_made(client, gateway, monkeypatch):
    def refuse(_):
        raise AuditUnavailable

    monkeypatch.setattr(gateway.flow.recorder, "change", refuse)
    async with client() as http:
        reply = await http.post(f"/v1/models/{NAME}/promote", json={"version": "2"})
        assert reply.status_code == 503
        assert (await http.get(f"/v1/models/{NAME}")).json()["change"] is None


async def test_a_second_change_has_to_wait(client):
    async with client() as http:
        place = f"/v1/models/{NAME}"
        first = await http.post(f"{place}/promote", json={"version": "2"})
        second = await http.post(f"{place}/shadow", json={"version": "2"})
        assert (first.status_code, second.status_code) == (202, 409)
        assert (await settled(http))["version"] == "2"


ONE, TWO = Version("1", "a" * 64), Version("2", "b" * 64)


class Row:
    """A follower's row, as far as it is looked at."""

    process, generation = "worker-0", 7

    def __init__(self, tally: Tally) -> None:
        self.report = {"tallies": {"": dataclasses.asdict(tally)}}


def test_what_was_seen_of_a_canary_and_of_a_shadow():
    from wardgate.registry.standing import Change

    change = Change("", "canary", "2", "who", 1.0)
    standing = Standing(
        "tiny", ONE, ONE, TWO, Goal.CANARY, 5, Limits(), Stage.SERVING, change=change
    )
    row = Row(Tally(Arm(10), Arm(5, 1), agreed=3, differed=1, dropped=2))
    found = view(standing, 7, [row])
    assert (found["traffic"], found["percent"], found["workers"]) == ("canary", 5, {"worker-0": 7})
    assert found["seen"]["candidate"] == {"requests": 5, "failed": 1, "p95_ms": 0.0}
    shadow = view(dataclasses.replace(standing, goal=Goal.SHADOW), 7, [row])
    assert shadow["seen"] == {
        "agreed": 3, "differed": 1, "failed": 1, "dropped": 2, "agreement": 0.75,
    }  # fmt: skip
    leaving = dataclasses.replace(standing, candidate=None, leaving=(TWO,))
    assert view(leaving, 7, [])["stage"] == "draining"
    assert view(leaving, 7, [])["seen"] is None
