"""The supervisor's own rules; the real server is started in tests/contract/test_triton_server.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wardgate.engine import tritonserver
from wardgate.engine.tritonserver import TritonServer
from wardgate.errors import EngineUnavailable


async def test_one_that_was_not_started_has_no_access_and_closes(tmp_path) -> None:
    server = TritonServer(tmp_path, home=tmp_path / "home")
    with pytest.raises(EngineUnavailable):
        server.access  # noqa: B018 -- the property raises
    await server.close()


async def test_other_systems_are_told_what_to_do(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tritonserver.sys, "platform", "darwin")
    with pytest.raises(EngineUnavailable, match="--triton-url"):
        await TritonServer(tmp_path, home=tmp_path / "home").start()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memfd_create(2) is Linux's")
def test_a_memory_file_has_no_name_and_one_reader() -> None:
    descriptor = tritonserver._memory_file(b"key", None)
    try:
        assert os.fstat(descriptor).st_mode & 0o777 == 0o400
        assert Path(f"/proc/self/fd/{descriptor}").read_bytes() == b"key"
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)
