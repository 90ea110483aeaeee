from __future__ import annotations

import asyncio
import json

import pytest
from tests.unit.cli.bench.conftest import SCENARIOS, Server

from wardgate.cli.bench import environment, golden
from wardgate.cli.bench.forms import Answer
from wardgate.cli.bench.generator import Job
from wardgate.cli.bench.launch import Failed
from wardgate.cli.bench.scenario import Load
from wardgate.cli.bench.wire import Target


def test_notes_with_phi_are_no_golden_ones() -> None:
    texts = ["call Amy Lee at 555-0100", "i love it .", "i love it .", "x" * 900, "it is bad ."]
    assert golden.clean(texts) == ["i love it .", "it is bad ."]
    assert golden.clean(texts, 1) == ["i love it ."]
    with pytest.raises(Failed, match="free of PHI"):
        golden.clean(texts[:1])


def test_the_model_answers_as_its_manifest_says() -> None:
    model = environment.model("sentiment", "int8", SCENARIOS.parent / "systems")
    wanted = model.manifest["golden"]
    for answer, one in zip(
        golden.expected(model, [w["text"] for w in wanted]), wanted, strict=True
    ):
        assert answer.label == one["label"]
        assert answer.score == pytest.approx(one["score"], abs=one["tolerance"])


def check(wanted, reply=None, status=b"200 OK"):
    """Check a small server that always gives the same answer."""

    async def main():
        async with Server(status=status) as server:
            server.REPLY = json.dumps(reply or {"label": "positive", "score": 0.9}).encode()
            job = Job(Target("127.0.0.1", server.port, "/"), "http1", "text", "m", [],
                      Load("closed", 8.0, lanes=8), 1, 0, 2, 1)  # fmt: skip
            return await asyncio.to_thread(golden.check, job, ["a"] * len(wanted), wanted)

    return asyncio.run(main())


def test_right_answers_pass() -> None:
    found = check([Answer("positive", 0.9), Answer("positive", 0.88)])
    assert found == {"notes": 2, "farthest_score": 0.02}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wanted": [Answer("negative", 0.9)]}, "wrong answer: positive 0.900, .*negative"),
        ({"wanted": [Answer("positive", 0.7)]}, "wrong answer"),
        ({"wanted": [Answer("positive", 0.9)], "status": b"503 Full"}, "status 503"),
        ({"wanted": [Answer("positive", 0.9)], "reply": {"x": 1}}, "no answer"),
    ],
)
def test_wrong_ones_do_not(changes, said) -> None:
    with pytest.raises(Failed, match=said):
        check(**changes)
