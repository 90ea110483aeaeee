"""The two routes, from the caller's side."""

from __future__ import annotations

import asyncio
import re
import uuid

import pytest
from tests.conftest import problem_of

from wardgate.audit.read import search
from wardgate.audit.record import Recorder
from wardgate.telemetry import HOPS

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOTE = "Seen 03/14/2024: Mr. John Smith, MRN: 00482913, is much better and very happy."


async def test_predict_returns_the_fields_of_the_design(running) -> None:
    async with running.client() as client:
        reply = await client.post(
            "/v1/predict",
            json={"model": "sentiment", "text": NOTE, "purpose": "TREAT"},
            headers=running.bearer(),
        )
    assert reply.status_code == 200
    body = reply.json()
    assert set(body) == {
        "label", "score", "scores", "text", "model", "version", "policy", "policy_hash",
        "windows", "request_id",
    }  # fmt: skip
    assert body["label"] == "positive"
    assert body["score"] == max(body["scores"].values())
    assert sum(body["scores"].values()) == pytest.approx(1)
    assert body["policy"] == "safe_harbor"
    assert re.fullmatch("[0-9a-f]{64}", body["policy_hash"])
    assert body["windows"] == 1
    for secret in ("Smith", "00482913", "03/14"):
        assert secret not in reply.text
    assert "2024" in body["text"]


async def test_deidentify_gives_spans_in_code_points_of_the_input(running) -> None:
    text = "\U0001f600 Dr. Amy Lee called at (617) 555-0142."
    async with running.client() as client:
        reply = await client.post("/v1/deidentify", json={"text": text}, headers=running.bearer())
    body = reply.json()
    found = {text[s["start"] : s["end"]]: s["label"] for s in body["spans"]}
    assert found == {"Amy Lee": "NAME", "(617) 555-0142": "PHONE"}
    assert "Amy" not in body["text"]


async def test_every_request_leaves_intent_and_outcome(running) -> None:
    request_id = str(uuid.uuid4())
    async with running.client() as client:
        reply = await client.post(
            "/v1/predict",
            json={"model": "sentiment", "text": NOTE, "patient": "patient-7", "purpose": "TREAT"},
            headers={**running.bearer(), "x-request-id": request_id},
        )
    assert reply.json()["request_id"] == reply.headers["x-request-id"] == request_id
    folder = running.settings.state / "audit"
    kinds = [record["event"] if "kind" not in record else record["kind"]
             for record in search(folder, request_id=request_id)]  # fmt: skip
    assert len(kinds) == 2
    records = str(list(search(folder, request_id=request_id)))
    assert "intent" in records
    assert "outcome" in records
    assert "patient-7" not in records


async def test_a_request_id_that_is_no_uuid_is_not_kept(running) -> None:
    async with running.client() as client:
        reply = await client.get("/livez", headers={"x-request-id": "John Smith"})
    assert uuid.UUID(reply.headers["x-request-id"])


async def test_server_timing_tells_every_hop(running) -> None:
    async with running.client() as client:
        reply = await client.post(
            "/v1/predict", json={"model": "sentiment", "text": NOTE}, headers=running.bearer()
        )
    named = [item.partition(";")[0] for item in reply.headers["server-timing"].split(", ")]
    assert set(named) == set(HOPS)
    assert reply.headers["cache-control"] == "no-store"


async def test_traceparent_is_taken_and_given_and_nothing_else_of_it(running) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    sent = {
        "traceparent": f"00-{trace}-00f067aa0ba902b7-01",
        "tracestate": "vendor=John-Smith",
        "baggage": "patient=John-Smith",
    }
    async with running.client() as client:
        reply = await client.get("/livez", headers=sent)
        assert re.fullmatch(f"00-{trace}-[0-9a-f]{{16}}-01", reply.headers["traceparent"])
        assert "00f067aa0ba902b7" not in reply.headers["traceparent"]
        assert "tracestate" not in reply.headers
        assert "baggage" not in reply.headers
        for wrong in ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", "ff-" + trace, "John Smith"):
            other = await client.get("/livez", headers={"traceparent": wrong})
            assert trace not in other.headers["traceparent"]


REFUSED = {
    "unknown field": (b'{"model":"sentiment","text":"x","Jane Roe":1}', 422, "body-invalid"),
    "missing text": (b'{"model":"sentiment"}', 422, "body-invalid"),
    "text of a wrong type": (b'{"model":"sentiment","text":["Jane Roe"]}', 422, "body-invalid"),
    "no object": (b'["Jane Roe"]', 422, "body-invalid"),
    "no JSON": (b'{"text": Jane Roe}', 400, "body-not-json"),
    "two documents": (b'{"model":"sentiment","text":"x"} Jane Roe', 400, "body-not-json"),
    "invalid UTF-8": (b'{"model":"sentiment","text":"Jane \xff Roe"}', 400, "body-not-utf8"),
    "a lone surrogate": (b'{"model":"sentiment","text":"Jane Roe \\ud800"}', 400, "body-not-json"),
    "100,000 deep": (b"[" * 100_000 + b"]" * 100_000, 400, "body-too-deep"),
    "100,000 deep in text": (
        b'{"model":"sentiment","text":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        400,
        "body-too-deep",
    ),
    "a purpose that is none": (
        b'{"model":"sentiment","text":"x","purpose":"JANEROE"}',
        422,
        "body-invalid",
    ),
    "an unknown policy": (b'{"model":"sentiment","text":"x","policy":"Jane"}', 404, "policy-unknown"),
    "text too long": (b'{"model":"sentiment","text":"' + b"a" * 200_001 + b'"}', 413, "text-too-long"),
    "body too large": (b'{"text":"' + b"a" * 10_000_000 + b'"}', 413, "body-too-large"),
    "a timeout of nothing": (
        b'{"model":"sentiment","text":"x","timeout_ms":0}', 422, "body-invalid",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "slug"), REFUSED.values(), ids=REFUSED)
async def test_a_bad_body_has_its_own_clear_answer_and_no_echo(running, body, status, slug) -> None:
    headers = {**running.bearer(), "content-type": "application/json"}
    async with running.client() as client:
        reply = await client.post("/v1/predict", content=body, headers=headers)
    assert reply.status_code == status
    problem = problem_of(reply)
    assert problem["type"] == f"urn:wardgate:problem:{slug}"
    for secret in ("Jane", "JANE", "Roe", "aaaa"):
        assert secret not in reply.text


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-type": "application/json; charset=latin-1"},
    ],
)
async def test_another_content_type_is_refused(running, headers) -> None:
    async with running.client() as client:
        reply = await client.post(
            "/v1/predict", content=b"{}", headers={**running.bearer(), **headers}
        )
    assert reply.status_code == 415
    problem_of(reply)


async def test_a_model_that_is_not_served_is_unknown_only_to_who_may_use_it(running) -> None:
    body = {"model": "other", "text": "x"}
    async with running.client() as client:
        permitted = await client.post(
            "/v1/predict", json=body, headers=running.bearer("infer:other")
        )
        stranger = await client.post("/v1/predict", json=body, headers=running.bearer())
    assert permitted.status_code == 404
    assert stranger.status_code == 403


async def test_a_weaker_policy_needs_its_own_scope_on_every_route(running) -> None:
    body = {"text": "Seen 03/14/2024.", "policy": "limited_data_set"}
    async with running.client() as client:
        for route, extra in (("/v1/deidentify", {}), ("/v1/predict", {"model": "sentiment"})):
            refused = await client.post(route, json={**body, **extra}, headers=running.bearer())
            assert refused.status_code == 403
            scopes = ("infer:sentiment", "deid:limited_data_set")
            allowed = await client.post(
                route, json={**body, **extra}, headers=running.bearer(*scopes)
            )
            assert allowed.json()["policy"] == "limited_data_set"
            assert "03/14/2024" in allowed.json()["text"]


async def test_a_deadline_that_passes_is_told(running) -> None:
    body = {"model": "sentiment", "text": "word " * 30_000, "timeout_ms": 1}
    async with running.client() as client:
        reply = await client.post("/v1/predict", json=body, headers=running.bearer())
    assert reply.status_code == 504
    assert problem_of(reply)["type"] == "urn:wardgate:problem:deadline-exceeded"


async def test_a_long_note_goes_in_windows(running) -> None:
    body = {"model": "sentiment", "text": "A wonderful, moving film. " * 200}
    async with running.client() as client:
        reply = await client.post("/v1/predict", json=body, headers=running.bearer())
    assert reply.json()["windows"] > 1
    assert reply.json()["label"] == "positive"


async def test_many_callers_get_their_own_rows(running) -> None:
    texts = [f"case {n}: " + ("wonderful " if n % 2 else "awful ") * (1 + n % 7) for n in range(64)]
    async with running.client() as client:
        replies = await asyncio.gather(
            *(
                client.post(
                    "/v1/predict", json={"model": "sentiment", "text": t}, headers=running.bearer()
                )
                for t in texts
            )
        )
    for text, reply in zip(texts, replies, strict=True):
        assert reply.json()["text"] == text
        assert reply.json()["label"] == ("positive" if "wonderful" in text else "negative")


# -- several texts in one request -----------------------------------------------------------------


async def test_texts_get_a_row_each_in_their_order(running) -> None:
    texts = ["Mr. John Smith is wonderful.", "", "awful " * 400, "wonderful", "wonderful"]
    async with running.client() as client:
        reply = await client.post(
            "/v1/predict",
            json={"model": "sentiment", "texts": texts, "priority": "bulk"},
            headers=running.bearer(),
        )
        alone = [
            await client.post(
                "/v1/predict", json={"model": "sentiment", "text": t}, headers=running.bearer()
            )
            for t in texts
        ]
    assert reply.status_code == 200
    body = reply.json()
    assert list(body) == ["rows", "model", "version", "policy", "policy_hash", "request_id"]
    assert len(body["rows"]) == len(texts)
    for row, single in zip(body["rows"], alone, strict=True):
        assert list(row) == ["label", "score", "scores", "text", "windows"]
        assert row["score"] == pytest.approx(single.json()["score"], abs=1e-3)
        for name in ("label", "text", "windows"):
            assert row[name] == single.json()[name]
    assert "Smith" not in reply.text
    assert body["rows"][2]["windows"] > 1


async def test_texts_make_one_intent_with_their_number(running) -> None:
    texts = ["Dr. Amy Lee called.", "Mr. John Smith called Jane Roe.", "Nobody called."]
    async with running.client() as client:
        reply = await client.post(
            "/v1/predict", json={"model": "sentiment", "texts": texts}, headers=running.bearer()
        )
    folder = running.settings.state / "audit"
    records = list(search(folder, request_id=reply.json()["request_id"]))
    (intent,) = [record["event"] for record in records if record["event"]["kind"] == "intent"]
    (outcome,) = [record["event"] for record in records if record["event"]["kind"] == "outcome"]
    assert intent["rows"] == 3
    assert outcome["phi_counts"] == {"NAME": 3}
    assert len(records) == 2


async def test_one_text_in_a_list_is_still_a_list(running) -> None:
    async with running.client() as client:
        reply = await client.post(
            "/v1/predict", json={"model": "sentiment", "texts": ["fine"]}, headers=running.bearer()
        )
    assert len(reply.json()["rows"]) == 1
    assert "label" not in reply.json()


TEXTS_REFUSED = {
    "no text": ({"texts": []}, 422, "body-invalid"),
    "both": ({"text": "Jane Roe", "texts": ["Jane Roe"]}, 422, "body-invalid"),
    "no list": ({"texts": "Jane Roe"}, 422, "body-invalid"),
    "a number among them": ({"texts": ["Jane Roe", 7]}, 422, "body-invalid"),
    "null among them": ({"texts": ["Jane Roe", None]}, 422, "body-invalid"),
    "too many": ({"texts": ["Jane Roe"] * 129}, 422, "body-invalid"),
    "one too long": ({"texts": ["Jane Roe", "a" * 200_001]}, 413, "text-too-long"),
}


@pytest.mark.parametrize(("body", "status", "slug"), TEXTS_REFUSED.values(), ids=TEXTS_REFUSED)
async def test_bad_texts_are_refused_as_a_whole_without_an_echo(
    running, body, status, slug
) -> None:
    async with running.client() as client:
        reply = await client.post(
            "/v1/predict", json={"model": "sentiment", **body}, headers=running.bearer()
        )
    assert reply.status_code == status
    assert problem_of(reply)["type"] == f"urn:wardgate:problem:{slug}"
    assert "Jane" not in reply.text


async def test_deidentify_takes_one_text(running) -> None:
    async with running.client() as client:
        reply = await client.post(
            "/v1/deidentify", json={"texts": ["Jane Roe"]}, headers=running.bearer()
        )
    assert reply.status_code == 422


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/deidentify"])
async def test_a_note_of_the_future_is_refused_and_recorded(running, path, monkeypatch) -> None:
    recorded = []
    refusal = Recorder.refusal

    def seen(recorder, event) -> None:
        recorded.append(event)
        refusal(recorder, event)

    monkeypatch.setattr(Recorder, "refusal", seen)
    body = {"text": "Jane Roe", "reference_date": "2999-01-01"}
    if path == "/v1/predict":
        body["model"] = "sentiment"
    async with running.client() as client:
        reply = await client.post(path, json=body, headers=running.bearer())
    assert reply.status_code == 422
    assert problem_of(reply)["type"] == "urn:wardgate:problem:body-invalid"
    assert "2999" not in reply.text
    (event,) = recorded
    assert (event.route, event.status, event.reason) == (path, 422, "reference-date")
    assert event.principal is not None
