"""Attacks on the vault, against the gateway as it runs."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sqlite3
from pathlib import Path

import httpx
import pytest
from tests.conftest import problem_of, run_wardgate

from wardgate.deid.codes import read, standing, written
from wardgate.errors import StateInvalid
from wardgate.types import EntityType

POLICY = "safe_harbor_vault"
SCOPES = ("infer:sentiment", "deid", f"deid:{POLICY}", "deid:limited_data_set", "reidentify")
NOTE = "Patient: Thaddeus Okonkwo, MRN: 84720913, phone (617) 555-0186, is well."
CANARIES = ("Thaddeus", "Okonkwo", "84720913", "555-0186", "patient-77", "Zyxqvornamek")


async def post(client, running, path, body, *scopes, tenant="default"):
    headers = running.bearer(*(scopes or SCOPES), tenant=tenant)
    return await client.post(path, json=body, headers=headers)


async def note_with_codes(client, running, text=NOTE, tenant="default") -> str:
    reply = await post(
        client, running, "/v1/deidentify", {"text": text, "policy": POLICY, "patient": "patient-77"},
        tenant=tenant,
    )  # fmt: skip
    assert reply.status_code == 200
    return reply.json()["text"]


def release(**body):
    return {"purpose": "TREAT", "reason": "Zyxqvornamek asked"} | body


# -- another's codes ------------------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("policy", ["safe_harbor", "limited_data_set", POLICY])
async def test_no_opening_passes_on_a_code_that_a_caller_sent(running, policy) -> None:
    async with running.client() as client:
        stolen = standing(await note_with_codes(client, running))[0]
        text = f"Patient {stolen} was seen. Record {stolen[1:-1]}] and [ {stolen[1:]}"
        replies = [
            await post(client, running, "/v1/deidentify", {"text": text, "policy": policy}),
            await post(
                client, running, "/v1/predict",
                {"model": "sentiment", "texts": [text, text], "policy": policy},
            ),
            await post(
                client, running, "/v2/models/sentiment/infer",
                {
                    "parameters": {"policy": policy},
                    "inputs": [
                        {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
                    ],
                },
            ),
        ]  # fmt: skip
        for reply in replies:
            assert reply.status_code == 200, reply.text
            assert stolen not in reply.text
            assert stolen[6:-1] not in reply.text
        for code in standing(replies[0].json()["text"]):
            again = await post(client, running, "/v1/reidentify", release(codes=[code]))
            assert stolen not in again.text
            assert "Okonkwo" not in again.text


@pytest.mark.asyncio(loop_scope="session")
async def test_what_comes_back_is_not_read_for_codes_again(running) -> None:
    async with running.client() as client:
        first = await note_with_codes(client, running)
        code = standing(first)[0]
        twice = await post(
            client, running, "/v1/reidentify", release(text=f"{first} {{{code}}} [{code}]")
        )
        assert twice.json()["text"].count("Thaddeus Okonkwo") == 3


@pytest.mark.asyncio(loop_scope="session")
async def test_a_tenant_is_that_of_the_token_whatever_is_sent(running) -> None:
    async with running.client() as client:
        code = standing(await note_with_codes(client, running, tenant="one"))[0]
        for body in (release(codes=[code]), release(text=f"Pt {code}")):
            reply = await post(client, running, "/v1/reidentify", body, tenant="two")
            assert reply.status_code == 404
        reply = await post(
            client, running, "/v1/reidentify", release(codes=[code], tenant="one"), tenant="two"
        )
        assert reply.status_code == 422


@pytest.mark.asyncio(loop_scope="session")
async def test_every_refused_code_takes_the_same_way_through_the_store(open_gateway) -> None:
    async with open_gateway() as running, running.client() as client:
        text = await note_with_codes(client, running)
        known, expired = standing(text)[:2]
        foreign = standing(await note_with_codes(client, running, tenant="other"))[0]
        store = running.gateway.flow.codes._store
        with sqlite3.connect(running.settings.state / "vault" / "vault.db") as db:
            db.execute("UPDATE codes SET expires = 1 WHERE code = ?", (read(expired)[1],))
        db.close()
        ways = []
        connection = store._file._connection
        for code in (foreign, expired, written(EntityType.NAME, os.urandom(16)), known):
            seen: list[str] = []
            connection.set_trace_callback(lambda line, seen=seen: seen.append(line.split("'")[0]))
            reply = await post(client, running, "/v1/reidentify", release(codes=[code]))
            connection.set_trace_callback(None)
            assert reply.status_code == (200 if code == known else 404)
            ways.append([line for line in seen if not line.startswith("PRAGMA")])
        assert ways[0] == ways[1] == ways[2]
        assert len(ways[0]) == 2


@pytest.mark.asyncio(loop_scope="session")
async def test_codes_cannot_be_tried_out_faster_than_the_rate(open_gateway) -> None:
    statuses = []
    async with (
        open_gateway(admission={"rate": 0.001, "burst": 5}) as running,
        running.client() as client,
    ):
        for _ in range(8):
            body = release(codes=[written(EntityType.NAME, os.urandom(16))])
            statuses.append((await post(client, running, "/v1/reidentify", body)).status_code)
    assert statuses == [404] * 5 + [429] * 3


# -- faults ---------------------------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="session")
async def test_a_full_disk_refuses_and_passes_no_text(open_gateway) -> None:
    async with open_gateway() as running, running.client() as client:
        code = standing(await note_with_codes(client, running))[0]
        file = running.gateway.flow.codes._store._file
        pages = file.run("PRAGMA page_count").fetchone()[0]
        file.run(f"PRAGMA max_page_count = {pages}")
        names = " ".join(f"SSN: 219-09-{n:04}." for n in range(1000, 1400))
        for path, body in (
            ("/v1/deidentify", {"text": names, "policy": POLICY}),
            ("/v1/predict", {"text": names, "policy": POLICY, "model": "sentiment"}),
        ):
            reply = await post(client, running, path, body)
            assert reply.status_code == 503
            assert problem_of(reply)["type"] == "urn:wardgate:problem:vault-unavailable"
            assert "retry-after" in reply.headers
        other = await post(client, running, "/v1/deidentify", {"text": names})
        assert other.status_code == 200
        known = await post(client, running, "/v1/reidentify", release(codes=[code]))
        assert known.status_code == 200
        file.run("PRAGMA max_page_count = 1000000")
        again = await post(client, running, "/v1/deidentify", {"text": names, "policy": POLICY})
        assert again.status_code == 200


@pytest.mark.asyncio(loop_scope="session")
async def test_no_vault_no_start(open_gateway, tmp_path_factory) -> None:
    state = tmp_path_factory.mktemp("broken")
    state.chmod(0o700)
    (state / "vault").mkdir()
    with pytest.raises(StateInvalid):
        async with open_gateway(state=state):
            pass


# -- what lies around -----------------------------------------------------------------------------


def readable(content: bytes) -> str:
    return content.decode("latin-1").lower()


def forms(canary: str) -> set[str]:
    raw = canary.encode()
    return {canary.lower(), raw.hex(), base64.b64encode(raw).decode().rstrip("=").lower()[:-1]}


def test_values_are_in_no_file_metric_or_log_and_outlive_the_processes(start, tmp_path) -> None:
    flags = ("--workers", "2")
    process = start(*flags)
    token = process.token("--scope", " ".join(SCOPES))
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=process.url, headers=headers) as client:
        texts = set()
        for _ in range(20):  # both workers give the same codes
            body = {"text": NOTE, "policy": POLICY, "patient": "patient-77"}
            texts.add(client.post("/v1/deidentify", json=body).json()["text"])
        (text,) = texts
        long = NOTE + " He slept well." * 1_000
        body = {"text": long, "policy": POLICY, "patient": "patient-77"}
        reply = client.post("/v1/deidentify", json=body)
        assert standing(reply.json()["text"]) == standing(text)
        for _ in range(4):
            back = client.post("/v1/reidentify", json=release(text=text)).json()
            assert back["text"] == NOTE
    with httpx.Client() as client:
        metrics = client.get(f"{process.metrics}/metrics").text
    assert "wardgate_vault_released_total" in metrics
    process.popen.kill()
    process.popen.wait()
    around = {}
    for path in _files(process.state):
        with contextlib.suppress(FileNotFoundError):  # SQLite's own, gone with the last process
            around[path] = readable(path.read_bytes())
    around[Path("metrics")] = metrics.lower()
    around |= {path: readable(path.read_bytes()) for path in tmp_path.glob("stderr-*")}
    assert any("vault.db" in path.name for path in around)
    for path, content in around.items():
        for canary in CANARIES:
            assert not [form for form in forms(canary) if form in content], (path, canary)
        assert standing(text)[0][6:-1] not in content, path
    again = start(*flags, state=process.state)
    with httpx.Client(base_url=again.url, headers=headers) as client:
        back = client.post("/v1/reidentify", json=release(text=text)).json()
        assert back["text"] == NOTE
    report = again.wardgate("audit", "verify", check=True)
    assert "verified" in report.stdout
    events = [
        json.loads(line)["event"] for line in again.wardgate("audit", "search").stdout.splitlines()
    ]
    released = [e for e in events if e.get("route") == "/v1/reidentify"]
    assert len(released) == 5
    assert all(e["purpose"] == "TREAT" and len(e["reason_digest"]) == 64 for e in released)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_command_line_has_no_vault_and_says_so(tmp_path) -> None:
    done = run_wardgate("deid", "--policy", POLICY, "-", state=tmp_path / "none", stdin=NOTE)
    assert done.returncode == 2
    assert "only a gateway" in done.stderr
    assert "Okonkwo" not in done.stdout + done.stderr
