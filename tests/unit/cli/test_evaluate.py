"""`wardgate deid eval`: figures of gold and predictions as JSON and page, without a word of text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "data" / "score"


def spans(text: str, *words: str) -> list[dict]:
    return [{"start": text.index(w), "end": text.index(w) + len(w), "label": "NAME"} for w in words]


@pytest.fixture
def gold(tmp_path) -> Path:
    texts = [("Seen by Dr. Amy Lee today.", ["Amy Lee"]), ("BP 124/78, no change.", [])]
    path = tmp_path / "gold.jsonl"
    path.write_text(
        "".join(json.dumps({"text": t, "spans": spans(t, *w)}) + "\n" for t, w in texts)
    )
    return path


def test_predictions_give_the_figures_of_the_judge(wardgate, tmp_path) -> None:
    out = tmp_path / "report"
    done = wardgate(
        "deid", "eval", DATA / "gold.jsonl", "--predictions", DATA / "predictions.jsonl",
        "--out", out, "--draws", "200", "--seed", "3",
    )  # fmt: skip
    assert done.code == 0, done.err
    said = json.loads((tmp_path / "report.json").read_text())
    (score,) = said["scores"]
    expected = json.loads((DATA / "figures.json").read_text())
    assert score["intervals"]["R"] == expected["token"].pop("R_95")
    assert score["intervals"]["P"] == expected["token"].pop("P_95")
    assert {name: score["figures"][name] for name in expected} == expected
    assert len(score["curve"]) > 5
    assert f"token recall {expected['token']['R']:.4f} [" in done.out
    page = (tmp_path / "report.html").read_text()
    assert f"{expected['token']['R']:.4f}" in page
    for text in (done.out, page, json.dumps(said)):
        assert "Patient" not in text


def test_the_detector_is_scored_on_its_own(wardgate, tmp_path, gold) -> None:
    done = wardgate("deid", "eval", gold, "--out", tmp_path / "r", "--draws", "0")
    assert done.code == 0, done.err
    said = json.loads((tmp_path / "r.json").read_text())
    assert said["system"].startswith("wardgate ")
    (score,) = said["scores"]
    assert score["figures"]["by_label"]["NAME"]["token_R"] == 1.0
    assert score["figures"]["docs"] == 2
    assert score["intervals"] == {}
    assert "Amy" not in (tmp_path / "r.html").read_text() + done.out


def test_several_files_are_scored_each_and_together(wardgate, tmp_path, gold) -> None:
    done = wardgate("deid", "eval", gold, gold, "--out", tmp_path / "r", "--draws", "10")
    assert done.code == 0, done.err
    scores = json.loads((tmp_path / "r.json").read_text())["scores"]
    assert [score["name"].split("/")[-1] for score in scores] == ["all"] + ["gold.jsonl"] * 2
    assert [score["figures"]["docs"] for score in scores] == [4, 2, 2]
    assert scores[1]["figures"] == scores[2]["figures"]


def test_what_cannot_be_scored_writes_nothing(wardgate, tmp_path, gold) -> None:
    (tmp_path / "bad").write_text(
        '{"text": "Amy", "spans": [{"start": 0, "end": 9, "label": "NAME"}]}'
    )
    for given, code, why in (
        ([tmp_path / "bad"], 2, f"{tmp_path / 'bad'}:1: span 1"),
        ([gold, gold, "--predictions", gold], 2, "Give one GOLD"),
        ([tmp_path / "absent"], 1, "No such file"),
        ([gold, "--policy", "none"], 2, "No de-identification policy"),
    ):
        done = wardgate("deid", "eval", *given, "--out", tmp_path / "r")
        assert (done.code, done.out) == (code, "")
        assert why in done.err
    assert not list(tmp_path.glob("r.*"))
    done = wardgate("deid", "eval", gold, "--predictions", gold, "--out", tmp_path / "no" / "r")
    assert done.code == 1
    assert "No such file" in done.err
