"""The models behind both transports: text through the flow, tensors on their own path."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import tiny_models
import tiny_registry
import tiny_tensors
from wardgate.auth.issuer import DevelopmentIssuer
from wardgate.errors import BodyInvalid, Forbidden, ModelUnknown
from wardgate.flow import Admitted, Head
from wardgate.settings import Settings
from wardgate.telemetry import Hops
from wardgate.types import Permission
from wardgate.web.app import Gateway
from wardgate.web.oip import Inference, Input
from wardgate.web.oip_models import OipModels

TEXT, TENSOR = tiny_registry.NAME, tiny_tensors.NAME
WORDS = Inference("", {}, [Input("text", "BYTES", [1], ["a w1"])], [])
VITALS = Inference("", {}, [Input("vitals", "FP32", [1, 3], [1, 2, 3])], [])


class Caller:
    """A gateway with a model of each kind, and its callers."""

    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        self.flow, self.settings = gateway.flow, settings
        self.models = OipModels(gateway.flow, settings.limits, gateway.tensors)

    async def enter(self, *scopes: str) -> Admitted:
        issuer = DevelopmentIssuer.open(self.settings.state)
        token = issuer.issue(subject="tester", scopes=scopes, now=time.time())
        bearer = f"Bearer {token}".encode()
        head = Head("r", "0" * 32, "route", Permission.METADATA, [bearer], "127.0.0.1")
        return await self.flow.enter(head, Hops())

    async def infer(self, asked: Inference, model: str, version: str | None = None) -> Any:
        admitted = await self.enter(f"infer:{TEXT}", f"tensor:{TENSOR}")
        try:
            return await self.models.infer(
                admitted, asked, model=model, version=version, digest="0" * 64
            )
        finally:
            admitted.leave()

    async def see(self, scope: str, model: str, version: str | None = None) -> Any:
        admitted = await self.enter(scope)
        try:
            return self.models.see(admitted, model, version)
        finally:
            admitted.leave()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("both")
    found.chmod(0o700)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def caller(home: Path) -> Any:
    tiny_registry.add(home / "registry", "1", tiny_models.fingerprint().graph, "yes")
    tiny_tensors.add(home / "registry", "1")
    settings = Settings(
        state=home,
        deid={"processes": 0},
        engine={"sessions": 1, "threads": 1},
        registry={
            "models": (TEXT,),
            "tensor_models": (TENSOR,),
            "trusted_keys": (tiny_registry.public_text(tiny_registry.KEY.public_key()),),
        },
    )
    gateway = await Gateway.open(settings, chain="worker-0")
    yield Caller(gateway, settings)
    await gateway.close()


pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("version", [None, "", "1"])
async def test_each_kind_answers_what_is_its_own(caller, version) -> None:
    said = await caller.infer(WORDS, TEXT, version)
    assert (said.model, said.version) == (TEXT, "1")
    assert said.parameters["policy"] == "safe_harbor"
    said = await caller.infer(VITALS, TENSOR, version)
    assert (said.model, said.version) == (TENSOR, "1")
    assert said.outputs[0].elements() == [6.0]
    assert said.parameters["policy"] == "none"


async def test_neither_takes_what_is_the_others(caller) -> None:
    with pytest.raises(BodyInvalid, match="its own tensors are never"):
        await caller.infer(VITALS, TEXT)
    with pytest.raises(BodyInvalid, match="each input of the model"):
        await caller.infer(WORDS, TENSOR)


async def test_another_version_is_unknown(caller) -> None:
    for asked, model in ((WORDS, TEXT), (VITALS, TENSOR)):
        with pytest.raises(ModelUnknown):
            await caller.infer(asked, model, "2")


async def test_who_may_not_see_a_model_does_not_learn_whether_it_is_there(caller, monkeypatch):
    refused: list[Any] = []
    monkeypatch.setattr(caller.flow.recorder, "refusal", refused.append)
    for model in (TEXT, TENSOR, "absent"):
        with pytest.raises(Forbidden):
            await caller.see("infer:other", model)
        with pytest.raises(ModelUnknown):
            await caller.see("models:read", model, "9")
    assert [each.status for each in refused] == [403, 404] * 3


async def test_who_may_see_a_model_sees_it(caller) -> None:
    for scope in ("models:read", f"infer:{TEXT}"):
        for version in (None, "", "1"):
            assert (await caller.see(scope, TEXT, version)).platform == "wardgate_text"
    for scope in ("models:read", f"tensor:{TENSOR}"):
        for version in (None, "", "1"):
            shown = await caller.see(scope, TENSOR, version)
            assert (shown.platform, list(shown.versions)) == ("wardgate_tensor", ["1"])
