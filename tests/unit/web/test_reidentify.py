"""The way back: what `POST /v1/reidentify` takes, gives, refuses and records."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import threading

import pytest
from tests.conftest import problem_of

from wardgate.audit.digest import BodyDigest
from wardgate.audit.read import search
from wardgate.audit.record import Recorder
from wardgate.deid.codes import read, standing, written
from wardgate.errors import AuditUnavailable
from wardgate.types import PHI, EntityType
from wardgate.web.reidentify import reason_digest

pytestmark = pytest.mark.asyncio(loop_scope="session")

POLICY = "safe_harbor_vault"
NOTE = "Patient: John Quill, MRN: 00482913. John Quill is much better."
DEID = f"deid:{POLICY}"
REASON = "Recall of John Quill after the notice"


async def coded(client, running, text=NOTE, tenant="default", **context) -> str:
    """Return a note with codes, as the gateway gives it."""
    reply = await client.post(
        "/v1/deidentify",
        json={"text": text, "policy": POLICY, **context},
        headers=running.bearer(DEID, tenant=tenant),
    )
    assert reply.status_code == 200, reply.text
    assert reply.json()["policy"] == POLICY
    return reply.json()["text"]


async def back(client, running, *, tenant="default", headers=None, **body):
    """Ask for what codes stand for."""
    body = {"purpose": "TREAT", "reason": REASON} | body
    return await client.post(
        "/v1/reidentify",
        json={key: value for key, value in body.items() if value is not None},
        headers=headers or running.bearer("reidentify", tenant=tenant),
    )


def recorded(running, reply) -> dict[str, dict]:
    """Return intent and outcome of a request, by kind."""
    found = reply.headers["x-request-id"]
    events = search(running.settings.state / "audit", request_id=found)
    return {each["event"]["kind"]: each["event"] for each in events}


# -- there and back -------------------------------------------------------------------------------


async def test_a_note_goes_and_comes_back(running) -> None:
    async with running.client() as client:
        text = await coded(client, running, patient="patient-7")
        codes = standing(text)
        assert re.fullmatch(
            r"Patient: (\[NAME:\w+\]), MRN: \[MRN:\w+\]\. \1 is much better\.", text
        )
        reply = await back(client, running, text=text)
    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "no-store"
    body = reply.json()
    assert body["text"] == NOTE
    assert body["values"] == [
        {"code": codes[0], "value": "John Quill"},
        {"code": codes[1], "value": "00482913"},
    ]
    assert body["request_id"] == reply.headers["x-request-id"]


async def test_codes_alone_come_back_without_a_text(running) -> None:
    async with running.client() as client:
        codes = standing(await coded(client, running))
        reply = await back(client, running, codes=[codes[1], codes[0], codes[1]])
    assert reply.json()["text"] is None
    assert [v["value"] for v in reply.json()["values"]] == ["00482913", "John Quill"]


async def test_a_model_sees_tags_and_the_caller_gets_codes(running) -> None:
    async with running.client() as client:
        ask = {"model": "sentiment", "patient": "patient-8"}
        replies = [
            await client.post(
                "/v1/predict",
                json={**ask, **body},
                headers=running.bearer("infer:sentiment", "deid", DEID),
            )
            for body in (
                {"text": NOTE},
                {"text": NOTE, "policy": POLICY},
                {
                    "texts": [NOTE, "No name here.", "Dr. Amy Lee was here.\nPatient: John Quill"],
                    "policy": POLICY,
                },
            )
        ]
        plain, with_codes, many = (reply.json() for reply in replies)
        assert plain["scores"] == with_codes["scores"]
        (name, mrn) = standing(with_codes["text"])
        assert with_codes["text"].replace(name, "[NAME]").replace(mrn, "[MRN]") == plain["text"]
        assert [row["text"] for row in many["rows"]][:2] == [with_codes["text"], "No name here."]
        assert standing(many["rows"][2]["text"])[1] == name
        assert (await back(client, running, text=with_codes["text"])).status_code == 200


async def test_alignment_and_spans_fit_the_text_with_codes(running) -> None:
    async with running.client() as client:
        reply = await client.post(
            "/v1/deidentify",
            json={"text": NOTE, "policy": POLICY},
            headers=running.bearer(DEID),
        )
    spans = reply.json()["spans"]
    assert [NOTE[s["start"] : s["end"]] for s in spans if s["label"] == "NAME"] == [
        "John Quill",
        "John Quill",
    ]


async def test_a_patients_value_keeps_its_code_and_nobody_elses_does(running) -> None:
    async with running.client() as client:
        first = await coded(client, running, patient="patient-9")
        assert await coded(client, running, patient="patient-9") == first
        others = [
            await coded(client, running, patient="patient-10"),
            await coded(client, running, patient="patient-9", tenant="other"),
            await coded(client, running),
            await coded(client, running),
        ]
    names = [standing(text)[0] for text in (first, *others)]
    assert len(set(names)) == 5


# -- refusals -------------------------------------------------------------------------------------


async def test_the_scope_is_needed_and_no_other_will_do(running) -> None:
    async with running.client() as client:
        code = standing(await coded(client, running))[0]
        for scopes in (("deid", DEID), ("audit:read",), ("infer:sentiment",), ("models:write",)):
            reply = await back(client, running, codes=[code], headers=running.bearer(*scopes))
            assert reply.status_code == 403
            problem_of(reply)
        reply = await back(client, running, codes=[code], headers={"x": "y"})
        assert reply.status_code == 401


async def test_a_policy_with_codes_needs_its_own_scope(running) -> None:
    async with running.client() as client:
        for path, scope in (("/v1/deidentify", "deid"), ("/v1/predict", "infer:sentiment")):
            body = {"text": NOTE, "policy": POLICY}
            body |= {"model": "sentiment"} if "predict" in path else {}
            reply = await client.post(path, json=body, headers=running.bearer(scope))
            assert reply.status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"codes": ["[NAME:" + "a" * 26 + "]"], "text": "x"},
        {},
        {"codes": []},
        {"codes": ["x" * 65]},
        {"codes": ["[NAME:" + "a" * 26 + "]"] * 1_001},
        {"codes": ["[NAME:" + "a" * 26 + "]"], "reason": None},
        {"codes": ["[NAME:" + "a" * 26 + "]"], "reason": ""},
        {"codes": ["[NAME:" + "a" * 26 + "]"], "reason": " \n "},
        {"codes": ["[NAME:" + "a" * 26 + "]"], "reason": "x" * 501},
        {"codes": ["[NAME:" + "a" * 26 + "]"], "purpose": None},
        {"codes": ["[NAME:" + "a" * 26 + "]"], "purpose": "NOSUCH"},
        {"codes": ["[NAME:" + "a" * 26 + "]"], "purpose": "PurposeOfUse"},
        {"codes": ["[NAME:" + "a" * 26 + "]"], "patient": "patient-7"},
        {"text": "Nothing in here is a code, not even [NAME] or [NAME:7f3k]."},
    ],
)
async def test_a_body_that_is_not_whole_is_refused(running, body) -> None:
    async with running.client() as client:
        reply = await back(client, running, **body)
    assert reply.status_code == 422
    assert problem_of(reply)["type"] == "urn:wardgate:problem:body-invalid"
    assert "Quill" not in reply.text


async def test_more_codes_than_one_release_may_have_are_refused(running) -> None:
    codes = [written(EntityType.NAME, os.urandom(16)) for _ in range(257)]
    async with running.client() as client:
        for body in ({"codes": codes}, {"text": " ".join(codes)}):
            assert (await back(client, running, **body)).status_code == 422


async def test_unknown_foreign_expired_destroyed_and_malformed_codes_are_the_same_404(
    open_gateway,
) -> None:
    async with open_gateway() as running, running.client() as client:
        code, mrn = standing(await coded(client, running))
        foreign = standing(await coded(client, running, tenant="other"))[0]
        gone = standing(await coded(client, running, tenant="gone"))[0]
        store = running.gateway.flow.codes._store
        store.destroy("gone")
        expired = standing(await coded(client, running, text="Patient: Adam Bell"))[0]
        with sqlite3.connect(running.settings.state / "vault" / "vault.db") as db:
            db.execute("UPDATE codes SET expires = 1 WHERE code = ?", (read(expired)[1],))
        db.close()
        label, raw = read(code)
        asked = [
            ("default", {"codes": [written(label, os.urandom(16))]}),
            ("default", {"codes": [foreign]}),
            ("default", {"text": f"Pt {foreign}"}),
            ("gone", {"codes": [gone]}),
            ("nobody", {"codes": [code]}),
            ("default", {"codes": [expired]}),
            ("default", {"codes": [written(EntityType.DATE, raw)]}),
            ("default", {"codes": [code.upper()]}),
            ("default", {"codes": ["not a code"]}),
            ("default", {"codes": [code, foreign]}),
            ("default", {"text": f"{code} {mrn} {foreign}"}),
        ]
        bodies, heads, outcomes = set(), set(), set()
        for tenant, body in asked:
            reply = await back(client, running, tenant=tenant, **body)
            problem = problem_of(reply)
            problem.pop("instance")
            bodies.add(json.dumps(problem))
            skip = {"x-request-id", "server-timing", "traceparent"}
            heads.add(json.dumps({k: v for k, v in reply.headers.items() if k not in skip}))
            event = recorded(running, reply)["outcome"]
            outcomes.add((event["status"], event["reason"], json.dumps(event["phi_counts"])))
        assert len(bodies) == 1
        assert json.loads(bodies.pop())["status"] == 404
        assert len(heads) == 1
        assert outcomes == {(404, "code-unknown", "{}")}
        assert (await back(client, running, codes=[code, mrn])).status_code == 200


# -- the record -----------------------------------------------------------------------------------


async def test_a_release_is_recorded_without_what_was_released_or_said(running) -> None:
    async with running.client() as client:
        text = await coded(client, running, patient="patient-11")
        reply = await back(client, running, text=text)
    events = recorded(running, reply)
    intent, outcome = events["intent"], events["outcome"]
    assert intent["purpose"] == "TREAT"
    assert intent["sub"] == "tester"
    assert intent["route"] == "/v1/reidentify"
    assert intent["obligations"] == ["release-of-phi"]
    digest = BodyDigest(running.settings.state)
    assert intent["reason_digest"] == reason_digest(digest, f" {REASON}\n")
    assert intent["reason_digest"] != reason_digest(digest, "another")
    assert outcome["status"] == 200
    assert outcome["phi_counts"] == {"NAME": 1, "MRN": 1}
    flow = running.gateway.flow
    assert outcome["patients"] == [flow.detector.pseudonym(PHI("patient-11"), tenant="default")]
    said = json.dumps(events)
    for secret in ("Quill", "00482913", "patient-11", "Recall", standing(text)[0]):
        assert secret not in said


async def test_a_release_without_a_patient_names_none(running) -> None:
    async with running.client() as client:
        reply = await back(client, running, text=await coded(client, running))
    assert "patients" not in recorded(running, reply)["outcome"]


async def test_other_records_have_neither_reason_nor_patients(running) -> None:
    async with running.client() as client:
        reply = await client.post("/v1/deidentify", json={"text": NOTE}, headers=running.bearer())
    events = recorded(running, reply)
    assert "reason_digest" not in events["intent"]
    assert "patients" not in events["outcome"]


@pytest.mark.parametrize("which", ["intent", "outcome"])
async def test_nothing_is_released_that_is_not_in_the_record(running, monkeypatch, which) -> None:
    async with running.client() as client:
        code = standing(await coded(client, running))[0]
        opened: list[object] = []
        store = running.gateway.flow.codes._store
        real = store.get
        monkeypatch.setattr(store, "get", lambda *given: opened.append(given) or real(*given))
        sink = running.gateway.flow.recorder._sink
        append = sink.append

        def full(entries) -> None:
            if any(entry.kind == which for entry in entries):
                raise AuditUnavailable("The audit disk is full.")
            append(entries)

        monkeypatch.setattr(sink, "append", full)
        reply = await back(client, running, codes=[code])
    assert reply.status_code == 503
    assert problem_of(reply)["type"] == "urn:wardgate:problem:audit-unavailable"
    assert "Quill" not in reply.text
    assert bool(opened) == (which == "outcome")


async def test_a_full_audit_queue_refuses_and_is_counted(running, monkeypatch) -> None:
    async with running.client() as client:
        code = standing(await coded(client, running))[0]

        def refuse(recorder, intent):
            raise AuditUnavailable

        monkeypatch.setattr(Recorder, "intent", refuse)
        reply = await back(client, running, codes=[code])
    assert reply.status_code == 503


async def test_the_deadline_of_the_caller_holds(running, monkeypatch) -> None:
    async with running.client() as client:
        code = standing(await coded(client, running))[0]
        hangs = threading.Event()
        monkeypatch.setattr(running.gateway.flow.codes._store, "get", lambda *_: hangs.wait(30))
        reply = await back(client, running, codes=[code], timeout_ms=50)
        hangs.set()
    assert reply.status_code == 504
    assert recorded(running, reply)["outcome"]["reason"] == "deadline-exceeded"
