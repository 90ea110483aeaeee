"""The figures are those of the scorer that judges Wardgate, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardgate.deid.score import Counts, Marked, balance, curve, figures, intervals, prf

DATA = Path(__file__).parents[2] / "data" / "score"


def marked(spans) -> list[Marked]:
    return [
        Marked(s["start"], s["end"], s["label"], s.get("ignore", False), s.get("score"))
        for s in spans
    ]


def read(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def scored():
    counts, rows = Counts(), []
    for gold, found in zip(read("gold.jsonl"), read("predictions.jsonl"), strict=True):
        one = Counts()
        for each in (one, counts):
            each.add(gold["text"], marked(gold["spans"]), marked(found["spans"]))
        rows.append(one.row())
    return counts, rows


def test_every_figure_is_that_of_the_judge(scored) -> None:
    counts, rows = scored
    expected = json.loads((DATA / "figures.json").read_text())
    between = intervals(rows, draws=200, seed=3)
    recall, precision = expected["token"].pop("R_95"), expected["token"].pop("P_95")
    assert list(between["R"]) == recall
    assert list(between["P"]) == precision
    found = figures(counts)
    assert {name: found[name] for name in expected} == expected
    assert found.keys() - expected.keys() == {"phi_docs"}
    # the data reaches what could differ
    assert 0 < expected["leak_docs"] < 1
    assert 0 < expected["over_neg_docs"] < 1
    assert expected["span_exact"]["R"] < expected["span_covered"]["R"]
    assert expected["span_covered"]["R"] < expected["span_overlap"]["R"]


def test_intervals_hold_the_figure_and_depend_on_the_seed_alone(scored) -> None:
    counts, rows = scored
    between = intervals(rows, draws=100, seed=1)
    assert between == intervals(rows, draws=100, seed=1)
    assert between != intervals(rows, draws=100, seed=2)
    of = figures(counts)
    values = {"R": of["token"]["R"], "P": of["token"]["P"], "leak_docs": of["leak_docs"]}
    values |= {f"R {label}": each["token_R"] for label, each in of["by_label"].items()}
    for name, value in values.items():
        low, high = between[name]
        assert low <= value <= high


def test_a_draw_without_a_label_says_nothing_of_it() -> None:
    rows = [{"n NAME": 1, "hit NAME": 1, "tp": 1, "fn": 0, "fp": 0}, {"tp": 0, "fp": 0, "fn": 0}]
    rows = [
        {"phi_docs": 1, "leak_docs": 0, "negative_docs": 0, "touched_docs": 0, **r} for r in rows
    ]
    between = intervals(rows, draws=50)
    assert between["R NAME"] == (1.0, 1.0)
    assert between["R"][0] == 0.0
    assert "over_neg_docs" not in between


def one(text: str, gold: list[Marked], found: list[Marked]) -> Counts:
    counts = Counts()
    counts.add(text, gold, found)
    return counts


def test_a_token_is_found_only_whole_and_an_ignored_one_counts_for_nothing() -> None:
    gold = [Marked(0, 8, "NAME")]
    half = one("Amy-Lees", gold, [Marked(0, 6, "NAME")])
    assert (half.tp, half.fn, half.fp) == (1, 1, 0)
    assert half.leaked_chars == 2
    zone = one("Amy Lee", [Marked(0, 7, "ORG", ignore=True)], [Marked(0, 3, "NAME")])
    assert (zone.tp, zone.fp, zone.guesses, zone.negative_docs) == (0, 0, 0, 0)


def test_the_curve_begins_with_all_spans_and_ends_with_the_surest() -> None:
    gold = [Marked(0, 3, "NAME"), Marked(4, 7, "NAME")]
    found = [
        Marked(0, 3, "NAME", score=0.9),
        Marked(4, 7, "NAME", score=0.5),
        Marked(8, 11, "NAME", score=0.5),
    ]
    points = curve(one("Amy Lee has", gold, found))
    assert points == [
        {"threshold": 0.5, "P": 2 / 3, "R": 1.0},
        {"threshold": 0.9, "P": 1.0, "R": 0.5},
    ]
    assert curve(one("Amy", gold[:1], found[:1])) == []


def test_a_token_under_two_spans_is_kept_as_long_as_it_is_covered() -> None:
    found = [
        Marked(0, 3, "NAME", score=0.9),
        Marked(2, 6, "NAME", score=0.4),
        Marked(0, 6, "DATE", score=0.2),
    ]
    counts = one("Amylee", [Marked(0, 6, "NAME")], found)
    assert dict(counts.levels) == {(0.4, True): 1}


def test_where_there_is_nothing_all_is_nothing() -> None:
    of = figures(one("", [], []))
    assert of["token"] == {**prf(0, 0), "tp": 0, "fp": 0, "fn": 0}
    assert of["over_neg_docs"] == 0
    assert figures(one("Amy", [Marked(0, 3, "NAME")], []))["over_neg_docs"] is None
    assert intervals([one("", [], []).row()], draws=10)["R"] == (0.0, 0.0)


@given(st.floats(0, 1), st.floats(0, 1))
def test_f2_lies_between_and_leans_to_recall(precision, recall) -> None:
    f1, f2 = balance(precision, recall), balance(precision, recall, 2)
    assert min(precision, recall) - 1e-9 <= f1 <= max(precision, recall) + 1e-9
    assert abs(f2 - recall) <= abs(f1 - recall) + 1e-9
