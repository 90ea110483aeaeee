"""How replies around a fault are judged and summed up."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import availability
from availability import Load, Sample, judge, shares, until_normal


def sample(due, outcome="right", seconds=0.01):
    return Sample(due, outcome, seconds)


@pytest.mark.parametrize(("status", "body", "outcome"), [
    (200, b'{"label":"positive"}', "right"),
    (200, b'{"label":"negative"}', "wrong"),
    (429, b"", "refused"),
    (503, b"", "refused"),
    (500, b'"positive"', "error"),
])  # fmt: skip
def test_judge(status, body, outcome):
    assert judge(status, body, "positive") == outcome


def test_nothing_bad_is_normal_at_once():
    assert until_normal([sample(1), sample(2)], 0.5, 9) == 0.0


def test_the_last_bad_one_counts():
    samples = [sample(1, "failed"), sample(3, "refused"), sample(2), sample(4)]
    assert until_normal(samples, 0.5, 9) == 2.5


def test_what_was_bad_before_the_fault_does_not_count():
    assert until_normal([sample(1, "failed"), sample(3)], 2, 9) == 0.0


def test_a_right_one_that_is_slow_is_not_normal():
    assert until_normal([sample(3, seconds=availability.SLOW + 0.1)], 2, 9) == 1.0


def test_bad_to_the_end_is_never_normal():
    assert until_normal([sample(8.5, "wrong")], 2, 9) is None


def test_shares_are_of_all_requests():
    found = shares([sample(1), sample(2), sample(3), sample(4, "hung", 5.0)])
    assert found["requests"] == 4
    assert found["right"]["share"] == 0.75
    assert found["hung"] == {"share": 0.25, "p50_ms": 5000.0, "p99_ms": 5000.0}
    assert "failed" not in found


async def test_a_load_tells_right_wrong_failed_and_hung_apart(monkeypatch):
    monkeypatch.setattr(availability, "HUNG", 0.3)
    replies = {
        b"a": b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"label":"up"}',
        b"b": b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"label":"no"}',
    }

    async def serve(reader, writer):
        while asked := await reader.read(1):
            if asked == b"x":
                break
            writer.write(replies.get(asked, b""))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    load = Load(port, [b"a", b"b", b"x", b"h"], ["up"] * 4)
    await load.run([0.0, 0.01, 0.02, 0.03], time.perf_counter())
    load.close()
    server.close()
    await asyncio.sleep(0.01)  # connections close in the loop's next turns
    outcomes = [each.outcome for each in sorted(load.samples, key=lambda each: each.due)]
    assert outcomes == ["right", "wrong", "failed", "hung"]


def test_each_fault_of_a_system_is_there():
    assert set(availability.HAS) == set(availability.SYSTEMS)
    assert {fault for faults in availability.HAS.values() for fault in faults} == set(
        availability.FAULTS
    )


def test_the_bad_model_says_the_opposite():
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(
        availability.bad_model(), providers=["CPUExecutionProvider"]
    )
    good = onnxruntime.InferenceSession(
        str(availability.servers.SHIPPED / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    feed = {"input_ids": [[1, 1, 1]], "attention_mask": [[1, 1, 1]]}
    assert session.run(["logits"], feed)[0].tolist() == (-good.run(["logits"], feed)[0]).tolist()


def test_a_table_has_a_row_for_each_run():
    one = {
        "from_the_fault_on": shares([sample(1), sample(2, "hung"), sample(3, "failed")]),
        "seconds_until_normal": None,
    }
    lines = availability.table({"wardgate": {"kill-server": one}}).splitlines()
    assert len(lines) == 3
    assert lines[2] == ("| kill-server | wardgate | 33.3% | 0.0% | 0.0% | 66.7% | not in the run |")
