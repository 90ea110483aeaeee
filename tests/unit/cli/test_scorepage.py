"""The page: well formed, self-contained, and its marks stand where the figures are."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from wardgate.cli.scorepage import page

VOID = {"meta", "circle", "line", "polyline", "br"}


class Tree(HTMLParser):
    """Checks that every element is closed, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def score(name: str = "gold", recall: float = 0.97, *, curve: bool = True) -> dict:
    figures = {
        "docs": 1200, "gold_spans": 40, "pred_spans": 41, "phi_docs": 1000, "negative_docs": 0,
        "token": {"P": 0.9, "R": recall, "F1": 0.9, "F2": 0.91}, "span_covered": {"R": 0.88},
        "leak_docs": 0.04, "over_neg_docs": None,
        "by_label": {"NAME": {"spans": 30, "token_R": recall}, "DATE": {"spans": 10, "token_R": 1.0}},
        "by_pred_label": {"NAME": {"spans": 31, "overlap_P": 0.9}},
    }  # fmt: skip
    points = [{"threshold": t, "P": 0.8 + t / 10, "R": 1 - t / 2} for t in (0.2, 0.5, 0.9)]
    return {
        "name": name,
        "figures": figures,
        "intervals": {"R": (0.9512, 0.99), "R NAME": (0.952, 0.99)},
        "curve": points if curve else [],
    }


def told(*scores: dict, **more) -> dict:
    return {"system": "wardgate <b>", "draws": 100, "seed": 3, "scores": scores, **more}


@pytest.mark.parametrize("scores", [[score()], [score("all"), score("<i>a"), score(curve=False)]])
def test_it_is_well_formed_and_fetches_nothing(scores) -> None:
    made = page(told(*scores))
    tree = Tree()
    tree.feed(made)
    tree.close()
    assert tree.open == []
    assert not {"script", "link", "img", "iframe", "object", "i"} & {tag for tag, _ in tree.seen}
    assert "wardgate &lt;b&gt;" in made
    assert "http" not in made.replace("http-equiv", "")
    assert "url(" not in made
    assert "default-src 'none'" in made


def test_figures_and_intervals_are_shown() -> None:
    made = page(told(score()))
    for shown in ("0.9700", "0.951 to 0.990", "of 1,000 with PHI", "&ndash;", "1,200 documents"):
        assert shown in made
    assert "100 draws, seed 3" in made
    assert "draws" not in page(told(score(), draws=0))


def test_marks_stand_where_the_figures_are() -> None:
    made = page(told(score(curve=False)))
    assert "The axis begins at 0.95." in made
    name, date = re.findall(r"<circle class=recall cx=([\d.]+)", made)
    interval = re.search(r"<line class=interval x1=([\d.]+) x2=([\d.]+)", made)
    assert interval is not None
    low, high = map(float, interval.groups())
    left, width = 190, 520
    assert float(date) == left + width
    assert float(name) == pytest.approx(left + width * 0.02 / 0.05, abs=0.1)
    assert (low, high) == (
        pytest.approx(left + width * 0.002 / 0.05, abs=0.1),
        pytest.approx(left + width * 0.04 / 0.05, abs=0.1),
    )


def test_the_curve_has_its_points_in_the_picture() -> None:
    made = page(told(score()))
    recall, precision = re.findall(
        r'<polyline class="line (?:recall|precision)" points="([^"]+)"', made
    )
    points = [
        [tuple(map(float, p.split(","))) for p in line.split()] for line in (recall, precision)
    ]
    (first, *_, last), rising = points
    assert first[0] == 70
    assert last[0] == 710
    assert first[1] < last[1]  # recall falls, and y grows downwards
    assert rising[0][1] > rising[-1][1]
    assert all(12 <= y <= 300 for line in points for _, y in line)


def test_nothing_found_is_a_page_too() -> None:
    empty = score(recall=0.0, curve=False)
    empty["figures"] |= {"by_label": {}, "by_pred_label": {}}
    tree = Tree()
    tree.feed(page(told(empty)))
    assert tree.open == []
