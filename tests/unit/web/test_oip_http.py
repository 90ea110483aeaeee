"""The Open Inference Protocol over HTTP: JSON, binary tensor data, and nothing else."""

from __future__ import annotations

import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest
from tests.conftest import problem_of
from tritonclient.http import InferenceServerClient, InferInput, InferResult

from wardgate.errors import BodyInvalid
from wardgate.setting_groups import Limits
from wardgate.web.oip_http import header_length, inference, split
from wardgate.web.schemas import InferBody

pytestmark = pytest.mark.asyncio(loop_scope="session")

INFER = "/v2/models/sentiment/infer"
TEXTS = [
    "I feel much better, Dr. Thaddeus Okonkwo was very kind.",
    "The rash is worse, I feel awful.",
]
BODY: dict[str, Any] = {
    "inputs": [{"name": "text", "datatype": "BYTES", "shape": [2], "data": TEXTS}]
}


async def post(running: Any, body: Any = BODY, path: str = INFER, **options: Any) -> httpx.Response:
    options.setdefault("headers", running.bearer())
    if isinstance(body, bytes):
        options["content"] = body
    else:
        options["json"] = body
    async with running.client() as client:
        reply = await client.post(path, **options)
    if reply.status_code >= 400:
        problem = problem_of(reply)
        assert problem["error"] == problem["detail"]
        assert "Okonkwo" not in reply.text
    return reply


# -- inference ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [INFER, "/v2/models/sentiment/versions/1/infer"])
async def test_json_in_json_out(running, path) -> None:
    reply = await post(running, {**BODY, "id": "a-1"}, path)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    found = reply.json()
    assert (found["model_name"], found["model_version"], found["id"]) == ("sentiment", "1", "a-1")
    assert found["parameters"]["request_id"] == reply.headers["x-request-id"]
    outputs = {output["name"]: output for output in found["outputs"]}
    assert list(outputs) == ["label", "score", "scores", "text"]
    assert outputs["label"]["data"] == ["positive", "negative"]
    assert outputs["scores"]["shape"] == [2, 2]
    assert "Okonkwo" not in reply.text
    assert "infer;dur=" in reply.headers["server-timing"]


async def test_an_id_that_was_not_given_does_not_come_back(running) -> None:
    assert "id" not in (await post(running)).json()


async def test_the_binary_form_in_both_directions(running) -> None:
    text = InferInput("text", [2], "BYTES")
    text.set_data_from_numpy(np.array([each.encode() for each in TEXTS], dtype=np.object_))
    body, length = InferenceServerClient.generate_request_body([text])
    headers = {**running.bearer(), "inference-header-content-length": str(length)}
    reply = await post(running, body, headers=headers)
    assert reply.headers["content-type"] == "application/octet-stream"
    length = int(reply.headers["inference-header-content-length"])
    result = InferResult.from_response_body(reply.content, header_length=length)
    assert result.as_numpy("label").tolist() == [b"positive", b"negative"]
    assert result.as_numpy("scores").shape == (2, 2)


async def test_each_output_in_the_form_that_was_asked_for(running) -> None:
    body = {
        **BODY,
        "parameters": {"binary_data_output": True},
        "outputs": [
            {"name": "label", "parameters": {"binary_data": False}},
            {"name": "score"},
            {"name": "text", "parameters": {"binary_data": True}},
        ],
    }
    reply = await post(running, body)
    length = int(reply.headers["inference-header-content-length"])
    label, score, text = json.loads(reply.content[:length])["outputs"]
    assert label["data"] == ["positive", "negative"]
    assert score["parameters"] == {"binary_data_size": 8}
    assert "data" not in score
    assert len(reply.content) == length + 8 + text["parameters"]["binary_data_size"]


@pytest.mark.parametrize(
    "kind", [None, "application/json", "application/octet-stream", "Application/JSON"]
)
async def test_the_content_types_that_clients_send(running, kind) -> None:
    headers = running.bearer() | ({"content-type": kind} if kind else {})
    assert (await post(running, json.dumps(BODY).encode(), headers=headers)).status_code == 200


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status", "slug"),
    [
        ({"content-type": "text/plain"}, 415, "content-type-unsupported"),
        ({"content-encoding": "gzip"}, 415, "content-type-unsupported"),
        ({"content-encoding": "deflate"}, 415, "content-type-unsupported"),
        ({"content-length": "9999999"}, 413, "body-too-large"),
        ({"inference-header-content-length": "-1"}, 422, "body-invalid"),
        ({"inference-header-content-length": "0x10"}, 422, "body-invalid"),
        ({"inference-header-content-length": "9999999999"}, 422, "body-invalid"),
        ({"inference-header-content-length": "99999999999999999999"}, 422, "body-invalid"),
        ({"inference-header-content-length": "5"}, 400, "body-not-json"),
    ],
)
async def test_refused_by_headers(running, headers, status, slug) -> None:
    reply = await post(running, json.dumps(BODY).encode(), headers=running.bearer() | headers)
    assert reply.status_code == status
    assert reply.json()["type"] == f"urn:wardgate:problem:{slug}"


@pytest.mark.parametrize("header", ["content-type", "inference-header-content-length"])
async def test_a_header_that_decides_how_a_body_is_read_stands_once(running, header) -> None:
    content = json.dumps(BODY).encode()
    values = {
        "content-type": ("application/json", "application/octet-stream"),
        "inference-header-content-length": (str(len(content)), str(len(content))),
    }
    headers = [*running.bearer().items(), *((header, value) for value in values[header])]
    reply = await post(running, content, headers=headers)
    assert reply.status_code == (400 if header == "content-type" else 422)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"Okonkwo", 400),
        (b"", 400),
        (b"\xff", 400),
        (b"[" * 50, 400),
        (b'{"inputs":[],"inputs":[]}', 422),
        ([], 422),
        ({}, 422),
        ({"inputs": []}, 422),
        ({"inputs": {}}, 422),
        ({**BODY, "Okonkwo": 1}, 422),
        ({**BODY, "id": 7}, 422),
        ({**BODY, "parameters": {"Okonkwo": "Okonkwo"}}, 422),
        ({**BODY, "parameters": {"purpose": {"a": "Okonkwo"}}}, 422),
        ({**BODY, "parameters": {"purpose": "OKONKWO"}}, 422),
        ({**BODY, "parameters": {"binary_data_output": 1}}, 422),
        ({**BODY, "parameters": {"policy": "okonkwo"}}, 404),
        ({**BODY, "parameters": {"policy": "limited_data_set"}}, 403),
        ({**BODY, "outputs": [{"name": "Okonkwo"}]}, 422),
        ({**BODY, "outputs": [{"name": "label", "parameters": {"binary_data": 1}}]}, 422),
        ({**BODY, "outputs": [{"name": "label"}] * 65}, 422),
        ({"inputs": BODY["inputs"] * 65}, 422),
        ({"inputs": [{**BODY["inputs"][0], "shape": ["Okonkwo"]}]}, 422),
        ({"inputs": [{**BODY["inputs"][0], "data": "Okonkwo"}]}, 422),
        ({"inputs": [{**BODY["inputs"][0], "data": None}]}, 422),
        ({"inputs": [{**BODY["inputs"][0], "parameters": {"binary_data_size": 0}}]}, 422),
        ({"inputs": [{"name": "input_ids", "datatype": "INT64", "shape": [1, 1],
                      "data": [[101]]}]}, 422),
    ],
)  # fmt: skip
async def test_refused_bodies(running, body, status) -> None:
    assert (await post(running, body)).status_code == status


async def test_who_may_not_infer_reads_no_model_names(running) -> None:
    for model in ("sentiment", "other"):
        reply = await post(
            running, path=f"/v2/models/{model}/infer", headers=running.bearer("infer:none")
        )
        assert reply.status_code == 403
    reply = await post(
        running, path="/v2/models/other/infer", headers=running.bearer("infer:other")
    )
    assert reply.status_code == 404
    reply = await post(running, path="/v2/models/sentiment/versions/9/infer")
    assert reply.status_code == 404


@pytest.mark.parametrize("path", ["/v2", "/v2/models/sentiment", "/v2/models/sentiment/config",
                                  "/v2/models/sentiment/ready"])  # fmt: skip
async def test_what_is_said_of_models_needs_a_scope(running, path) -> None:
    async with running.client() as client:
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers=running.bearer("deid"))).status_code == 403
        for scope in ("infer:sentiment", "models:read"):
            reply = await client.get(path, headers=running.bearer(scope))
            assert reply.status_code == 200
        if path != "/v2":
            reply = await client.get(path, headers=running.bearer("infer:other"))
            assert reply.status_code == 403


async def test_not_ready_is_told(open_gateway) -> None:
    async with open_gateway() as running, running.client() as client:
        assert (await client.get("/v2/health/ready")).json() == {"ready": True}
        running.gateway.readiness.draining = True
        for path in ("/v2/health/ready", "/v2/models/sentiment/ready"):
            reply = await client.get(path, headers=running.bearer())
            assert reply.status_code == 503
            assert problem_of(reply)["error"]
        assert (await client.get("/v2/health/live")).json() == {"live": True}


async def test_only_refusals_under_v2_have_the_member_error(running) -> None:
    async with running.client() as client:
        assert problem_of(await client.get("/v2/repository/index"))["error"]
        assert "error" not in problem_of(await client.get("/v1/predict"))


async def test_a_full_gateway_refuses_metadata_too(open_gateway) -> None:
    async with open_gateway(admission={"quota": 1}) as running, running.client() as client:
        headers = running.bearer()
        assert (await client.get("/v2", headers=headers)).status_code == 200
        reply = await client.get("/v2/models/sentiment", headers=headers)
        assert reply.status_code == 429
        assert int(reply.headers["retry-after"]) > 0


# -- binary tensor data, without a gateway --------------------------------------------------------


def parts(*sizes: int | None, tail: bytes = b"", **changes: Any) -> Any:
    inputs = [
        {
            "name": "text",
            "datatype": "BYTES",
            "shape": [1],
            "parameters": {} if size is None else {"binary_data_size": size},
            **changes,
        }
        for size in sizes
    ]
    body = InferBody.model_validate_json(json.dumps({"inputs": inputs}))
    return inference(body, memoryview(tail))


async def test_each_input_gets_its_part() -> None:
    found = parts(1, 0, 2, tail=b"abc")
    assert [bytes(each.data) for each in found.inputs] == [b"a", b"", b"bc"]
    assert all(not each.parameters for each in found.inputs)


@pytest.mark.parametrize(
    ("sizes", "tail", "changes"),
    [
        ((1,), b"", {}),
        ((1,), b"ab", {}),
        ((2, 2), b"abc", {}),
        ((-1,), b"", {}),
        ((None,), b"a", {}),
        ((1,), b"a", {"data": ["a"]}),
        ((1,), b"a", {"parameters": {"binary_data_size": True}}),
        ((1,), b"a", {"parameters": {"binary_data_size": "1"}}),
        ((10**30,), b"a", {}),
    ],
)
async def test_parts_that_do_not_add_up_are_refused(sizes, tail, changes) -> None:
    with pytest.raises(BodyInvalid, match="does not add up"):
        parts(*sizes, tail=tail, **changes)


async def test_the_json_ends_where_the_header_says() -> None:
    raw = json.dumps(BODY).encode() + struct.pack("<I", 0)
    body, tail = split(raw, len(raw) - 4, nesting=Limits().nesting)
    assert len(body.inputs) == 1
    assert bytes(tail) == b"\0\0\0\0"
    with pytest.raises(BodyInvalid, match="more than the body"):
        split(raw, len(raw) + 1, nesting=16)


async def test_the_length_is_given_once() -> None:
    name = b"inference-header-content-length"
    assert header_length([(b"host", b"a")]) is None
    assert header_length([(name, b"0")]) == 0
    for values in ((b"1", b"1"), (b"+1",), (b" 1",), (b"",), ("١".encode(),)):
        with pytest.raises(BodyInvalid):
            header_length([(name, value) for value in values])
