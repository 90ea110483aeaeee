"""Tensor models: who may say that they hold no PHI, how they change, and what each call leaves."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import tiny_models
import tiny_registry
import tiny_tensors
from tiny_tensors import NAME
from wardgate.audit.read import search
from wardgate.auth.issuer import DevelopmentIssuer
from wardgate.errors import ManifestInvalid, ModelUnknown, ModelUntrusted
from wardgate.registry.signature import public_text
from wardgate.registry.store import Store
from wardgate.settings import Settings
from wardgate.web.app import Gateway
from wardgate.web.models import load_models
from wardgate.web.served import Rule
from wardgate.web.tensors import Tensors

TRUSTED = (public_text(tiny_registry.KEY.public_key()),)


def settings_of(home: Path, **registry: Any) -> Settings:
    given = {
        "models": (tiny_registry.NAME,),
        "tensor_models": (NAME,),
        "trusted_keys": TRUSTED,
        **registry,
    }
    return Settings(
        state=home,
        deid={"processes": 0},
        engine={"sessions": 1, "threads": 1},
        registry=given,
    )


class Caller:
    """A whole gateway with an engine and a driver of its own, and somebody who calls it."""

    def __init__(self, home: Path, gateway: Gateway) -> None:
        self.home, self.registry, self.gateway = home, home / "registry", gateway
        self.issuer = DevelopmentIssuer.open(home)

    def client(self, *scopes: str) -> httpx.AsyncClient:
        scopes = scopes or ("models:read", "models:write", f"tensor:{NAME}")
        token = self.issuer.issue(subject="operator", scopes=scopes, now=time.time())
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.gateway.app, raise_app_exceptions=False),
            base_url="http://gateway.test",
            headers={"authorization": f"Bearer {token}"},
        )

    async def infer(self, path: str = "", **changes: Any) -> httpx.Response:
        tensor = {"name": "vitals", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}
        body = {"inputs": [{**tensor, **changes}]}
        async with self.client() as http:
            return await http.post(f"/v2/models/{NAME}{path}/infer", content=json.dumps(body))

    async def change(self, action: str, version: str = "", **more: Any) -> dict[str, Any]:
        """Ask for a change and return how it ended."""
        async with self.client() as http:
            body = {"version": version, **more} if version else {}
            asked = await http.post(f"/v1/models/{NAME}/{action}", json=body)
            assert asked.status_code == 202, asked.text
            async with asyncio.timeout(60):
                while True:
                    found = (await http.get(f"/v1/models/{NAME}")).json()
                    if found["stage"] == "serving" and found["change"]["state"] != "running":
                        return found
                    await asyncio.sleep(0.01)

    async def records(self, request_id: str) -> list[dict[str, Any]]:
        assert await self.gateway.flow.recorder.check()
        return [r["event"] for r in search(self.home / "audit", request_id=request_id)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    tiny_registry.add(tmp_path / "registry", "1", tiny_models.fingerprint().graph, "yes")
    tiny_tensors.add(tmp_path / "registry", "1")
    return tmp_path


@pytest_asyncio.fixture
async def caller(home: Path) -> Any:
    gateway = await Gateway.open(settings_of(home), chain="worker-0")
    yield Caller(home, gateway)
    await gateway.close()


# -- who vouches for it ---------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, Ed25519PrivateKey.generate()], ids=["unsigned", "unknown"])
@pytest.mark.parametrize("lax", [False, True])
async def test_only_a_trusted_key_can_say_that_there_is_no_phi(home, key, lax) -> None:
    shutil.rmtree(home / "registry" / NAME)
    folder = tiny_tensors.add(home / "registry", "1", key=key)
    (folder / "model.onnx").write_bytes(b"never read")
    settings = settings_of(home, insecure_allow_unsigned=lax)
    with pytest.raises(ModelUntrusted) as raised:
        await Gateway.open(settings, chain="worker-0")
    assert not lax or "whatever the settings" in raised.value.detail
    seen = Store([home / "registry"], allow_unsigned=lax).describe(NAME)
    assert seen[0].phi_free, "it can be listed, and signed"


async def test_text_models_alone_may_be_unsigned(home) -> None:
    (home / "registry" / tiny_registry.NAME / "1" / "signature.json").unlink()
    with pytest.raises(ModelUntrusted):
        load_models(settings_of(home))
    loaded = load_models(settings_of(home, insecure_allow_unsigned=True))
    assert [each.id.name for each in loaded] == [tiny_registry.NAME]


def test_each_kind_is_named_where_it_belongs(home) -> None:
    with pytest.raises(ManifestInvalid, match=r"registry\.tensor_models"):
        load_models(settings_of(home, models=(NAME,), tensor_models=()))
    with pytest.raises(ManifestInvalid, match="phi_free"):
        load_models(settings_of(home, models=(), tensor_models=(tiny_registry.NAME,)))
    with pytest.raises(ValueError, match="different names"):
        settings_of(home, models=(NAME,))


# -- what each call leaves ------------------------------------------------------------------------


async def test_reply_and_record_name_the_manifest(caller) -> None:
    reply = await caller.infer()
    assert reply.status_code == 200
    found = reply.json()
    assert found["outputs"][0]["data"] == [6.0]
    said = found["parameters"]
    intent, outcome = await caller.records(said["request_id"])
    assert intent["model"] == {"name": NAME, "version": "1", "digest": said["digest"]}
    assert (intent["policy"], intent["obligations"]) == ("none", ["phi-free-tensors"])
    assert (outcome["status"], outcome["reason"]) == (200, "ok")
    async with caller.client() as http:
        assert (await http.get(f"/v1/models/{NAME}")).json()["digest"] == said["digest"]


async def test_a_fault_in_the_run_has_an_outcome(caller, monkeypatch) -> None:
    async def fault(*_: object, **__: object) -> None:
        raise RuntimeError("Okonkwo")

    monkeypatch.setattr(caller.gateway.tensors.runner.__class__, "infer", fault)
    reply = await caller.infer()
    assert reply.status_code == 500
    assert "Okonkwo" not in reply.text
    intent, outcome = await caller.records(reply.headers["x-request-id"])
    assert (intent["kind"], outcome["status"], outcome["reason"]) == ("intent", 500, "internal")


async def test_a_fault_before_the_intent_is_a_refusal(caller, monkeypatch) -> None:
    refused: list[Any] = []
    recorder = caller.gateway.flow.recorder
    monkeypatch.setattr(recorder, "refusal", refused.append)
    monkeypatch.setattr("wardgate.web.tensors.arrays", lambda *_: 1 / 0)
    reply = await caller.infer()
    assert reply.status_code == 500
    assert [(each.status, each.reason) for each in refused] == [(500, "internal")]
    assert refused[0].principal.subject == "operator"
    assert await caller.records(reply.headers["x-request-id"]) == []


async def test_outputs_that_are_not_finite_have_an_outcome(caller) -> None:
    reply = await caller.infer(data=[3e38, 3e38, 0])
    assert reply.status_code == 500
    assert reply.json()["type"].endswith("model-output-invalid")
    _, outcome = await caller.records(reply.headers["x-request-id"])
    assert (outcome["status"], outcome["reason"]) == (500, "model-output-invalid")
    raw = np.array([[np.nan, 0, 0]], "<f4").tobytes()
    head = json.dumps({"inputs": [{"name": "vitals", "datatype": "FP32", "shape": [1, 3],
                       "parameters": {"binary_data_size": len(raw)}}]}).encode()  # fmt: skip
    async with caller.client() as http:
        reply = await http.post(
            f"/v2/models/{NAME}/infer",
            content=head + raw,
            headers={"inference-header-content-length": str(len(head))},
        )
    assert reply.status_code == 422, "the caller's fault"
    _, outcome = await caller.records(reply.headers["x-request-id"])
    assert (outcome["status"], outcome["reason"]) == (422, "tensor-finite")


@pytest.mark.parametrize(
    "changes",
    [
        {"data": [1, 2, 1e39]},
        {"data": [1, 2, 10**400]},
        {"data": [[1], [2, 3]]},
        {"data": [1, 2, True]},
        {"data": [1, 2, "3"]},
        {"data": [1, 2, None]},
        {"data": [1, 2, {"a": 1}]},
        {"data": None},
        {"data": "AAAA"},
        {"shape": [1 << 62, 1 << 62]},
        {"shape": [1 << 31, 3]},
        {"shape": [-1, 3]},
        {"shape": [True, 3]},
        {"shape": [1.0, 3]},
        {"shape": []},
        {"shape": [1] * 10_000},
        {"datatype": "BYTES"},
        {"datatype": "BYTES", "data": ["\ud800"]},
        {"parameters": {"binary_data_size": 12}},
        {"parameters": {"binary_data_size": -1}},
        {"parameters": {"binary_data_size": 10**30}, "data": None},
        {"parameters": {"binary_data_size": True}, "data": None},
        {"parameters": {"shared_memory_region": "a", "shared_memory_byte_size": 12}},
        {"name": "input_ids"},
    ],
)
async def test_no_tensor_of_a_caller_is_a_fault_of_ours(caller, changes) -> None:
    reply = await caller.infer(**changes)
    assert reply.status_code in (400, 422), reply.text
    assert await caller.records(reply.headers["x-request-id"]) == [], "there was no intent"


@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1e39"])
async def test_json_has_no_number_beyond_the_type(caller, literal) -> None:
    body = b'{"inputs":[{"name":"vitals","datatype":"FP32","shape":[1,3],"data":[1,2,%b]}]}'
    async with caller.client() as http:
        reply = await http.post(f"/v2/models/{NAME}/infer", content=body % literal)
    assert reply.status_code in (400, 422)


# -- how it changes -------------------------------------------------------------------------------


async def test_a_promotion_a_rollback_and_a_retirement(caller) -> None:
    tiny_tensors.add(caller.registry, "2", 2.0)
    assert (await caller.infer()).json()["model_version"] == "1", "one added changes nothing"
    assert (await caller.infer(path="/versions/2")).status_code == 404
    found = await caller.change("promote", "2")
    assert (found["version"], found["change"]["state"]) == ("2", "done")
    reply = (await caller.infer()).json()
    assert (reply["model_version"], reply["outputs"][0]["data"]) == ("2", [12.0])
    assert reply["parameters"]["digest"] == found["digest"]
    assert (await caller.infer(path="/versions/1")).status_code == 404
    async with caller.client() as http:
        assert (await http.get(f"/v2/models/{NAME}")).json()["versions"] == ["2"]
        assert (await http.get(f"/v2/models/{NAME}/versions/1")).status_code == 404
    found = await caller.change("rollback")
    assert (found["version"], found["change"]["state"]) == ("1", "done")
    assert (await caller.infer()).json()["outputs"][0]["data"] == [6.0]
    async with caller.client() as http:
        asked = await http.post(f"/v1/models/{NAME}/retire", json={"version": "2"})
        assert asked.status_code == 202
        again = await http.post(f"/v1/models/{NAME}/promote", json={"version": "2"})
        assert (again.status_code, again.json()["type"][-14:]) == (409, "change-refused")
    assert await caller.gateway.flow.recorder.check()
    stages = [r["event"]["stage"] for r in search(caller.home / "audit", kind="change")][:5]
    assert stages == ["verifying", "loading", "proving", "shifting", "serving"]


@pytest.mark.parametrize("action", ["canary", "shadow"])
async def test_there_is_no_part_of_a_change(caller, action) -> None:
    tiny_tensors.add(caller.registry, "2", 2.0)
    body = {"version": "2", **({"percent": 5} if action == "canary" else {})}
    async with caller.client() as http:
        reply = await http.post(f"/v1/models/{NAME}/{action}", json=body)
        assert reply.status_code == 409
        assert reply.json()["detail"] == f"A tensor model has no {action}: promote the version."
        assert (await http.get(f"/v1/models/{NAME}")).json()["change"] is None


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ({"risk": 7.0}, "golden example 1 of 1"),
        ({"factor": 3e38, "risk": 6.0}, "was not finite"),
        ({"key": None}, "not signed"),
        ({"model": b"x"}, "ONNX Runtime can load"),
        ({"outputs": [{"name": "risk", "dtype": "FP32", "shape": ["n", 2]}],
          "golden": []}, "its tensors are not those"),
        ({"model": tiny_tensors.graph(columns=4), "golden": [],
          "inputs": [{"name": "vitals", "dtype": "FP32", "shape": ["n", 4]}]},
         "its tensors are not those"),
        ({"golden": [{"inputs": {"vitals": {"shape": [1, 4], "data": [1, 2, 3, 4]}},
                      "outputs": {"risk": {"shape": [1, 1], "data": [6]}}, "tolerance": 0.1}]},
         "is not of the model's tensors"),
    ],
    ids=["golden", "overflow", "unsigned", "graph", "outputs", "inputs", "example"],
)  # fmt: skip
async def test_a_bad_version_is_refused_and_the_old_one_serves_on(caller, version, why) -> None:
    tiny_tensors.add(caller.registry, "2", **version)
    found = await caller.change("promote", "2")
    assert (found["version"], found["change"]["state"]) == ("1", "refused")
    assert why in found["change"]["reason"]
    assert (await caller.infer()).json()["outputs"][0]["data"] == [6.0]


async def test_no_request_is_lost_while_it_changes(caller) -> None:
    tiny_tensors.add(caller.registry, "2", 2.0)
    answers: list[tuple[int, str, float]] = []
    going = True

    async def steady() -> None:
        while going:
            reply = await caller.infer()
            found = reply.json()
            answers.append(
                (reply.status_code, found["model_version"], found["outputs"][0]["data"][0])
            )

    calls = asyncio.create_task(steady())
    for action, version in (("promote", "2"), ("rollback", ""), ("promote", "2")):
        found = await caller.change(action, version)
        assert found["change"]["state"] == "done"
    going = False
    await calls
    assert set(answers) == {(200, "1", 6.0), (200, "2", 12.0)}


async def test_what_serves_is_pinned(home) -> None:
    gateway = await Gateway.open(settings_of(home), chain="worker-0")
    await gateway.close()
    tiny_tensors.add(home / "registry", "2", 2.0)
    gateway = await Gateway.open(settings_of(home), chain="worker-0")
    try:
        assert (await Caller(home, gateway).infer()).json()["model_version"] == "1"
    finally:
        await gateway.close()
    shutil.rmtree(home / "registry" / NAME / "1")
    with pytest.raises(ManifestInvalid, match="no more"):
        await Gateway.open(settings_of(home), chain="worker-0")
    tiny_tensors.add(home / "registry", "1", 5.0)
    with pytest.raises(ManifestInvalid, match="not the one"):
        await Gateway.open(settings_of(home), chain="worker-0")


async def test_a_model_whose_examples_come_out_wrong_stops_the_start(home) -> None:
    shutil.rmtree(home / "registry" / NAME)
    tiny_tensors.add(home / "registry", "1", risk=7.0)
    with pytest.raises(ManifestInvalid, match="golden example 1 of 1"):
        await Gateway.open(settings_of(home), chain="worker-0")


# -- the host alone -------------------------------------------------------------------------------


def test_a_version_is_held_for_as_long_as_a_call_of_it_is_in_flight(home) -> None:
    tiny_tensors.add(home / "registry", "2", 2.0)
    store = Store([home / "registry"], trusted=TRUSTED)
    host = Tensors()
    host.take(1, {NAME: Rule(host.prepare(store.load(NAME, "1")))})
    leave, held = host.lease(), host.find(NAME, None)
    host.take(2, {NAME: Rule(host.prepare(store.load(NAME, "2")))})
    assert (host.drained, host.find(NAME, "2").id.version) == (1, "2")
    vitals = {"vitals": np.array([[1, 2, 3]], np.float32)}
    assert held.prove(vitals)["risk"].tolist() == [[6.0]], "it still answers"
    leave()
    assert host.drained == 2
    for name, version in ((NAME, "1"), (NAME, "3"), ("other", None)):
        with pytest.raises(ModelUnknown):
            host.find(name, version)
    assert NAME in host
    assert "other" not in host


def test_an_example_out_of_the_range_of_its_type_is_refused(home) -> None:
    wrong = {"vitals": {"shape": [1, 3], "data": [1, 2, 300]}}
    tiny_tensors.add(
        home / "registry", "2", golden=[
            {"inputs": wrong, "outputs": {"risk": {"shape": [1, 1], "data": [6]}}, "tolerance": 1}
        ],
        inputs=[{"name": "vitals", "dtype": "UINT8", "shape": ["n", 3]}],
    )  # fmt: skip
    model = Store([home / "registry"], trusted=TRUSTED).load(NAME, "2")
    with pytest.raises(ManifestInvalid, match="golden example 1 of 1 is not"):
        Tensors().prepare(model)
