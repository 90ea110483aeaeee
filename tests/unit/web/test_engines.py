"""The engine that the settings ask for, over the real server, with one worker and with several."""

from __future__ import annotations

import asyncio
import stat
import time
from pathlib import Path

import pytest

from triton_bench import loaded, need
from wardgate.engine import tritonfiles
from wardgate.engine.onnx import OnnxEngine
from wardgate.errors import EngineUnavailable, SettingsInvalid
from wardgate.settings import Settings
from wardgate.types import Encoding, Priority
from wardgate.web import engines

MODEL = loaded()


def settings(state: Path, **engine: object) -> Settings:
    return Settings(state=state, engine=engine)


async def answer(engine) -> list[list[float]]:
    logits = await engine.infer(
        MODEL.id.digest,
        Encoding(([4, 5],)),
        deadline=time.monotonic() + 20,
        priority=Priority.INTERACTIVE,
    )
    return logits.tolist()


async def test_the_embedded_engine_is_the_default(tmp_path) -> None:
    engine = await engines.start_engine(settings(tmp_path, sessions=1, threads=1), [MODEL])
    try:
        assert isinstance(engine, OnnxEngine)
        assert await answer(engine) == [[9, 14]]
    finally:
        await engine.close()


async def test_a_triton_of_its_own_is_started_and_joined_by_workers(tmp_path) -> None:
    need()
    tmp_path.chmod(0o700)
    given, socket = settings(tmp_path, kind="triton"), tmp_path / "engine.sock"
    stale = tmp_path / "triton" / "models" / "left-over"
    stale.mkdir(parents=True)
    owner = await engines.start_engine(given, [MODEL], socket)
    try:
        assert not stale.exists()
        share = tmp_path / "triton.json"
        assert stat.S_IMODE(share.stat().st_mode) == 0o600
        worker = await engines.join_engine(given, socket)
        try:
            assert await asyncio.gather(answer(owner), answer(worker)) == [[[9, 14]]] * 2
            assert await worker.check() == await owner.check() == (MODEL.id,)
        finally:
            await worker.close()
    finally:
        await owner.close()
    with pytest.raises(EngineUnavailable):
        await owner.check()


async def test_a_triton_elsewhere_has_the_models_or_is_refused(tmp_path) -> None:
    need()
    tmp_path.chmod(0o700)
    owner = await engines.start_engine(settings(tmp_path, kind="triton"), [MODEL])
    try:
        at = owner._calls.link.endpoint
        files = {}
        for name, content in (("ca", at.ca), ("cert", at.cert), ("key", at.key)):
            files[f"triton_{name}"] = tmp_path / f"{name}.pem"
            files[f"triton_{name}"].write_bytes(content)
        control = tmp_path / "control"
        control.write_text(f"{at.header}: {at.secret}\n")
        elsewhere = settings(
            tmp_path / "other",
            kind="triton",
            triton_url=at.address,
            triton_control=control,
            triton_repository=tmp_path / "triton" / "models",
            **files,
        )
        engine = await engines.start_engine(elsewhere, [MODEL])
        assert await answer(engine) == [[9, 14]]
        await engine.close()
        without = settings(tmp_path / "other", kind="triton", triton_url=at.address, **files)
        with pytest.raises(
            EngineUnavailable
        ):  # its description is restricted: it cannot be checked
            await engines.start_engine(without, [MODEL])
        assert await answer(owner) == [[9, 14]]
        control.write_text("no separator")
        with pytest.raises(SettingsInvalid):
            await engines.start_engine(elsewhere, [MODEL])
        control.unlink()
        with pytest.raises(SettingsInvalid):
            await engines.start_engine(elsewhere, [MODEL])
    finally:
        await owner.close()


async def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tritonfiles, "_folder", lambda _: None)
    with pytest.raises(EngineUnavailable, match=r"wardgate\[triton\]"):
        await engines.start_engine(settings(tmp_path, kind="triton"), [MODEL])
