"""What is said of a running server, and what is left of one that is gone.

The real server is started in tests/contract/test_triton_server.py.
"""

from __future__ import annotations

import asyncio
import fcntl
import signal
import subprocess
import sys

from wardgate.engine import tritonprocess
from wardgate.engine.tritonprocess import Access

HOLDS = """
import os, signal, sys
from pathlib import Path
from wardgate.engine import tritonprocess
tritonprocess._SHARED_MEMORY = Path(sys.argv[1])
memory = tritonprocess.SharedMemory()
"""
KILLED = HOLDS + "os.write(1, memory.prefix.encode()); os.kill(os.getpid(), signal.SIGKILL)"
LIVES = HOLDS + "os.write(1, memory.prefix.encode() + b'\\n'); sys.stdin.read()"


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
    lives = tritonprocess.SharedMemory()
    gone = subprocess.run(  # a gateway that is killed: nothing of its own hand is cleaned up
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, check=False
    )
    assert gone.returncode == -signal.SIGKILL
    prefix = gone.stdout.decode()
    mine, theirs = (tmp_path / f"{each}region" for each in (lives.prefix, prefix))
    others = [tmp_path / "wardgate-*-lock", tmp_path / "wardgate-0123-lock", tmp_path / "sem.x"]
    for region in (mine, theirs, *others):
        region.write_bytes(b"")
    (tmp_path / "wardgate-0123456789abcdef-lock").symlink_to(others[2])
    assert (tmp_path / f"{prefix}lock").exists()
    tritonprocess.sweep()
    kept = {mine.name, f"{lives.prefix}lock", "wardgate-0123456789abcdef-lock"}
    assert {each.name for each in tmp_path.iterdir()} == kept | {each.name for each in others}
    lives.remove()
    lives.remove()
    assert not mine.exists()
    assert not (tmp_path / f"{lives.prefix}lock").exists()


def test_a_gateway_of_another_process_namespace_is_not_taken_for_gone(tmp_path, monkeypatch):
    """Its process id says nothing here, as in containers that share /dev/shm; its lock does."""
    monkeypatch.setattr(tritonprocess, "_SHARED_MEMORY", tmp_path)
    command = [sys.executable, "-c", LIVES, str(tmp_path)]
    if subprocess.run(["unshare", "--pid", "--fork", "true"], check=False).returncode == 0:
        command[:0] = ["unshare", "--pid", "--fork"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        prefix = other.stdout.readline().decode().strip()
        region = tmp_path / f"{prefix}region"
        region.write_bytes(b"")
        tritonprocess.sweep()
        assert region.exists()
        other.stdin.close()
        other.wait()
    tritonprocess.sweep()
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_comes_between_is_noticed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tritonprocess, "_SHARED_MEMORY", tmp_path)
    lock, came = fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        if not came:
            came.append(descriptor)
            tritonprocess.sweep()
        lock(descriptor, how)

    monkeypatch.setattr(tritonprocess.fcntl, "flock", late)
    memory = tritonprocess.SharedMemory()
    tritonprocess.sweep()
    assert [each.name for each in tmp_path.iterdir()] == [f"{memory.prefix}lock"]
    memory.remove()
