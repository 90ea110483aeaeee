"""The unmodified clients of Triton, all four of them, against a running gateway.

One suite for all: `Client` below awaits what the asyncio clients give.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import queue
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any, Self

import numpy as np
import pytest
import pytest_asyncio
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from google.protobuf.json_format import MessageToDict
from tests.e2e.processes import Gateway, command, gateway
from tests.tiny_classifiers import scorer
from tritonclient.utils import InferenceServerException

from wardgate.audit.read import search

NOTES = [
    "I feel much better, Dr. Thaddeus Okonkwo was very kind.",
    "The rash is worse, I feel awful and nobody at 4417 Larkspur Terrace helped me.",
    "Seen 07/22/1951. Much better!",
]
CLEAN = ["[NAME]", "[LOCATION]", "1951"]
VARIANTS: dict[str, ModuleType] = {
    "http": tritonclient.http,
    "http.aio": tritonclient.http.aio,
    "grpc": tritonclient.grpc,
    "grpc.aio": tritonclient.grpc.aio,
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with the shipped text model, and a tensor model that sums each row."""
    home = tmp_path_factory.mktemp("triton")
    graph = home / "risk.onnx"
    graph.write_bytes(scorer().SerializeToString())
    to = home / "registry"
    added = command(
        "models", "add", str(graph), "--name", "risk", "--version", "1", "--to", str(to),
        "--phi-free",
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    key = home / "key.pem"
    made = command("models", "keygen", str(key))
    signed = command("models", "sign", "risk", "1", "--key", str(key), "--folder", str(to))
    assert signed.returncode == 0, signed.stderr
    with gateway(
        home,
        "--grpc-port",
        "0",
        WARDGATE_REGISTRY__FOLDER=str(to),
        WARDGATE_REGISTRY__TENSOR_MODELS='["risk"]',
        WARDGATE_REGISTRY__TRUSTED_KEYS=made.stdout.partition("=")[2].strip().strip("'"),
    ) as found:
        yield found


class Client:
    """One of the four clients, with a bearer token in its headers."""

    def __init__(self, variant: str, found: Gateway) -> None:
        self.variant = variant
        self.module = VARIANTS[variant]
        self.grpc = variant.startswith("grpc")
        self.gateway = found
        self.headers: dict[str, str] | None = found.bearer()
        self.made: Any = None

    async def __aenter__(self) -> Self:
        url = self.gateway.grpc if self.grpc else self.gateway.url.removeprefix("http://")
        self.made = self.module.InferenceServerClient(url)
        return self

    async def __aexit__(self, *_: object) -> None:
        closed = self.made.close()
        if inspect.isawaitable(closed):
            await closed

    async def __call__(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the client; what gRPC gives is turned into the JSON that HTTP gives."""
        headers = options.pop("headers", self.headers)
        options["headers"] = headers and dict(headers)  # the clients write into it
        found = getattr(self.made, method)(*arguments, **options)
        if inspect.isawaitable(found):
            found = await found
        if self.grpc and hasattr(found, "DESCRIPTOR"):
            found = MessageToDict(found, preserving_proto_field_name=True)
        return found

    def input(self, texts: list[str], *, shape: list[int] | None = None, **options: Any) -> Any:
        shape = shape or [len(texts)]
        found = self.module.InferInput("text", shape, "BYTES")
        data = np.array([text.encode() for text in texts], dtype=np.object_).reshape(shape)
        found.set_data_from_numpy(data, **options)
        return found

    async def infer(self, texts: list[str] = NOTES, **options: Any) -> Any:
        return await self("infer", "sentiment", [self.input(texts)], **options)

    async def refused(self, *arguments: Any, **options: Any) -> InferenceServerException:
        with pytest.raises(InferenceServerException) as raised:
            await self(*arguments, **options)
        return raised.value


@pytest_asyncio.fixture(params=VARIANTS)
async def client(request: pytest.FixtureRequest, running: Gateway) -> AsyncIterator[Client]:
    async with Client(request.param, running) as made:
        yield made


def said(result: Any) -> dict[str, Any]:
    """Return a result's response as a dictionary."""
    response = result.get_response()
    if isinstance(response, dict):
        return response
    parameters = {name: value.string_param for name, value in response.parameters.items()}
    return {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "id": response.id,
        "parameters": parameters,
        "outputs": [{"name": output.name} for output in response.outputs],
    }


# -- what the server and the models say of themselves ---------------------------------------------


async def test_live_and_ready_need_no_token(client: Client) -> None:
    assert await client("is_server_live", headers=None)
    assert await client("is_server_ready", headers=None)


async def test_server_metadata(client: Client) -> None:
    found = await client("get_server_metadata")
    assert found["name"] == "wardgate"
    assert "binary_tensor_data" in found["extensions"]


@pytest.mark.parametrize("version", ["", "1"])
async def test_model_ready_metadata_and_config(client: Client, version: str) -> None:
    assert await client("is_model_ready", "sentiment", version)
    metadata = await client("get_model_metadata", "sentiment", version)
    assert (metadata["name"], metadata["versions"]) == ("sentiment", ["1"])

    def shape(tensor: dict[str, Any]) -> list[int]:
        return [int(size) for size in tensor["shape"]]

    (text,) = metadata["inputs"]
    assert (text["name"], text["datatype"], shape(text)) == ("text", "BYTES", [-1])
    assert {out["name"]: (out["datatype"], shape(out)) for out in metadata["outputs"]} == {
        "label": ("BYTES", [-1]),
        "score": ("FP32", [-1]),
        "scores": ("FP32", [-1, 2]),
        "text": ("BYTES", [-1]),
    }
    config = await client("get_model_config", "sentiment", version)
    config = config.get("config", config)
    assert config["name"] == "sentiment"
    assert config.get("max_batch_size", 0) == 0
    assert [each["data_type"] for each in config["input"]] == ["TYPE_STRING"]
    labels = json.loads(config["parameters"]["labels"]["string_value"])
    assert labels == ["negative", "positive"]


# -- inference ------------------------------------------------------------------------------------


async def test_infer_several_rows(client: Client) -> None:
    result = await client.infer(request_id="batch-7.a")
    labels = [label.decode() for label in result.as_numpy("label").tolist()]
    assert labels == ["positive", "negative", "positive"]
    score, scores = result.as_numpy("score"), result.as_numpy("scores")
    assert score.dtype == scores.dtype == np.float32
    assert scores.shape == (3, 2)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(scores.max(axis=1), score)
    texts = [text.decode() for text in result.as_numpy("text").tolist()]
    assert all(part in text for part, text in zip(CLEAN, texts, strict=True)), texts
    assert "Okonkwo" not in texts[0]
    found = said(result)
    assert (found["model_name"], found["model_version"]) == ("sentiment", "1")
    assert found["id"] == "batch-7.a"
    assert found["parameters"]["policy"] == "safe_harbor"
    assert json.loads(found["parameters"]["labels"]) == ["negative", "positive"]
    assert found["parameters"]["windows"] == "1,1,1"


async def test_rows_are_those_of_rest(client: Client) -> None:
    result = await client.infer()
    with client.gateway.client(headers=client.gateway.bearer()) as rest:
        rows = rest.post("/v1/predict", json={"model": "sentiment", "texts": NOTES}).json()["rows"]
    assert [row["text"].encode() for row in rows] == result.as_numpy("text").tolist()
    assert [row["label"].encode() for row in rows] == result.as_numpy("label").tolist()
    np.testing.assert_allclose(result.as_numpy("score"), [row["score"] for row in rows], rtol=1e-4)


async def test_chosen_outputs_come_in_that_order(client: Client) -> None:
    wanted = [client.module.InferRequestedOutput(name) for name in ("text", "label")]
    result = await client.infer(outputs=wanted)
    assert [output["name"] for output in said(result)["outputs"]] == ["text", "label"]
    assert result.as_numpy("scores") is None
    assert result.as_numpy("label").tolist() == [b"positive", b"negative", b"positive"]


async def test_a_column_of_texts(client: Client) -> None:
    result = await client("infer", "sentiment", [client.input(NOTES, shape=[3, 1])])
    assert result.as_numpy("label").tolist() == [b"positive", b"negative", b"positive"]


@pytest.mark.parametrize("data", [True, False])
@pytest.mark.parametrize("outputs", [True, False])
@pytest.mark.parametrize("variant", ["http", "http.aio"])
async def test_json_and_binary_say_the_same(
    running: Gateway, variant: str, data: bool, outputs: bool
) -> None:
    wanted = [
        VARIANTS[variant].InferRequestedOutput(name, binary_data=outputs)
        for name in ("label", "scores", "text")
    ]
    async with Client(variant, running) as client:
        for shape in ([3], [3, 1]):
            text = client.input(NOTES, shape=shape, binary_data=data)
            result = await client("infer", "sentiment", [text], outputs=wanted)
            found = result.as_numpy("label").tolist()
            labels = [str(each, "utf-8") if outputs else each for each in found]
            assert labels == ["positive", "negative", "positive"]
            assert result.as_numpy("scores").shape == (3, 2)


async def test_the_request_context_reaches_the_record(client: Client) -> None:
    subject = f"context-{client.variant}"
    client.headers = client.gateway.bearer(subject=subject)
    result = await client.infer(
        priority=2,
        timeout=2_500_000,
        parameters={
            "purpose": "TREAT",
            "patient": "MRN-84720913",
            "policy": "safe_harbor",
            "reference_date": "2024-03-14",
        },
    )
    audit = client.gateway.state / "audit"
    (intent,) = (record["event"] for record in search(audit, subject=subject, kind="intent"))
    assert (intent["purpose"], intent["policy"]) == ("TREAT", "safe_harbor")
    assert "84720913" not in json.dumps(intent)
    assert "reference-date-by-caller" in intent["obligations"]
    assert intent["rows"] == 3
    request_id = said(result)["parameters"]["request_id"]
    (outcome,) = (
        record["event"] for record in search(audit, request_id=request_id, kind="outcome")
    )
    assert outcome["status"] == 200


async def test_a_deadline_that_cannot_be_met(client: Client) -> None:
    note = "The pain is gone. " * 5_000
    error = await client.refused(
        "infer", "sentiment", [client.input([note])], parameters={"timeout_ms": 1}
    )
    assert error.status() in ("504", "StatusCode.DEADLINE_EXCEEDED")
    assert error.message() == (
        "The deadline given with the request passed before the result was ready."
    )


# -- a tensor model -------------------------------------------------------------------------------

VITALS = np.array([[1, 2, 3], [4, 5, 6.5]], dtype=np.float32)


def vitals(client: Client, values: Any = VITALS, **options: Any) -> Any:
    found = client.module.InferInput("vitals", list(values.shape), "FP32")
    found.set_data_from_numpy(values.astype(np.float32), **options)
    return found


async def test_a_tensor_model_takes_its_own_tensors(client: Client) -> None:
    headers = client.gateway.bearer("tensor:risk")
    metadata = await client("get_model_metadata", "risk", headers=headers)
    assert [each["name"] for each in metadata["inputs"]] == ["vitals"]
    assert await client("is_model_ready", "risk", headers=headers)
    await client("get_model_config", "risk", headers=headers)
    forms: list[dict[str, Any]] = [{}] if client.grpc else [{}, {"binary_data": False}]
    for form in forms:
        inputs = [vitals(client, **form)]
        result = await client("infer", "risk", inputs, request_id="t1", headers=headers)
        assert result.as_numpy("risk").tolist() == [[6.0], [15.5]]
        found = said(result)
        assert (found["model_name"], found["id"]) == ("risk", "t1")
        assert found["parameters"]["policy"] == "none"
        audit = client.gateway.state / "audit"
        request_id = found["parameters"]["request_id"]
        records = [each["event"] for each in search(audit, request_id=request_id)]
        assert [each["kind"] for each in records] == ["intent", "outcome"]
        assert records[0]["obligations"] == ["phi-free-tensors"]
        assert records[0]["model"]["name"] == "risk"
        assert records[0]["model"]["digest"] == found["parameters"]["digest"]


async def test_a_tensor_model_needs_its_own_scope(client: Client) -> None:
    for scope in ("infer:risk", "infer:sentiment", "tensor:other", "models:read"):
        headers = client.gateway.bearer(scope)
        error = await client.refused("infer", "risk", [vitals(client)], headers=headers)
        assert error.status() in ("403", "StatusCode.PERMISSION_DENIED"), scope
    headers = client.gateway.bearer("tensor:sentiment")
    error = await client.refused("infer", "sentiment", [client.input(NOTES)], headers=headers)
    assert error.status() in ("403", "StatusCode.PERMISSION_DENIED")


async def test_other_tensors_are_refused(client: Client) -> None:
    headers = client.gateway.bearer("tensor:risk")
    wide = vitals(client, np.zeros((1, 4)))
    for inputs in ([client.input(NOTES)], [wide], [vitals(client)] * 2):
        error = await client.refused("infer", "risk", inputs, headers=headers)
        assert error.status() in ("422", "StatusCode.INVALID_ARGUMENT")
    for parameters in ({"policy": "safe_harbor"}, {"patient": "MRN 1"}, {"purpose": "NONE"}):
        error = await client.refused(
            "infer", "risk", [vitals(client)], headers=headers, parameters=parameters
        )
        assert error.status() in ("422", "StatusCode.INVALID_ARGUMENT")
    nan = vitals(client, np.array([[np.nan, 0, 0]]))
    error = await client.refused("infer", "risk", [nan], headers=headers)
    assert error.status() in ("422", "StatusCode.INVALID_ARGUMENT")


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_server_metadata", ()),
        ("get_model_metadata", ("sentiment",)),
        ("get_model_config", ("sentiment",)),
    ],
)
async def test_the_rest_needs_a_token(client: Client, method: str, arguments: Any) -> None:
    error = await client.refused(method, *arguments, headers=None)
    assert error.status() in ("401", "StatusCode.UNAUTHENTICATED")
    assert error.message() == "Send an access token as 'Authorization: Bearer <token>'."
    error = await client.refused(method, *arguments, headers=client.gateway.bearer("deid"))
    assert error.status() in ("403", "StatusCode.PERMISSION_DENIED")


async def test_infer_needs_the_scope_of_the_model(client: Client) -> None:
    for scopes in (("deid",), ("models:read",), ("infer:other",)):
        headers = client.gateway.bearer(*scopes)
        error = await client.refused("infer", "sentiment", [client.input(NOTES)], headers=headers)
        assert error.status() in ("403", "StatusCode.PERMISSION_DENIED")
    error = await client.refused("infer", "sentiment", [client.input(NOTES)], headers=None)
    assert error.status() in ("401", "StatusCode.UNAUTHENTICATED")


async def test_a_model_that_is_not_there_is_told_to_those_who_may_see(client: Client) -> None:
    headers = client.gateway.bearer("models:read")
    assert await client("is_model_ready", "sentiment", headers=headers)
    error = await client.refused("get_model_metadata", "other", headers=headers)
    assert error.status() in ("404", "StatusCode.NOT_FOUND")
    error = await client.refused("get_model_metadata", "sentiment", "9", headers=headers)
    assert error.status() in ("404", "StatusCode.NOT_FOUND")
    headers = client.gateway.bearer("infer:sentiment")
    error = await client.refused("get_model_metadata", "other", headers=headers)
    assert error.status() in ("403", "StatusCode.PERMISSION_DENIED")


async def test_own_tensors_of_a_text_model_are_refused(client: Client) -> None:
    ids = client.module.InferInput("input_ids", [1, 4], "INT64")
    ids.set_data_from_numpy(np.array([[101, 2023, 2003, 102]], dtype=np.int64))
    for inputs in ([ids], [client.input(NOTES), ids]):
        error = await client.refused("infer", "sentiment", inputs)
        assert error.status() in ("422", "StatusCode.INVALID_ARGUMENT")
        assert "its own tensors are never a caller's input" in error.message()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sequence_id": 7, "sequence_start": True}, "Sequences are not served"),
        ({"parameters": {"model": "other"}}, "A request parameter is not known"),
        ({"parameters": {"timeout_ms": 50}, "timeout": 5}, "one of timeout and timeout_ms"),
        ({"parameters": {"purpose": "fun"}}, "purpose does not have the form"),
        ({"parameters": {"timeout_ms": "50"}}, "timeout_ms must be an integer"),
        ({"request_id": "Mr. Okonkwo"}, "The id has up to 128"),
        ({"request_id": "x" * 129}, "The id has up to 128"),
    ],
)
async def test_what_is_not_known_is_refused(client: Client, options: Any, words: str) -> None:
    error = await client.refused("infer", "sentiment", [client.input(NOTES)], **options)
    assert error.status() in ("422", "StatusCode.INVALID_ARGUMENT")
    assert words in error.message()
    assert "Okonkwo" not in str(error)


@pytest.mark.filterwarnings("ignore:Sending a large body")
async def test_rows_and_sizes_are_bounded(client: Client) -> None:
    error = await client.refused("infer", "sentiment", [client.input(["a"] * 129)])
    assert "1 to 128 texts" in error.message()
    error = await client.refused("infer", "sentiment", [client.input(["a" * 200_001])])
    assert "more than 200000 characters" in error.message()
    error = await client.refused("infer", "sentiment", [client.input(["a" * 60_000] * 20)])
    assert error.status() in ("413", "StatusCode.RESOURCE_EXHAUSTED")


async def test_compressed_requests_are_refused(client: Client) -> None:
    name = "compression_algorithm" if client.grpc else "request_compression_algorithm"
    error = await client.refused("infer", "sentiment", [client.input(NOTES)], **{name: "gzip"})
    assert error.status() in ("415", "StatusCode.UNIMPLEMENTED")


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_model_repository_index", ()),
        ("load_model", ("sentiment",)),
        ("unload_model", ("sentiment",)),
        ("get_inference_statistics", ()),
        ("get_inference_statistics", ("sentiment",)),
        ("get_trace_settings", ()),
        ("update_trace_settings", ("sentiment", {"trace_level": ["TENSORS"]})),
        ("get_log_settings", ()),
        ("update_log_settings", ({"log_verbose_level": 1},)),
        ("get_system_shared_memory_status", ()),
        ("register_system_shared_memory", ("region", "/key", 64)),
        ("unregister_system_shared_memory", ()),
        ("get_cuda_shared_memory_status", ()),
        ("register_cuda_shared_memory", ("region", b"aGFuZGxl", 0, 64)),
        ("unregister_cuda_shared_memory", ()),
    ],
)
async def test_what_triton_offers_besides_is_not_served(
    client: Client, method: str, arguments: Any
) -> None:
    everything = ("infer:sentiment", "models:read", "models:write", "audit:read")
    error = await client.refused(method, *arguments, headers=client.gateway.bearer(*everything))
    # `/v2/models/stats` is the metadata of a model of that name, which is not there
    assert error.status() in ("404", "405", "StatusCode.UNIMPLEMENTED")


async def test_shared_memory_is_no_input_and_no_output(client: Client) -> None:
    text = client.module.InferInput("text", [1], "BYTES")
    text.set_shared_memory("region", 64)
    error = await client.refused("infer", "sentiment", [text])
    assert "shared memory is not served" in error.message()
    wanted = client.module.InferRequestedOutput("label")
    wanted.set_shared_memory("region", 64)
    error = await client.refused("infer", "sentiment", [client.input(NOTES)], outputs=[wanted])
    assert "neither shared memory nor" in error.message()
    wanted = client.module.InferRequestedOutput("label", class_count=2)
    error = await client.refused("infer", "sentiment", [client.input(NOTES)], outputs=[wanted])
    assert "neither shared memory nor" in error.message()


def test_streaming_inference_is_not_served(running: Gateway) -> None:
    made = tritonclient.grpc.InferenceServerClient(running.grpc)
    answers: queue.Queue[Any] = queue.Queue()
    made.start_stream(lambda result, error: answers.put((result, error)), headers=running.bearer())
    text = tritonclient.grpc.InferInput("text", [1], "BYTES")
    text.set_data_from_numpy(np.array([b"fine"], dtype=np.object_))
    with contextlib.suppress(
        InferenceServerException
    ):  # the answer may be there before the question
        made.async_stream_infer("sentiment", [text])
    result, error = answers.get(timeout=20)
    assert result is None
    assert error.status() == "StatusCode.UNIMPLEMENTED"
    made.stop_stream()
    made.close()
