"""What is said of a running server, and what is left of one that is gone.

The real server is started in tests/contract/test_triton_server.py.
"""

from __future__ import annotations

import asyncio
import os

from wardgate.engine import tritonprocess
from wardgate.engine.tritonprocess import Access


def test_no_secret_is_shown() -> None:
    access = Access("127.0.0.1:1", b"ca", b"cert", b"PRIVATE", "header", "secret-value")
    assert "PRIVATE" not in repr(access)
    assert "secret-value" not in repr(access)


async def test_its_log_is_said_in_our_words_whatever_its_pieces() -> None:
    said: list[str] = []
    stream = asyncio.StreamReader()
    lines = (
        b"note of Jane Doe\n" + b"x" * 100_000 + b"\n"
        b'I1122 1 grpc_server.cc:2558] "Started GRPCInferenceService at 127.0.0.1:1"\n\xff\n'
    )
    for start in range(0, len(lines), 999):
        stream.feed_data(lines[start : start + 999])
    stream.feed_eof()
    await tritonprocess._read(stream, said.append)
    assert said == ["Triton listens."]


def test_shared_memory_of_a_gateway_that_is_gone_is_taken_away(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tritonprocess, "_SHARED_MEMORY", tmp_path)
    mine, gone, other = (
        tmp_path / name
        for name in (f"wardgate-{os.getpid()}-a", "wardgate-999999999-b", "wardgate-x-c")
    )
    for region in (mine, gone, other):
        region.write_bytes(b"")
    tritonprocess.sweep()
    assert sorted(tmp_path.iterdir()) == sorted([mine, other])
